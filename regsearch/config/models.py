"""What a study file may say: one frozen model per section."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from regsearch.config.data import DataConfig
from regsearch.config.fields import Count, Flag, Options, Part, Rate, Section, Share, Text, as_tuple
from regsearch.config.finals import FinalizeConfig, refuse_splits
from regsearch.config.refusal import Allowed, Example, SetByLoader, refusal
from regsearch.config.search import SearchConfig
from regsearch.config.stock import STOCK
from regsearch.config.training import OPTIMIZER_DEFAULTS, OptimizerName, ScheduleName, train_knobs
from regsearch.config.words import one_of
from regsearch.config.yaml12 import YamlMapping
from regsearch.errors import UserError
from regsearch.space import knob_of


class ModelConfig(Section):
    """The model: a stock one by `name`, or your own by `factory`; every other key of the section goes to it.

    `options` holds those other keys; for a stock model they are checked here and completed with their defaults.
    """

    name: Annotated[Text | None, Allowed(f"allowed are {', '.join(STOCK)}"), Example("name: mlp, hidden: [64, 64]")] = (
        None
    )
    """A model that comes with regsearch; its own keys stand beside it."""
    factory: Annotated[
        Text | None, Allowed("allowed is MODULE:CALLABLE, like net:build"), Example('factory: "net:build", width: 16')
    ] = None
    """`MODULE:CALLABLE`, called with `inputs`, `outputs` and the options, returning a stock `nn.Module`."""
    options: Annotated[Options, SetByLoader()] = Field(default_factory=dict)
    """What stands beside `name` or `factory`."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: object) -> object:
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
                allowed=one_of(STOCK, self.name),
            )
        try:
            checked = stock.model_validate(self.options)
        except ValidationError as error:
            raise refusal(stock, error) from None
        object.__setattr__(self, "options", json.loads(checked.model_dump_json()))
        return self


class TrainConfig(Section):
    """How one trial is trained."""

    epochs: Annotated[Count, Example("epochs: 50")] = 30
    """Passes over the training rows, at most: pruning and early stopping may end a trial before."""
    batch_size: Annotated[Count, Example("batch_size: 32")] = 64
    """Rows of one training step."""
    optimizer: Annotated[OptimizerName, Example("optimizer: nesterov, learning_rate: 0.05")] = "adamw"
    """`sgd` is plain, or has the `momentum` given beside it; `momentum` (heavy ball) and `nesterov` have 0.9 where none
    is given. Decoupled weight decay is the regularizer `weight_decay`, whatever the optimizer."""
    learning_rate: Annotated[Rate, Example("learning_rate: 3.0e-3")] = 1e-3
    """Step size of the optimizer, before `schedule` and `warmup`; `train: {learning_rate: search}` in `space`
    searches it."""
    momentum: Annotated[Share | None, Example("optimizer: sgd, momentum: 0.8")] = None
    """Share of the last step's direction that is kept, of `sgd`, `momentum` and `nesterov`."""
    betas: Annotated[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]],
        BeforeValidator(as_tuple),
        Allowed("allowed are two numbers from 0 to below 1, like [0.9, 0.999]"),
        Example("betas: [0.9, 0.99]"),
    ] = (0.9, 0.999)
    """Shares of the mean gradient and of its square that are kept in a step, of `adamw` and `adam`; `rmsprop` smooths
    by the second, 0.99 where none is given."""
    schedule: Annotated[ScheduleName, Example("schedule: cosine, warmup: 0.1")] = "constant"
    """Of the learning rate: `cosine` and `linear` fall to 0 at the end, `step` falls at once now and then."""
    warmup: Annotated[Share, Example("warmup: 0.1")] = 0.0
    """Share of the training over which the learning rate rises in equal steps; the schedule has the rest."""
    step_every: Annotated[Part, Example("schedule: step, step_every: 0.25")] = 1 / 3
    """Of the schedule `step`: it falls after each such share of the training."""
    step_factor: Annotated[Part, Example("schedule: step, step_factor: 0.5")] = 0.1
    """Of the schedule `step`: what the learning rate is multiplied by when it falls."""
    penalize_bias: Annotated[Flag, Example("penalize_bias: true")] = False
    """Let penalties and decay act on biases and normalization parameters too."""
    compile: Annotated[Flag | None, Example("compile: false")] = None
    """Compile the training step; left out, where there is a C++ compiler and the study is long enough to gain."""
    precision: Annotated[Literal["float32", "bfloat16"], Example("precision: bfloat16")] = "float32"
    """Number type of the products of a training step; parameters, their updates and the evaluation stay in float32.
    On a GPU bfloat16 is faster; few CPUs gain by it."""

    @model_validator(mode="after")
    def _complete(self) -> TrainConfig:
        known = OPTIMIZER_DEFAULTS[self.optimizer]
        if self.momentum is None:
            object.__setattr__(self, "momentum", known.get("momentum", 0.0))
        if "betas" not in self.model_fields_set:
            first, second = self.betas
            object.__setattr__(self, "betas", (known.get("beta1", first), known.get("beta2", second)))
        return self

    def knobs(self) -> dict[str, float]:
        """List what this study's optimizer is set to, by the flat names under which `space` may search it."""
        beta1, beta2 = self.betas
        momentum = self.momentum or 0.0
        settings = {"learning_rate": self.learning_rate, "momentum": momentum, "beta1": beta1, "beta2": beta2}
        return {name: settings[knob_of(name)] for name in train_knobs(self.optimizer)}


