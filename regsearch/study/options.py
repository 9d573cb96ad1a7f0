"""Name what a user may set in place of the study file, once for Python and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from regsearch.config import StudyConfig
from regsearch.errors import UserError


@dataclass(frozen=True)
class FinalizeOptions:
    """Hold what takes the place of a study file's `finalize`; None leaves what it says.

    Args:
        top: how many of the best trials enter.
        seeds: fresh seeds of each.
        splits: cuts of training and validation rows.
        refit: whether the winner is trained on validation rows too.
    """

    top: int | None = None
    seeds: int | None = None
    splits: int | None = None
    refit: bool | None = None

    def applied(self, config: StudyConfig) -> StudyConfig:
        """Give the study with these in place of what its `finalize` says.

        Raises:
            UserError: one of the numbers is below 1.
        """
        numbers = {"top": self.top, "seeds": self.seeds, "splits": self.splits}
        given = {name: value for name, value in numbers.items() if value is not None}
        for name, value in given.items():
            if value < 1:
                allowed = "allowed are whole numbers from 1 up"
                raise UserError("cannot be used", key=f"--{name}", value=value, allowed=allowed)
        refit = {} if self.refit is None else {"refit": self.refit}
        return config.model_copy(update={"finalize": config.finalize.model_copy(update={**given, **refit})})
