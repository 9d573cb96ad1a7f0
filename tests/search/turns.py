"""A search in turns, as the driver makes them, with made-up values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regsearch.config import SearchConfig
from regsearch.search.optuna import OptunaSearch
from regsearch.search.storage import Storage, open_storage
from regsearch.space import Range, SearchSpace
from regsearch.trial import TrialState, derive_seed

BEGUN, EPOCHS, TOGETHER = 1_700_000_000_000, 4, 4
SPACE = SearchSpace("one", {"l1": (Range("l1.strength", 1e-6, 1e-2, log=True),)}, {}, (Range("dropout.p", 0.0, 0.5),))


def opened(address: str | None, folder: Path, said: list[str] | None = None) -> Storage:
    return open_storage(address, folder / "search.journal", "study", BEGUN, (said if said is not None else []).append)


def search(storage: Storage, sampler: str = "tpe", name: str = "study") -> OptunaSearch:
    config = SearchConfig.model_validate({"sampler": sampler, "pruner": "median", "seed": 5})
    return OptunaSearch(name, SPACE, config, storage, ["minimize"], EPOCHS)


def turn(found: OptunaSearch) -> None:
    """One turn, wherever the search stands: ask for what is due, report an epoch of it, end it after the last."""
    clock = found.clock() or {"turn": 0}
    epoch = int(clock["turn"]) % EPOCHS + 1
    if epoch == 1:
        for _ in range(TOGETHER):
            found.ask()
    for known in found.trials():
        if known.state is not TrialState.RUNNING:
            continue
        value = float(known.params.get("dropout.p", 0.3)) + (derive_seed(known.number, epoch) % 1000) / 1000 / epoch
        go_on = found.report(known.number, epoch, value)
        if epoch == EPOCHS:
            found.tell(known.number, TrialState.COMPLETE, value)
        elif not go_on:
            found.tell(known.number, TrialState.PRUNED, None)
    found.commit({"turn": int(clock["turn"]) + 1})


def content(study: Any) -> list[Any]:
    """All that Optuna knows of a study's trials, but the moments."""
    names = (
        "number",
        "state",
        "values",
        "params",
        "distributions",
        "intermediate_values",
        "user_attrs",
        "system_attrs",
    )
    return [tuple(getattr(trial, name) for name in names) for trial in study.get_trials(deepcopy=False)]
