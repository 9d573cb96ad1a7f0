"""Build the search space of a study from its file, in the one place that knows all it needs."""

from __future__ import annotations

from collections.abc import Mapping

from regsearch.config.models import StudyConfig
from regsearch.config.refusal import places_of
from regsearch.config.space import build_space
from regsearch.config.training import train_knobs
from regsearch.space import Knob, SearchSpace


def study_space(config: StudyConfig, knobs: Mapping[str, Knob]) -> SearchSpace:
    """Build the space that the `space` section of a study asks for; see `build_space`.

    Args:
        knobs: every knob of every regularizer by flat name, as `regsearch.regularizers.knobs()` gives.

    Raises:
        UserError: the section names what is not known, or nothing to search.
    """
    train = config.train
    known = train_knobs(train.optimizer)
    places = {section: keys for section, keys in places_of(StudyConfig).items() if section}
    return build_space(config.space, knobs, train_knobs=known, train=train.knobs(), places=places)
