"""The kinds of studies of null.py, and their rows, which are made here so that the truth is known.

Legend: N rows, F features.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from regsearch.trial import derive_seed

Array = np.ndarray[Any, Any]
STUDY = "REGSEARCH_NULL_STUDY"
"""In the environment: the study whose rows `made` makes, as ARM:INDEX. The process that seals them inherits it."""
TRAIN, VALIDATION, TEST = 80, 80, 400
FRESH_ROWS, FRESH_SEEDS = 4000, 30
COCKTAIL = {
    "choose": "any",
    "from": {
        "l1": {"strength": {"low": 1e-4, "high": 1e-1, "log": True}},
        "l2": {"strength": {"low": 1e-4, "high": 1.0, "log": True}},
        "dropout": {"p": {"low": 0.05, "high": 0.7}},
    },
}
PLACEBO = {"placebo_units": {"dose": "search"}, "placebo_decay": {"dose": "search"}}
COINS = {"other_coins": {"turn": "search"}}


@dataclass(frozen=True)
class Arm:
    """One kind of study.

    Args:
        title: what was done, in the page's words.
        truth: `none`: no setting is better than the baseline, so every claim is false; `planted`: there are better
            ones; `shrinking`: values without sense, to whose mean a shrunken model is nearer all the same.
        task, space: as in a study file.
        studies: how many by default.
        features, informative: F, and how many of them say anything.
        explained: share of the target's variance that they explain.
        shuffled: the labels are permuted over all rows before the split.
        test: rows of the sealed split.
        epochs: of every trial.
        top: how many of the search's best settings go to the finals.
        fresh: measure the truth, too, on fresh rows and seeds.
    """

    title: str
    truth: str
    task: str
    space: Mapping[str, Any]
    studies: int
    features: int = 20
    informative: int = 5
    explained: float = 0.6
    shuffled: bool = False
    test: int = TEST
    epochs: int = 20
    top: int = 2
    fresh: bool = False


# The size of the planted effect follows from the power: two classifiers that disagree on 40 of 100 rows have a standard
# error of sqrt(0.4 / 400) = 3.2 points between them; to lie beyond 1.96 of them in 95 % of studies the true difference
# must be (1.96 + 1.64) * 3.2 = 11.4 points. Tried on other seeds, 3 of 200 features were worth 22 and 30 points on
# fresh rows, room for a search that ends with a middling setting; 4 of 120, and less of the variance explained, were
# worth 4 to 10, too few for this many test rows, whatever the method.
_PLANTED: dict[str, Any] = {"features": 200, "informative": 3, "explained": 0.95, "epochs": 40, "fresh": True}
ARMS: dict[str, Arm] = {
    "shuffled": Arm("shuffled labels", "none", "classification", COCKTAIL, 100, shuffled=True),
    "placebo": Arm("placebo, classes", "none", "classification", PLACEBO, 50),
    "placebo-values": Arm("placebo, values", "none", "regression", PLACEBO, 50),
    "planted": Arm("planted, classes", "planted", "classification", COCKTAIL, 20, **_PLANTED),
    "planted-values": Arm("planted, values", "planted", "regression", COCKTAIL, 20, **_PLANTED),
    "coins": Arm("other coins, classes", "none", "classification", COINS, 50),
    "coins-values": Arm("other coins, values", "none", "regression", COINS, 50),
    "coins-hardest": Arm("other coins, hardest", "none", "classification", COINS, 25, test=2000, top=5),
    "shuffled-values": Arm("shuffled values", "shrinking", "regression", COCKTAIL, 20, shuffled=True, fresh=True),
}  # fmt: skip


def rows(arm: Arm, seed: int, stream: str, count: int) -> tuple[Array, Array]:
    """Rows x [N, F] and targets y [N] of a study's world, which its seed makes; each stream has rows of its own.

    y = sqrt(r2) s + sqrt(1 - r2) e, with s a weighted sum of the informative features and e of variance 1; the classes
    are y > 0.
    """
    weights = np.random.default_rng(derive_seed(seed, "world")).choice([-1.0, 1.0], arm.informative)
    random = np.random.default_rng(derive_seed(seed, "rows", stream))
    x = random.standard_normal((count, arm.features))
    signal = x[:, : arm.informative] @ weights / math.sqrt(arm.informative)
    y = math.sqrt(arm.explained) * signal + math.sqrt(1 - arm.explained) * random.standard_normal(count)
    if arm.shuffled:
        y = random.permutation(y)
    return x.astype(np.float32), (y > 0).astype(np.int64) if arm.task == "classification" else y


def seed_of(name: str, index: int) -> int:
    """The study's own seed: its world, rows, split, trials, finals and bootstrap all follow from it."""
    return derive_seed("null", name, index) % 2**31


def made() -> dict[str, Array]:
    """The rows of the study that the environment names: what `data.source` calls."""
    name, _, index = os.environ[STUDY].rpartition(":")
    arm = ARMS[name]
    x, y = rows(arm, seed_of(name, int(index)), "study", TRAIN + VALIDATION + arm.test)
    return {"x": x, "y": y}
