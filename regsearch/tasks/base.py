"""How a task is declared: one frozen dataclass that says what is minimised, what is measured and what finals judge by.

Legend: S seeds, N rows, C outputs. Losses and metrics are written for ONE trial; `torch.func.vmap` lifts them, so none
branches in Python on a value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import numpy as np
import torch

Array = np.ndarray
Tensors = dict[str, torch.Tensor]


class Task(ABC):
    """One kind of learning.

    Class attributes of a task:
        name: the word in a study file.
        metric: the one metric that finals decide by; of `regsearch.analysis.statistics.METRICS`.
        metrics_names: all that are measured each epoch, beside the loss.
        higher: those of them that are to be maximised; the others are to be minimised.
        loss_words: the loss and its unit, for pictures.
        distributions: encoded targets are distributions over classes, so rules of the site `targets` apply.
    """

    name: ClassVar[str]
    metric: ClassVar[str]
    higher: ClassVar[frozenset[str]] = frozenset()
    loss_words: ClassVar[str]
    distributions: ClassVar[bool] = False

    @property
    @abstractmethod
    def metrics_names(self) -> tuple[str, ...]:
        """The names that `metrics` returns."""

    @abstractmethod
    def encode(self, y: torch.Tensor) -> torch.Tensor:
        """Encode stored targets [N...] as training targets [N, C...]."""

    @abstractmethod
    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Compute each row's data loss [N] from outputs [N, C...] and training targets of that shape."""

    @abstractmethod
    def metrics(self, out: torch.Tensor, y: torch.Tensor) -> Tensors:
        """Compute each metric, a scalar, from outputs [N, C...] and stored targets [N...]."""

    @abstractmethod
    def shape(self, rows: int) -> tuple[int | None, ...]:
        """Give the shape that outputs for so many rows must have; None stands for any size."""

    @abstractmethod
    def judged(self, out: Array, y: Array) -> tuple[Array, Array]:
        """Turn outputs [S, N, C...] and stored targets [N...] into predictions [S, N] and truth [N].

        `metric` of the two is the task's metric: labels for balanced accuracy, values in the target's units for the
        root mean square error, losses against zeros for perplexity.
        """

    def at_finals(self, out: Array, y: Array) -> dict[str, Array]:
        """Compute measures [S] too slow, or impossible to trace, for each epoch; arguments as in `judged`."""
        return {}


TASKS: dict[str, type[Task]] = {}
Declared = TypeVar("Declared", bound=Task)


def task(cls: type[Declared]) -> type[Declared]:
    """Enter a declared task under its name.

    Raises:
        ValueError: the name is taken.
    """
    if cls.name in TASKS:
        raise ValueError(f"the task {cls.name} is declared twice")
    TASKS[cls.name] = cls
    return cls
