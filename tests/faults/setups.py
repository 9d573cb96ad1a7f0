"""The studies that faults strike: tiny, each in a folder of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

NAME = "small"
LEASE = 10.0
"""Longer than a round takes on a busy machine, far shorter than the minute and more of real studies."""


@dataclass(frozen=True)
class Setup:
    """A study file, and what it needs.

    Args:
        key: names the undisturbed run that all studies of this setup and seed are held against.
        text: the study file; `NAME` stands for the study's name, `STORAGE` for its database.
        trials: how many it has.
        module: a Python module `net` beside the study file, as a user has one.
        calm: the module of the undisturbed run, where it is another one.
        options: more words for `study start` and `study resume`.
        lease: seconds after which a silent worker is taken for gone, in place of a minute and more.
    """

    key: str
    text: str
    trials: int
    module: str = ""
    calm: str | None = None
    options: tuple[str, ...] = ()
    lease: float | None = None


# The winner stopped early and is not the baseline: a resumed study must remember which epoch a trial kept.
WHOLE = Setup(
    "whole",
    """
name: NAME
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: {name: mlp, hidden: [16]}
train: {epochs: 10, batch_size: 16, learning_rate: 4.0e-2, compile: false}
space: {choose: one, from: [l1, l2, weight_decay], dropout: search, early_stopping: {patience: {low: 1, high: 3}}}
search: {trials: 24, parallel: 8, width: 2, workers: 1}
finalize: {top: 3, seeds: 3}
""",
    24,
)
# No finals, no champion; long enough for several strikes, and none of it is pruned away.
LONG = Setup(
    "long",
    """
name: NAME
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 0.0}}
model: {name: mlp, hidden: [16]}
train: {epochs: 40, batch_size: 16, learning_rate: 4.0e-2, compile: false}
space: {dropout: search, l2: search}
search: {trials: 16, parallel: 8, width: 2, workers: 2, pruner: none}
finalize: {seeds: 0}
""",
    16,
    lease=LEASE,
)
# The search in a database: the same answer as without, so `WHOLE` is its undisturbed run.
DATABASE = replace(WHOLE, text=WHOLE.text.replace("search: {", "search: {storage: STORAGE, "))
# Nodes take seconds to go and to come.
CLUSTER = replace(LONG, key="cluster", text=LONG.text.replace("epochs: 40", "epochs: 60"))
