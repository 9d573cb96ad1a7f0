"""A made-up study's records, as the tests of tracking use them."""

from __future__ import annotations

from collections.abc import Iterator

from regsearch.tracking.log.records import Dataset, Metrics, Note, Record, RunEnd, RunStart, StudyEnd, StudyStart

TRIALS, EPOCHS, FINALS = 40, 6, 4  # what the tests of the writer deliver
BEGIN = 1_700_000_000_000
NAMES = ("train_loss", "val_loss", "gap", "train_accuracy", "val_accuracy", "gap_accuracy", "norm", "clip", "seconds")


def study(trials: int, epochs: int, name: str = "digits", finals: int = 0) -> Iterator[Record]:
    """One study's records; trials run together in fours, each third is pruned, each seventh fails."""
    dataset = Dataset("digits", "sklearn:digits", "d" * 64, 300, 64)
    yield StudyStart(name, {"search.trials": trials, "seed": 0}, {"regsearch.version": "0"}, BEGIN, dataset)
    for first in range(0, trials, 4):
        group = range(first, min(first + 4, trials))
        for number in group:
            yield start("trial", number)
        for epoch in range(1, epochs + 1):
            for number in group:
                if epoch == 1 or number % 3 != 1 or epoch <= epochs // 2:
                    yield metrics("trial", number, epoch)
        for number in group:
            yield end("trial", number, epochs)
        yield Note({"mlflow.note.content": f"{group.stop} trials"})
    for number in range(finals):
        yield start("final", number)
        yield metrics("final", number, epochs)
        yield end("final", number, epochs)
    yield StudyEnd("COMPLETE", BEGIN + 10**6)


def start(kind: str, number: int) -> RunStart:
    params = {"l1.strength": 10.0 ** -(number % 5), "seed": number, "regularizers": "l1"}
    return RunStart(kind, number, f"{kind}-{number:03d}", params, {"regsearch.lane": "pack"}, BEGIN + number)  # type: ignore[arg-type]


def metrics(kind: str, number: int, epoch: int) -> Metrics:
    values = {name: (number + 1) / (epoch + place + 1) for place, name in enumerate(NAMES)}
    if number % 7 == 5:
        values["gap"] = float("nan") if epoch % 2 else float("inf")
    return Metrics(kind, number, epoch, values, BEGIN + 1000 * epoch + number)  # type: ignore[arg-type]


def end(kind: str, number: int, epochs: int) -> RunEnd:
    status = "FAIL" if number % 7 == 5 else "PRUNED" if number % 3 == 1 else "COMPLETE"
    reason = "loss is not finite after epoch 2" if status == "FAIL" else None
    return RunEnd(kind, number, status, reason, BEGIN + 1000 * epochs + number + 500)  # type: ignore[arg-type]
