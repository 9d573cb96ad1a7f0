"""The study file: its sections as frozen models, its reader, and the search space it asks for."""

from regsearch.config.data import DataConfig, SplitConfig
from regsearch.config.finals import FinalizeConfig, refuse_splits
from regsearch.config.load import check_objective, load_config
from regsearch.config.models import (
    PRUNERS,
    ModelConfig,
    SearchConfig,
    StudyConfig,
    TrackingConfig,
    TrainConfig,
    check_name,
)
from regsearch.config.space import build_space
from regsearch.config.training import OPTIMIZER_DEFAULTS, TRAIN_KNOBS, train_knobs

__all__ = [
    "OPTIMIZER_DEFAULTS",
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
    "refuse_splits",
    "train_knobs",
]