class TrackingConfig(Section):
    """Where MLflow records the study."""

    uri: Annotated[Text | None, Example('uri: "http://mlflow.example:5000"')] = None
    """The MLflow store, a server or a database; left out, `MLFLOW_TRACKING_URI` or SQLite below `mlruns/`. User and
    password stand in the address, or in `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`."""
    models: Annotated[Literal["champion", "finals", "all"], Example("models: finals")] = "champion"
    """Which trained models are kept: the champion; those of all finals besides, with their runs; those of complete
    trials besides, which are trained once more for it."""
    method: Annotated[Text | None, Example("method: dropout")] = None
    """What this study tries, in a word: `study compare` sets methods side by side; left out, the regularizers that its
    trials had on."""
    tensorboard: Annotated[Text | None, Example("tensorboard: events")] = None
    """A folder: the same curves for TensorBoard, in a folder below it that has the study's name."""

    @field_validator("tensorboard")
    @classmethod
    def _tensorboard(cls, value: str | None) -> str | None:
        # A study goes on from any folder.
        return value if value is None else str(Path(value).absolute())


class StudyConfig(Section):
    """One study file, checked and completed with its defaults."""

    name: Annotated[Text, Example("name: patients")]
    """The study's name, under which commands and MLflow find it: letters, digits, `-`, `_` and `.`, up to 128."""
    data: Annotated[DataConfig, Example("data: {source: 'sklearn:digits'}")]
    """Where the rows come from and what is to be predicted."""
    model: Annotated[ModelConfig, Example("model: {name: mlp, hidden: [64, 64]}")]
    """What is trained: a model that comes with regsearch, or your own."""
    train: Annotated[TrainConfig, Example("train: {epochs: 50, batch_size: 32}")] = TrainConfig()
    """How one trial is trained."""
    space: Annotated[
        YamlMapping | None,
        Allowed("allowed is a section with choose and from, or regularizers and their knobs"),
        Example("space: {dropout: search, l2: search}"),
    ] = None
    """The regularizers that the search may turn on, and the knobs that it sets; left out, the type of the weight
    penalty, dropout and gradient clipping."""
    search: Annotated[SearchConfig, Example("search: {trials: 200, sampler: tpe}")] = SearchConfig()
    """How settings are drawn and trials ended early."""
    finalize: Annotated[FinalizeConfig, Example("finalize: {top: 3, seeds: 10}")] = FinalizeConfig()
    """Who enters the finals, and how often they are trained."""
    tracking: Annotated[TrackingConfig, Example("tracking: {uri: 'http://mlflow.example:5000'}")] = TrackingConfig()
    """Where MLflow records the study."""
    folder: Annotated[str, SetByLoader()] = ""
    """Folder of the study file, absolute: paths and modules are found from here first."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        check_name(value)
        return value

    @model_validator(mode="after")
    def _tested(self) -> StudyConfig:
        refuse_splits(self.finalize, self.data)
        if self.finalize.seeds and self.data.split.test == 0 and self.data.split.kind != "column":
            raise UserError(
                "finals need unseen rows to test on",
                key="data.split.test",
                value=0,
                allowed="allowed are shares above 0, or 0 together with finalize: {seeds: 0}",
            )
        return self

    def to_json(self) -> str:
        """Encode this configuration: equal configurations give equal texts, and `from_json` reads them back."""
        return json.dumps(self.model_dump(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, file: str | Path | None = None) -> StudyConfig:
        """Decode what `to_json` wrote, with unbounded scaling where that was a version that did not bound numbers yet.

        Raises:
            UserError: the text is not such a configuration; `file` is named in it.
        """
        try:
            saved = json.loads(text)
            if isinstance(saved, dict) and isinstance(saved.get("data"), dict):
                saved["data"].setdefault("scaling", "unbounded")
            return cls.model_validate(saved)
        except ValidationError as error:
            raise refusal(cls, error, file) from None
        except ValueError as error:
            raise UserError(f"not a study's record: {error}", file=file) from None


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
