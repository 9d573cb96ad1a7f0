"""The study file: its sections as frozen models, its reader, and the search space it asks for."""

from regsearch.config.models import (
    PRUNERS,
    DataConfig,
    FinalizeConfig,
    ModelConfig,
    SearchConfig,
    Section,
    SplitConfig,
    StudyConfig,
    TrackingConfig,
    TrainConfig,
    check_name,
)

__all__ = [
    "PRUNERS",
    "DataConfig",
    "FinalizeConfig",
    "ModelConfig",
    "SearchConfig",
    "Section",
    "SplitConfig",
    "StudyConfig",
    "TrackingConfig",
    "TrainConfig",
    "check_name",
]
