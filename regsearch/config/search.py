"""What a study file may say of its search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from regsearch.config.constraints import FORM, Constraint, read_constraint
from regsearch.config.fields import Count, Flag, Options, Section, Seed, Text, as_tuple
from regsearch.config.refusal import Allowed, Example
from regsearch.config.words import one_of
from regsearch.config.yaml12 import YamlMapping
from regsearch.errors import UserError

Sampler = Literal["tpe", "gp", "cmaes", "nsga2", "nsga3", "random", "sobol", "halton", "qmc", "grid"]
PRUNERS = ("asha", "hyperband", "median", "patient", "none")
ALGORITHMS = ("random", "optuna", "hyperopt", "ax", "bayesopt", "bohb", "hebo", "nevergrad", "zoopt")
SCHEDULERS = ("asha", "hyperband", "median", "pbt", "pb2", "none")
POPULATIONS = ("pbt", "pb2")
"""Schedulers that copy trials and change their numbers in mid-training; they draw the first settings at random."""


class SearchConfig(Section):
    """How settings are drawn and trials ended early."""

    engine: Annotated[Literal["optuna", "ray_tune"], Example("engine: ray_tune, algorithm: hyperopt")] = "optuna"
    """Who draws settings and ends trials early: Optuna by `sampler` and `pruner`, or Ray Tune by `algorithm` and
    `scheduler`."""
    sampler: Annotated[Sampler, Example("sampler: gp")] = "tpe"
    """How settings are drawn: `tpe`, `gp`, `cmaes`, `nsga2` and `nsga3` learn from the trials so far, `random` does
    not; `sobol` (or `qmc`) and `halton` fill the space evenly; `grid` tries each setting of a grid once, with five
    levels of each number, and the search ends when there are no more."""
    pruner: Annotated[
        str | YamlMapping,
        Allowed(f"allowed are {', '.join(PRUNERS)}, or {{name: ..., option: ...}}"),
        Example("pruner: {name: hyperband, reduction_factor: 3}"),
    ] = "asha"
    """Which trials end early: a name, or a mapping of `name` and the options of that pruner."""
    algorithm: Annotated[
        str | YamlMapping | None,
        Allowed(f"allowed are {', '.join(ALGORITHMS)}, or {{name: ..., option: ...}}"),
        Example("engine: ray_tune, algorithm: hyperopt"),
    ] = None
    """How Ray Tune draws settings: a name, or a mapping of `name` and the options of Tune's class; `optuna` when left
    out, and for a population `random`, which is all that it takes."""
    scheduler: Annotated[
        str | YamlMapping,
        Allowed(f"allowed are {', '.join(SCHEDULERS)}, or {{name: ..., option: ...}}"),
        Example("engine: ray_tune, scheduler: {name: pbt, perturbation_interval: 3}"),
    ] = "asha"
    """Which trials Ray Tune ends early, given like `algorithm`; the populations `pbt` and `pb2` change numbers in
    mid-training."""
    trials: Annotated[Count, Example("trials: 200")] = 100
    """Settings that are tried, the baseline among them; `--trials` on the command line takes its place."""
    parallel: Annotated[Count, Example("parallel: 64")] = 32
    """Trials in flight; the answer depends on it, the number of workers never does."""
    objective: Annotated[
        Text | tuple[Text, ...],
        BeforeValidator(as_tuple),
        Allowed("allowed is a tracked metric or a list of several"),
        Example("objective: [val_loss, gap]"),
    ] = "val_loss"
    """What a trial is judged by; of a list there is no best trial but a front, and nothing is pruned."""
    constraint: Annotated[
        Text | tuple[Text, ...],
        BeforeValidator(as_tuple),
        Allowed(f"{FORM}, or a list of such"),
        Example('constraint: "sparsity >= 0.2"'),
    ] = ()
    """What the best trial must keep to, `METRIC <= NUMBER` or `>=`, of the epoch that counts; or a list of several."""
    seed: Annotated[Seed, Example("seed: 1")] = 0
    """Seed of the search: of its settings and of the trials' weights and batches; `--seed` takes its place."""
    deterministic: Annotated[Flag, Example("engine: ray_tune, deterministic: false")] = True
    """Optuna's decisions follow a logical clock and cannot be turned loose; Ray Tune's follow the order of arrival."""
    storage: Annotated[Text | None, Example('storage: "postgresql://me:${DB_PASSWORD}@db.example/studies"')] = None
    """A database for the search, `postgresql://...`, `mysql+pymysql://...` or `sqlite:///FILE`, by Optuna's own tables;
    left out, a journal file beside the study. `${NAME}` stands for the environment's NAME."""
    width: Annotated[Count | None, Example("width: 16")] = None
    """Slots of a pack, 1 for one trial at a time; measured when left out."""
    workers: Annotated[Count | None, Example("workers: 4")] = None
    """Worker processes; when left out one per core, or per GPU."""
    device: Annotated[
        str,
        Field(pattern=r"^(cpu|cuda(:\d+)?)$"),
        Allowed("allowed are cpu, cuda (every GPU) and one like cuda:0"),
        Example("device: cuda"),
    ] = "cpu"
    """Where the packs are; `--device` on the command line takes its place."""

    @property
    def pruner_name(self) -> str:
        """The name of the pruner, whichever way the file says it."""
        return _named(self.pruner)[0]

    @property
    def pruner_options(self) -> Options:
        """The options of the pruner."""
        return _named(self.pruner)[1]

    @property
    def algorithm_name(self) -> str:
        """The name of the algorithm of Ray Tune."""
        return _named(self.algorithm or ("random" if self.is_population else "optuna"))[0]

    @property
    def algorithm_options(self) -> Options:
        """The options of the algorithm."""
        return _named(self.algorithm or "optuna")[1]

    @property
    def scheduler_name(self) -> str:
        """The name of the scheduler of Ray Tune."""
        return _named(self.scheduler)[0]

    @property
    def scheduler_options(self) -> Options:
        """The options of the scheduler."""
        return _named(self.scheduler)[1]

    @property
    def is_population(self) -> bool:
        """Whether numbers change in mid-training."""
        return self.engine == "ray_tune" and self.scheduler_name in POPULATIONS

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives as a tuple, also where there is one."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """The constraints, read."""
        texts = (self.constraint,) if isinstance(self.constraint, str) else self.constraint
        return tuple(map(read_constraint, texts))

    @property
    def measures(self) -> tuple[str, ...]:
        """The metrics that a trial is judged by: objectives, then those of constraints, each once."""
        return tuple(dict.fromkeys([*self.objectives, *(each.metric for each in self.constraints)]))

    @field_validator("constraint")
    @classmethod
    def _constraint(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        texts = (value,) if isinstance(value, str) else value
        read = [read_constraint(text) for text in texts]
        if len({each.name for each in read}) < len(read):
            raise UserError("not a list of constraints", allowed="allowed are constraints, each once")
        return value

    @field_validator("storage")
    @classmethod
    def _storage(cls, value: str | None) -> str | None:
        # A study goes on from any folder.
        file = (value or "").removeprefix("sqlite:///")
        return value if value is None or file == value or not file else f"sqlite:///{Path(file).absolute()}"

    @field_validator("pruner", "algorithm", "scheduler")
    @classmethod
    def _known(cls, value: str | YamlMapping | None, info: ValidationInfo) -> str | YamlMapping | None:
        known = {"pruner": PRUNERS, "algorithm": ALGORITHMS, "scheduler": SCHEDULERS}[str(info.field_name)]
        name = value.get("name") if isinstance(value, dict) else value
        if name is not None and name not in known:
            raise UserError(f"unknown {info.field_name}", value=name, allowed=one_of(known, name))
        return value

    @model_validator(mode="after")
    def _of_the_engine(self) -> SearchConfig:
        theirs = ("sampler", "pruner") if self.engine == "ray_tune" else ("algorithm", "scheduler")
        for name in theirs:
            if name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default:
                ours = "algorithm and scheduler" if self.engine == "ray_tune" else "sampler and pruner"
                raise UserError(
                    "belongs to another engine",
                    key=name,
                    value=getattr(self, name),
                    allowed=f"engine {self.engine} has {ours}",
                )
        if not self.deterministic and self.engine == "optuna":
            allowed = "allowed is true; engine ray_tune decides in the order of arrival"
            raise UserError("stragglers do not run ahead", key="deterministic", value=False, allowed=allowed)
        if self.sampler == "cmaes" and len(self.objectives) > 1:
            allowed = f"allowed are {', '.join(each for each in get_args(Sampler) if each != 'cmaes')}"
            raise UserError("searches one objective", key="sampler", value="cmaes", allowed=allowed)
        if self.constraints and self.engine == "ray_tune":
            asked = [each.name for each in self.constraints]
            raise UserError(
                "Ray Tune knows no constraints", key="constraint", value=asked, allowed="leave it out, or engine optuna"
            )
        if self.is_population and self.algorithm_name != "random":
            raise UserError(
                f"{self.scheduler_name} draws settings itself",
                key="algorithm",
                value=self.algorithm_name,
                allowed="allowed is random",
            )
        return self

    @field_validator("objective")
    @classmethod
    def _objective(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not isinstance(value, str) and (not value or len(set(value)) < len(value)):
            raise UserError("not a list of objectives", allowed="allowed are one or more tracked metrics, each once")
        return value


def _named(given: str | YamlMapping) -> tuple[str, Options]:
    """Name and options of a part that a study file gives by its name or as a mapping."""
    if isinstance(given, str):
        return given, {}
    return str(given["name"]), {key: value for key, value in given.items() if key != "name"}
