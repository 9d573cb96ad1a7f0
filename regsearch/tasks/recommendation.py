"""Recommendation: how a user rates an item."""

from __future__ import annotations

from dataclasses import dataclass

from regsearch.tasks.base import task
from regsearch.tasks.regression import Values


@task
@dataclass(frozen=True)
class Recommendation(Values):
    """Mean squared error of the standardised rating; RMSE, MAE and R² in stars.

    One row of x is a pair of codes (user, item), int64; code 0 stands for one that no training row has. Each user's
    ratings are shared out among the parts.
    """

    name = "recommendation"
