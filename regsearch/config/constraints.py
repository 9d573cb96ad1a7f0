"""What a study's best trial must keep to, as its file says it: `gap <= 0.1`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from regsearch.errors import UserError

FORM = "allowed is METRIC <= NUMBER or METRIC >= NUMBER, like gap <= 0.1"
_READ = re.compile(r"\s*(?P<metric>[A-Za-z_]\w*)\s*(?P<sign><=|>=)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on a tracked metric.

    Args:
        metric: its name.
        upper: whether the metric must be at most `bound`; else at least.
        bound: the number.
    """

    metric: str
    upper: bool
    bound: float

    @property
    def name(self) -> str:
        """`gap <= 0.1`, written in one way."""
        return f"{self.metric} {'<=' if self.upper else '>='} {self.bound:g}"

    def violation(self, value: float) -> float:
        """Measure by how much a value breaks the bound, in units of the metric: at most 0 where it is kept."""
        return value - self.bound if self.upper else self.bound - value


def read_constraint(text: str) -> Constraint:
    """Parse the constraint that a text states.

    Raises:
        UserError: it states none.
    """
    match = _READ.fullmatch(text)
    try:
        bound = float(match["bound"]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise UserError("not a constraint", value=text, allowed=FORM)
    return Constraint(match["metric"], match["sign"] == "<=", bound)
