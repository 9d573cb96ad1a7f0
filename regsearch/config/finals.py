"""The `finalize` section of a study file: who enters the finals, and how often they are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from regsearch.config.fields import Count, Flag, Natural, Section
from regsearch.config.refusal import Example
from regsearch.errors import UserError

if TYPE_CHECKING:
    from regsearch.config.data import DataConfig

RESAMPLED = ("classification", "regression", "clustering")
"""The tasks whose training and validation rows can be cut anew after a random split."""


class FinalizeConfig(Section):
    """The finals: the best of the search, the baseline, the best single regularizer and the library default, trained
    again on fresh paired seeds, then tested once."""

    top: Annotated[Count, Example("top: 3")] = 1
    """How many of the best trials enter, the winner-to-be among them."""
    seeds: Annotated[Natural, Example("seeds: 20")] = 10
    """Fresh seeds that each finalist is trained on. 0 skips finals; the answer is then not tested on unseen data."""
    splits: Annotated[Count, Example("splits: 5")] = 1
    """Cuts of training and validation rows that all seeds are trained on, the study's own among them; above 1 the
    intervals cover the cut as well, and want five or more. The sealed test stays what it is."""
    refit: Annotated[Flag, Example("refit: true")] = False
    """Train the winner once more on training and validation rows together, to be the champion."""


def refuse_splits(config: FinalizeConfig, data: DataConfig, key: str = "finalize.splits") -> None:
    """Refuse other cuts of training and validation where the sealed rows do not say which of them belong together.

    Raises:
        UserError: the split is by a column, by time or within users, or rows are windows or parts of texts.
    """
    task = data.task or RESAMPLED[0]
    if config.splits > 1 and (data.split.kind != "random" or task not in RESAMPLED):
        what = task.replace("_", " ") if data.split.kind == "random" else f"a split by {data.split.kind}"
        raise UserError(
            f"{what} cannot be cut anew: only the study's own cut knows which rows belong together",
            key=key,
            value=config.splits,
            allowed=f"allowed is 1; random splits of {', '.join(RESAMPLED)} may have more",
        )
