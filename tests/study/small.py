"""A small study for tests: 24 trials on digits, in a home of its own."""

from __future__ import annotations

from pathlib import Path

TEXT = """
name: small
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: {name: mlp, hidden: [16]}
train: {epochs: 6, batch_size: 32, learning_rate: 5.0e-3}
search: {trials: 24, parallel: 8, width: WIDTH, workers: WORKERS}
finalize: {seeds: 3}
"""


def study_file(folder: Path, width: int = 2, workers: int = 1) -> Path:
    path = folder / "small.yaml"
    path.write_text(TEXT.replace("WIDTH", str(width)).replace("WORKERS", str(workers)))
    return path
