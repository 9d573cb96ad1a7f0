"""What a study file may say: one frozen model per section, each field with its check and the words for its refusal."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from regsearch.config.words import listed, nearest
from regsearch.errors import UserError

Task = Literal["classification", "regression"]
Sampler = Literal["tpe", "gp", "cmaes", "nsga2", "nsga3", "qmc", "random", "grid"]
PRUNERS = ("asha", "hyperband", "median", "patient", "none")
SPLIT_COLUMNS = ("time", "group", "column")


@dataclass(frozen=True)
class Allowed:
    """What a field accepts, in words for a person; it stands beside the field's check."""

    words: str


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Count = Annotated[int, Field(ge=1), Allowed("allowed are whole numbers from 1 up")]
Natural = Annotated[int, Field(ge=0), Allowed("allowed are whole numbers from 0 up")]
Seed = Annotated[int, Field(ge=0, lt=2**63), Allowed("allowed are whole numbers from 0 up")]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), Allowed("allowed are numbers above 0")]
Share = Annotated[float, Field(ge=0, lt=1), Allowed("allowed are numbers from 0 to below 1")]
Flag = Annotated[bool, Allowed("allowed are true and false")]
Text = Annotated[str, Field(min_length=1), Allowed("a word or text is needed")]
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    BeforeValidator(_as_tuple),
    Allowed("allowed is a list of whole numbers from 1 up, like [128, 128]"),
]


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion ("10" is not 10)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class SplitConfig(Section):
    """How the rows are shared out: numbers up to 1 are shares of all rows, larger ones row counts."""

    train: float = 0.6
    validation: float = 0.2
    test: float = 0.2
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


class LinearOptions(Section):
    """The linear model has no keys of its own."""


class MLPOptions(Section):
    """The keys of the multilayer perceptron."""

    hidden: Widths = (128, 128)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh", "gelu"] = "relu"
    norm: Literal["none", "batch", "layer"] = "none"


STOCK: Mapping[str, type[Section]] = {"linear": LinearOptions, "mlp": MLPOptions}


class ModelConfig(Section):
    """The model: a stock one by `name`, or your own by `factory`; every other key of the section goes to it.

    `options` holds those other keys; for a stock model they are checked here and completed with their defaults.
    """

    name: Text | None = None
    factory: Text | None = None
    """`MODULE:CALLABLE`, called with `inputs`, `outputs` and the options, returning a stock `nn.Module`."""
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        free = {key: value for key, value in data.items() if key not in cls.model_fields}
        given = data.get("options", {})
        options = {**given, **free} if isinstance(given, Mapping) else given
        return {**{key: data[key] for key in ("name", "factory") if key in data}, "options": options}

    @model_validator(mode="after")
    def _one_model(self) -> ModelConfig:
        if (self.name is None) == (self.factory is None):
            which = "name and factory are both given" if self.name else "neither name nor factory is given"
            raise UserError(which, allowed=f"allowed is one: name ({', '.join(STOCK)}) or factory (MODULE:CALLABLE)")
        if self.factory is not None:
            if not re.fullmatch(r"[\w.]+:[\w.]+", self.factory):
                raise UserError(
                    "not a factory",
                    key="factory",
                    value=self.factory,
                    allowed="allowed is MODULE:CALLABLE, like net:build",
                )
            return self
        stock = STOCK.get(str(self.name))
        if stock is None:
            raise UserError(
                "unknown model",
                key="name",
                value=self.name,
                allowed=f"allowed are {', '.join(STOCK)}{nearest(self.name, STOCK)}",
            )
        checked = stock.model_validate(self.options)
        object.__setattr__(self, "options", json.loads(checked.model_dump_json()))
        return self


class TrainConfig(Section):
    """How one trial is trained."""

    epochs: Count = 30
    batch_size: Count = 64
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: Rate = 1e-3
    momentum: Share = 0.9
    """Of `sgd` alone."""
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
        BeforeValidator(_as_tuple),
        Allowed("allowed are two numbers from 0 to below 1, like [0.9, 0.999]"),
    ] = (0.9, 0.999)
    """Of `adamw` and `adam`."""
    schedule: Literal["constant", "cosine"] = "constant"
    penalize_bias: Flag = False
    """Let penalties and decay act on biases and normalization parameters too."""


