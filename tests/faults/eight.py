"""`python -m tests.faults.eight KIND SEED PROCESSES ADDRESS...`: processes that open each fresh store at once.

They are forked when all is imported, and let go at the same moment, or some milliseconds apart. Prints a line for
whatever is wrong.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Open = Callable[[str, int], None]
Whole = Callable[[str, int], list[str]]


def mlflow_store() -> tuple[Open, Whole]:
    """Each makes the store, and an experiment in it; a whole store has all of them."""
    from mlflow import MlflowClient

    from regsearch.tracking.mlflow.store import ensure_store

    def opens(uri: str, number: int) -> None:
        ensure_store(uri)
        MlflowClient(uri, uri).create_experiment(f"of {number}")

    def whole(uri: str, processes: int) -> list[str]:
        names = {each.name for each in MlflowClient(uri, uri).search_experiments()}
        missing = {"Default", *(f"of {number}" for number in range(processes))} - names
        return [f"{uri} lacks {sorted(missing)}"] if missing else []

    return opens, whole


def optuna_storage(journal: bool) -> tuple[Open, Whole]:
    """Each begins a study of its own in the database; a journal has one study, and one process that holds its lock."""
    import optuna

    from regsearch.config import SearchConfig
    from regsearch.search.optuna import OptunaSearch
    from regsearch.search.storage import open_storage
    from regsearch.space import SearchSpace
    from regsearch.trial import TrialState

    config = SearchConfig.model_validate({"sampler": "random", "pruner": "none"})

    def search(address: str, number: int) -> Any:
        name = "study" if journal else f"study-{number}"
        where = None if journal else address
        storage = open_storage(where, Path(address), name, number)
        return storage, OptunaSearch(name, SearchSpace(), config, storage, ["minimize"], 3)

    def opens(address: str, number: int) -> None:
        if journal:
            _journal_of_one(address, number, search)
            return
        storage, made = search(address, number)
        made.ask()
        made.tell(0, TrialState.COMPLETE, float(number))
        made.commit({"turn": 1})
        storage.close()

    def whole(address: str, processes: int) -> list[str]:
        wrong = []
        for number in range(1 if journal else processes):
            storage, found = search(address, number)
            trials = [(each.number, each.state.value) for each in found.trials()]
            wrong += [] if trials == [(0, "COMPLETE")] else [f"{address}: study {number} has {trials}"]
            storage.close()
        return wrong

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return opens, whole


def _journal_of_one(address: str, number: int, search: Any) -> None:
    """Go on with the study behind its lock, as `Study` does: one process makes the first trial, the others find it."""
    import fcntl

    from regsearch.trial import TrialState

    Path(address).parent.mkdir(exist_ok=True)
    with open(f"{address}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        storage, made = search(address, number)
        if not made.trials():
            made.ask()
            made.tell(0, TrialState.COMPLETE, 1.0)
            made.commit({"turn": 1})
        storage.close()


def at_once(opens: Open, address: str, processes: int, pick: random.Random) -> list[str]:
    """What is wrong when so many processes open the same store."""
    gate, shut = os.pipe()
    apart = [pick.choice((0.0, pick.uniform(0, 0.3))) for _ in range(processes)]
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            os.close(shut)
            os.read(gate, 1)  # until the parent closes its end
            time.sleep(apart[number])
            code = 1
            try:
                opens(address, number)
                code = 0
            except BaseException as error:
                print(f"{address}: process {number}: {type(error).__name__}: {error}"[:400], flush=True)
            finally:
                os._exit(code)
        children.append(child)
    os.close(shut)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    os.close(gate)
    return [f"{address}: exit codes {codes}"] if any(codes) else []


def main(words: list[str]) -> int:
    kind, seed, processes, addresses = words[0], words[1], int(words[2]), words[3:]
    opens, whole = mlflow_store() if kind == "mlflow" else optuna_storage(kind == "journal")
    pick = random.Random(seed)
    for address in addresses:
        if kind == "mlflow":
            Path(address.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        wrong = at_once(opens, address, processes, pick) or whole(address, processes)
        print("\n".join(wrong), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
