"""The study file: its sections as frozen models, its reader, and the search space it asks for."""

from regsearch.config.data import DataConfig, SplitConfig
from regsearch.config.load import check_objective, load_config
from regsearch.config.models import (
    PRUNERS,
    FinalizeConfig,
    ModelConfig,
    SearchConfig,
    StudyConfig,
    TrackingConfig,
    TrainConfig,
    check_name,
)
from regsearch.config.space import TRAIN_KNOBS, build_space

__all__ = [
    "PRUNERS",
    "TRAIN_KNOBS",
    "DataConfig",
    "FinalizeConfig",
    "ModelConfig",
    "SearchConfig",
    "SplitConfig",
    "StudyConfig",
    "TrackingConfig",
    "TrainConfig",
    "build_space",
    "check_name",
    "check_objective",
    "load_config",
]