class SearchConfig(Section):
    """How settings are drawn and trials ended early."""

    engine: Literal["optuna"] = "optuna"
    sampler: Sampler = "tpe"
    pruner: Annotated[
        str | dict[str, Any], Allowed(f"allowed are {', '.join(PRUNERS)}, or {{name: ..., option: ...}}")
    ] = "asha"
    """A name, or a mapping of `name` and the options of that pruner."""
    trials: Count = 100
    parallel: Count = 32
    """Trials in flight; the answer depends on it, the number of workers never does."""
    objective: Annotated[
        Text | tuple[Text, ...], BeforeValidator(_as_tuple), Allowed("allowed is a tracked metric or a list of several")
    ] = "val_loss"
    seed: Seed = 0
    deterministic: Flag = True
    storage: Text | None = None
    """Another Optuna storage than the journal file beside the study."""
    width: Count | None = None
    """Slots of a pack; measured when left out."""
    workers: Count | None = None
    """Worker processes; one per core when left out."""

    @property
    def pruner_name(self) -> str:
        return self.pruner if isinstance(self.pruner, str) else str(self.pruner["name"])

    @property
    def pruner_options(self) -> dict[str, Any]:
        return (
            {} if isinstance(self.pruner, str) else {key: value for key, value in self.pruner.items() if key != "name"}
        )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives as a tuple, also where there is one."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @field_validator("pruner")
    @classmethod
    def _pruner(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        name = value if isinstance(value, str) else value.get("name")
        if name not in PRUNERS:
            raise UserError(
                "unknown pruner", value=name, allowed=f"allowed are {', '.join(PRUNERS)}{nearest(name, PRUNERS)}"
            )
        return value

    @field_validator("objective")
    @classmethod
    def _objective(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and (not value or len(set(value)) < len(value)):
            raise UserError("not a list of objectives", allowed="allowed are one or more tracked metrics, each once")
        return value


class FinalizeConfig(Section):
    """The finals: winner and baseline trained again on fresh paired seeds, then tested once."""

    top: Count = 1
    seeds: Natural = 10
    """0 skips finals; the answer is then not tested on unseen data."""


class TrackingConfig(Section):
    """Where MLflow records the study."""

    uri: Text | None = None
    models: Literal["champion", "finals", "all"] = "champion"


class StudyConfig(Section):
    """One study file, checked and completed with its defaults."""

    name: Text
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    space: dict[str, Any] | None = None
    """As in the file; `build_space` reads it against the declared regularizers."""
    search: SearchConfig = SearchConfig()
    finalize: FinalizeConfig = FinalizeConfig()
    tracking: TrackingConfig = TrackingConfig()
    folder: str = ""
    """Folder of the study file, absolute: paths and modules are found from here first."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        check_name(value)
        return value

    @model_validator(mode="after")
    def _tested(self) -> StudyConfig:
        if self.finalize.seeds and self.data.split.test == 0 and self.data.split.kind != "column":
            raise UserError(
                "finals need unseen rows to test on",
                key="data.split.test",
                value=0,
                allowed="allowed are shares above 0, or 0 together with finalize: {seeds: 0}",
            )
        return self

    def to_json(self) -> str:
        """The one text of this configuration: equal configurations give equal texts, and `from_json` reads it back."""
        return json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> StudyConfig:
        return cls.model_validate(json.loads(text))


def check_name(name: str) -> None:
    """Refuse a study name that is not made of letters, digits, `-`, `_` and `.`, or that starts with `-` or `.`.

    Raises:
        UserError: with the name and what is allowed.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", name):
        raise UserError(
            "not a study name",
            value=name,
            allowed="allowed are up to 128 letters, digits, '-', '_' and '.', the first a letter, digit or '_'",
        )
