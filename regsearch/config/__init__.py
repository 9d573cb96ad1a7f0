"""The study file: its sections as frozen models, its reader, and the search space it asks for."""

from regsearch.config.constraints import Constraint
from regsearch.config.data import DataConfig, SplitConfig
from regsearch.config.finals import FinalizeConfig, refuse_splits
from regsearch.config.load import StartOptions, check_measures, load_config
from regsearch.config.measures import EPOCHS, OF_WEIGHTS, VIOLATION, direction, measures
from regsearch.config.models import (
    ModelConfig,
    StudyConfig,
    TrackingConfig,
    TrainConfig,
    check_name,
)
from regsearch.config.search import PRUNERS, SearchConfig
from regsearch.config.space import build_space
from regsearch.config.study_space import study_space
from regsearch.config.training import OPTIMIZER_DEFAULTS, TRAIN_KNOBS, train_knobs

__all__ = [
    "EPOCHS",
    "OF_WEIGHTS",
    "OPTIMIZER_DEFAULTS",
    "PRUNERS",
    "TRAIN_KNOBS",
    "VIOLATION",
    "Constraint",
    "DataConfig",
    "FinalizeConfig",
    "ModelConfig",
    "SearchConfig",
    "SplitConfig",
    "StartOptions",
    "StudyConfig",
    "TrackingConfig",
    "TrainConfig",
    "build_space",
    "check_measures",
    "check_name",
    "direction",
    "load_config",
    "measures",
    "refuse_splits",
    "study_space",
    "train_knobs",
]
