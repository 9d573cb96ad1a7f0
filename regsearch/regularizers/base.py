"""How a regularizer is declared: one frozen dataclass whose fields are its knobs and whose site method is its effect.

Legend: T trials, B batch, F features, C classes, P parameters. Effects are written for ONE trial; `torch.func.vmap`
lifts them over T, and under it a knob is a 0-d tensor. No effect branches in Python on a strength.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar, get_type_hints

import torch

from regsearch.space import Knob

Strength = float | torch.Tensor
"""The type of the one knob that turns the regularizer on: at its `off` value the effect is the identity."""
Shape = Annotated[float | torch.Tensor, "shapes the effect"]
"""The type of a knob that shapes the effect and means nothing while the strength is off."""


class Context(Protocol):
    """What the training step lends to an effect, for one trial at one step.

    Random numbers are counter-based: they depend on the trial's seed, the site, the call and the step alone.
    """

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Draw numbers in [0, 1) of the shape of `like`, multiples of 2^-24."""
        ...

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Draw standard normal numbers of the shape of `like`."""
        ...

    @property
    def depth(self) -> float:
        """At a site of the model: its place among the n sites of its kind, in the order of the pass, 1/n to 1."""
        ...

    def moments(self, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give a normalization that `needs_moments` the mean and variance of each unit of h [B, F...] over the batch,
        to be broadcast against it; in evaluation those that ran along in training.

        Units lie along axis 1 behind a convolution, else along the last.
        """
        ...

    @property
    def x(self) -> torch.Tensor:
        """In a penalty: the batch x [B, F...], as rules of site `batches` left it."""
        ...

    @property
    def forward(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """In a penalty: the model in evaluation mode, without noise, from x [B, F...] to its raw outputs [B, C...].

        They are what the model gives: logits of classes or tokens, before any softmax; of values, in standard
        deviations of the training targets from their mean; of clustering, a row's reconstruction and then its code.
        """
        ...


@dataclass(frozen=True)
class Paper:
    """Where a rule comes from."""

    authors: str
    year: int
    url: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}), {self.url}"


@dataclass(frozen=True)
class Parameter:
    """One named tensor of a model, with what structured rules must know of it.

    Args:
        name: its name in the module.
        tensor: its values for one trial; weights are [O, I...], units along axis 0.
        role: `weight`, `bias` or `norm` (scale and shift of a normalization layer).
    """

    name: str
    tensor: torch.Tensor
    role: str


class Regularizer:
    """Base of every regularizer. A subclass of it names the site; a dataclass below that declares the rule."""

    site: ClassVar[str] = ""
    marker: ClassVar[str | None] = None
    """Where given, a rule of site `activations` acts at the `Site` markers of this name instead, and only there."""
    needs_numbers: ClassVar[bool] = False
    """Whether rows of codes (texts, users and items) are nothing that the rule could act on."""
    needs_classes: ClassVar[bool] = False
    """Whether the rule means nothing where the task predicts numbers: regression, forecasts, ratings."""
    acts_on: ClassVar[str] = ""
    """Which parameters a model must train for the rule to act at all: `weights`, what is `penalized`, or any."""
    tracks: ClassVar[tuple[str, ...]] = ()
    """What is tracked of each epoch of a trial that turns the rule on, where that is the point of it: `sparsity` and
    `weight_norm` of the weights, `gradient_norm` before the rules of site `gradients`, and the share of steps that they
    `clipped`."""
    source: ClassVar[Paper]
    name: ClassVar[str]
    knobs: ClassVar[tuple[Knob, ...]]
    strength_knob: ClassVar[Knob]

    @classmethod
    def summary(cls) -> str:
        """Give the first paragraph of the docstring."""
        return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")

    @classmethod
    def at(cls, values: Mapping[str, Strength]) -> Self:
        """Make the rule with the knobs that `values` holds by flat name; the others keep their defaults."""
        short = {knob.name.split(".", 1)[1]: values[knob.name] for knob in cls.knobs if knob.name in values}
        return cls(**short)


def knob(
    low: float,
    high: float,
    *,
    off: float | None = None,
    default: float | None = None,
    log: bool = False,
    integer: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    unit: str = "",
    doc: str,
) -> Any:
    """Declare a knob as a dataclass field; see `regsearch.space.Knob` for the words.

    Args:
        low, high: the range that is searched where a study names none.
        minimum, maximum: the limits of what a study may ask for; `low` and `high` where they are not given.
        unit: of the values; the conformance check `declaration` asks for one, and for `doc`.

    Raises:
        ValueError: neither `off` nor `default` is given, or the bounds are not in order.
    """
    start = off if default is None else default
    if start is None:
        raise ValueError(f"knob '{doc}' needs off= (a strength) or default= (any other knob)")
    lowest = low if minimum is None else minimum
    highest = high if maximum is None else maximum
    if not lowest <= low <= high <= highest or (log and low <= 0):
        raise ValueError(
            f"knob '{doc}': bounds {lowest} <= {low} <= {high} <= {highest} are not in order for its scale"
        )
    shape = {"low": low, "high": high, "off": off, "log": log, "integer": integer, "unit": unit, "doc": doc}
    return dataclasses.field(
        default=start, metadata={"knob": {**shape, "minimum": lowest, "maximum": highest, "default": start}}
    )


def snake_case(name: str) -> str:
    """Convert a class name to snake case: `ClipByNorm` to `clip_by_norm`, `L1` to `l1`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def is_shipped(rule: type[Regularizer]) -> bool:
    """Tell whether a rule is one of this package, not the user's own."""
    return rule.__module__.startswith("regsearch.")


REGISTRY: dict[str, type[Regularizer]] = {}
Rule = TypeVar("Rule", bound=Regularizer)


def regularizer(cls: type[Rule]) -> type[Rule]:
    """Make `cls` a frozen dataclass, read its knobs, and enter it in the registry under its snake-case name.

    Raises:
        ValueError: the class does not derive from a site, or does not have exactly one strength, or an `off` value is
            missing or misplaced, or another class has the name.
    """
    cls = dataclass(frozen=True)(cls)
    name = snake_case(cls.__name__)
    if not cls.site:
        raise ValueError(f"regularizer {cls.__name__} must derive from a site (Batch, Target, ..., Loop)")
    hints = get_type_hints(cls, include_extras=True)
    knobs = []
    for each in dataclasses.fields(cls):  # type: ignore[arg-type]
        if "knob" not in each.metadata:
            raise ValueError(f"regularizer {cls.__name__}: field {each.name} must be declared with knob(...)")
        if (hints[each.name] == Strength) != (each.metadata["knob"]["off"] is not None):
            raise ValueError(f"regularizer {cls.__name__}: {each.name} needs the type Strength and off= together")
        knobs.append(Knob(name=f"{name}.{each.name}", **each.metadata["knob"]))
    strengths = [knob for knob in knobs if knob.is_strength]
    if len(strengths) != 1:
        raise ValueError(f"regularizer {cls.__name__} must have exactly one Strength, not {len(strengths)}")
    known = REGISTRY.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"regularizer {name} is declared twice: in {known.__module__} and in {cls.__module__}")
    cls.name, cls.knobs, cls.strength_knob = name, tuple(knobs), strengths[0]
    REGISTRY[name] = cls
    return cls


INFINITY = math.inf
Effect = Callable[..., torch.Tensor]
