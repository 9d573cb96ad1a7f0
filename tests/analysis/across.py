"""Studies for the tests of comparisons, as records that a tracker delivers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from regsearch.tracking.protocol import Dataset, Metrics, Note, Record, RunEnd, RunStart, StudyEnd, StudyStart

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
) -> Iterator[Record]:
    """One study's records: `trials` trials of two epochs, every fourth pruned; finals of each role at each seed.

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
            yield Metrics("trial", number, epoch, values, time + epoch)
        back = 1 if restored and not pruned else None
        yield RunEnd("trial", number, "PRUNED" if pruned else "COMPLETE", None, time + 50, back)
    for place, role in enumerate(roles):
        for k, seed in enumerate(seeds):
            number, time = place * len(seeds) + k, BEGIN + 10**6 + 100 * (place * len(seeds) + k)
            tags = {"regsearch.role": role, "regsearch.regularizers": "none"}
            yield RunStart(
                "final", number, f"final-{number:03d}", {"seed": seed, "candidate": 3 * (1 - place)}, tags, time
            )
            drawn = 0.01 * np.random.default_rng(seed).normal() + 0.003 * random.normal()
            tested = {f"test_{metric}": level - 0.05 * place + drawn, "test_loss": 0.5} if metric else {}
            losses = {"train_loss": 0.5 - gap / 2, "val_loss": 0.5, "gap": gap / 2}
            yield Metrics("final", number, 2, {**losses, **tested}, time + 1)
            yield RunEnd("final", number, "COMPLETE", None, time + 50)
    yield Note({"mlflow.note.content": name})
    yield StudyEnd("COMPLETE", BEGIN + 10**7)
