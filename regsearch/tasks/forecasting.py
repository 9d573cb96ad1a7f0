"""Forecasting: the values that follow a window of a series."""

from __future__ import annotations

from dataclasses import dataclass

from regsearch.tasks.base import task
from regsearch.tasks.regression import Values


@task
@dataclass(frozen=True)
class Forecasting(Values):
    """Mean squared error of the next `horizon` values of the standardised series; RMSE, MAE and R² over all of them.

    One row of x is a window [W, F] of the series, cut when the data is sealed; parts follow one another in time and
    share no value, because a window's length is left out between them.
    """

    name = "forecasting"
