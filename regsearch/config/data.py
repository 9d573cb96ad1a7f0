"""The `data` section of a study file: where the rows come from and how they are shared out."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import field_validator, model_validator

from regsearch.config.fields import Natural, Section, Seed, Size, Text
from regsearch.config.refusal import Allowed
from regsearch.errors import UserError

Task = Literal["classification", "regression"]
SPLIT_COLUMNS = ("time", "group", "column")


class SplitConfig(Section):
    """How the rows are shared out: numbers up to 1 are shares of all rows, larger ones row counts."""

    train: Size = 0.6
    validation: Size = 0.2
    test: Size = 0.2
    seed: Seed = 0
    by: Annotated[
        Literal["random"] | dict[str, str],
        Allowed("allowed are random, {time: COLUMN}, {group: COLUMN} and {column: COLUMN}"),
    ] = "random"
    """`random` (stratified by class), by time, whole groups on one side, or by a column that names each row's part."""
    embargo: Natural = 0
    """Rows dropped between the parts of a split by time: one window length, so that no window crosses."""

    @property
    def kind(self) -> str:
        """`random`, `time`, `group` or `column`."""
        return self.by if isinstance(self.by, str) else next(iter(self.by))

    @property
    def column(self) -> str | None:
        """The column that the split goes by, or None for a random one."""
        return None if isinstance(self.by, str) else next(iter(self.by.values()))

    @field_validator("train", "validation", "test")
    @classmethod
    def _size(cls, value: float, info: Any) -> float:
        lowest = "from 0" if info.field_name == "test" else "above 0"
        short = value < 0 or (value == 0 and info.field_name != "test")
        if not math.isfinite(value) or short or (value > 1 and value != int(value)):
            raise UserError(
                "not a size", allowed=f"allowed are shares {lowest} to 1 and whole numbers of rows from 2 up"
            )
        return value

    @field_validator("by")
    @classmethod
    def _by(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        if isinstance(value, dict) and (len(value) != 1 or next(iter(value)) not in SPLIT_COLUMNS):
            raise UserError("not a way to split", allowed="allowed are random and one of {time|group|column: COLUMN}")
        return value

    @model_validator(mode="after")
    def _together(self) -> SplitConfig:
        if self.embargo and self.kind != "time":
            raise UserError(
                "only a split by time has an embargo",
                key="embargo",
                value=self.embargo,
                allowed="leave it out, or say by: {time: COLUMN}",
            )
        shares = [size for size in (self.train, self.validation, self.test) if size <= 1]
        if self.kind != "column" and sum(shares) > 1 + 1e-9:
            raise UserError(
                "the shares of train, validation and test add up to more than all rows",
                value=round(sum(shares), 6),
                allowed="allowed is a sum up to 1",
            )
        return self


class DataConfig(Section):
    """Where the rows come from and what is to be predicted."""

    source: Text
    """`sklearn:NAME`, `csv:PATH`, `parquet:PATH` or `python:MODULE:FUNCTION`."""
    target: Text | None = None
    task: Task | None = None
    split: SplitConfig = SplitConfig()

    @model_validator(mode="after")
    def _complete(self) -> DataConfig:
        kind, colon, rest = self.source.partition(":")
        if not (kind and colon and rest):
            raise UserError(
                "not a source", key="source", value=self.source, allowed="allowed is KIND:NAME, like csv:patients.csv"
            )
        if kind != "sklearn" and self.task is None:
            raise UserError("is missing", key="task", allowed="allowed are classification and regression")
        if kind in ("csv", "parquet") and self.target is None:
            raise UserError("is missing", key="target", allowed="name the column that is to be predicted")
        return self
