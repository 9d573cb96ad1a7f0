"""A study of a ConvNet that trains one trial at a time: recorded, resumed and replayed so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regsearch.errors import Interrupted
from regsearch.study import Study

TEXT = """
name: pictures
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: {name: convnet, channels: [4]}
train: {epochs: 3, batch_size: 32, learning_rate: 5.0e-3}
space: {dropout: search, l2: search}
search: {trials: 8, parallel: 4, width: 1, workers: WORKERS}
finalize: {seeds: 2, top: 1}
"""


def test_stopped_resumed_and_replayed(own_folder: Path) -> None:
    file = own_folder / "pictures.yaml"
    file.write_text(TEXT.replace("WORKERS", "1"))
