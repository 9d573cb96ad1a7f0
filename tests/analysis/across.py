"""Studies for the tests of comparisons, as records that a tracker delivers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regsearch.tracking.log.records import Dataset, Metrics, Note, Record, RunEnd, RunStart, StudyEnd, StudyStart
from regsearch.tracking.mlflow.runs import StudyRuns

BEGIN = 1_700_000_000_000


def told(
    name: str,
    *,
    source: str = "sklearn:digits",
    method: str | None = None,
    regularizers: Sequence[str] = ("dropout",),
    level: float = 0.9,
    gap: float = 0.3,
    trials: int = 12,
    seeds: Sequence[int] = tuple(range(10)),
    metric: str | None = "balanced_accuracy",
    digest: str | None = None,
    roles: Sequence[str] = ("winner", "baseline"),
    restored: bool = False,
    noise: int = 0,
    val_metric: bool = False,
) -> Iterator[Record]:
    """One study's records: `trials` trials of two epochs, every fourth pruned; finals of each role at each seed.

    With `val_metric` the validation score of trial n is 0.99 - n / 100, and that of finals 0.02 above their test score.
    The winner's metric is `level` plus noise that depends on the seed, the baseline's is 0.05 lower. Where `restored`,
    complete trials went back from epoch 2 to epoch 1.
    """
    digest = digest or (source.encode().hex() * 64)[:64]
    tags = {"regsearch.digest": digest, **({"regsearch.method": method} if method else {})}
    params = {"data.source": source, "task": "classification", "search.sampler": "tpe", "search.seed": noise}
    yield StudyStart(name, params, tags, BEGIN, Dataset(name, source, digest, 300, 64))
    random = np.random.default_rng(noise)
    for number in range(trials):
        on = "+".join(regularizers) if number else "none"
        knobs = {f"{each}.p": 0.1 for each in regularizers} if number else {}
        pruned = number % 4 == 3
        time = BEGIN + 100 * number
        yield RunStart(
            "trial", number, f"trial-{number:03d}", {**knobs, "seed": number}, {"regsearch.regularizers": on}, time
        )
        for epoch in (1, 2):
            loss = 0.5 + 0.01 * number + 0.1 * epoch
            values = {"train_loss": loss - gap, "val_loss": loss, "gap": gap + 0.01 * number * (epoch == 2)}
            if val_metric:
                values["val_balanced_accuracy"] = 0.99 - 0.01 * number
            yield Metrics("trial", number, epoch, values, time + epoch)
        back = 1 if restored and not pruned else None
        yield RunEnd("trial", number, "PRUNED" if pruned else "COMPLETE", None, time + 50, back)
    for place, role in enumerate(roles):
        for k, seed in enumerate(seeds):
            number, time = place * len(seeds) + k, BEGIN + 10**6 + 100 * (place * len(seeds) + k)
            tags = {"regsearch.role": role.split(",")[0], "regsearch.roles": role, "regsearch.regularizers": "none"}
            yield RunStart(
                "final", number, f"final-{number:03d}", {"seed": seed, "candidate": 3 * (1 - place)}, tags, time
            )
            drawn = 0.01 * np.random.default_rng(seed).normal() + 0.003 * random.normal()
            tested = {f"test_{metric}": level - 0.05 * place + drawn, "test_loss": 0.5} if metric else {}
            if val_metric:
                tested["val_balanced_accuracy"] = tested["test_balanced_accuracy"] + 0.02
            losses = {"train_loss": 0.5 - gap / 2, "val_loss": 0.5, "gap": gap / 2}
            yield Metrics("final", number, 2, {**losses, **tested}, time + 1)
            yield RunEnd("final", number, "COMPLETE", None, time + 50)
    yield Note({"mlflow.note.content": name})
    yield StudyEnd("COMPLETE", BEGIN + 10**7)


def remembered(name: str, **about: Any) -> StudyRuns:
    """The study as `read_study` gives it, but for ids and times, without a store: for what is about statistics."""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    metrics: dict[tuple[str, int], dict[int, dict[str, float]]] = {}
    for record in told(name, **about):
        if isinstance(record, StudyStart):
            begun = record
        elif isinstance(record, RunStart):
            tags = {name: record.tags.get(f"regsearch.{name}") for name in ("role", "roles", "regularizers")}
            rows[record.kind, record.number] = {"kind": record.kind, "number": record.number, **tags, **record.params}
        elif isinstance(record, Metrics):
            metrics.setdefault((record.kind, record.number), {})[record.epoch] = dict(record.values)
        elif isinstance(record, RunEnd):
            key = (record.kind, record.number)
            kept = metrics[key][record.restored or max(metrics[key])]
            if record.restored:
                kept["gap"] = kept["val_loss"] - kept["train_loss"]
            rows[key] |= {"state": record.status, **metrics[key][max(metrics[key])], **kept}
    fixed = ["kind", "number", "state", "role", "roles", "regularizers"]
    frame = pd.DataFrame(list(rows.values()), columns=[*fixed, *({n for row in rows.values() for n in row} - {*fixed})])
    return StudyRuns(name, {key: str(value) for key, value in begun.params.items()}, begun.tags, frame)


METHODS = {"none": 0.0, "l2": 0.02, "dropout": 0.03}


def many(sets: int, missing: tuple[str, ...] = ()) -> list[StudyRuns]:
    """Three methods on so many data sets, but for the studies named."""
    found = []
    for number in range(sets):
        for method, more in METHODS.items():
            about = {"method": method, "level": 0.7 + 0.02 * number + more, "noise": number, "trials": 2}
            found.append(remembered(f"{method}-{number}", source=f"keel:set{number}", **about))
    return [each for each in found if each.name not in missing]
