"""A key that stands in another section than its own is refused with the places that know it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from regsearch import Study
from regsearch.errors import UserError
from tests.config.test_study_file import written

# What stands below the smallest study, the key that is refused, and what is said to have been meant.
MISPLACED = [
    ("seed: 1", "seed", "search.seed or data.split.seed"),
    ("epochs: 3", "epochs", "train.epochs"),
    ("trials: 3", "trials", "search.trials"),
    ("batch_size: 8", "batch_size", "train.batch_size"),
    ("learning_rate: 0.1", "learning_rate", "train.learning_rate"),
    ("metric: val_loss", "metric", "search.objective"),
    ("lr: 0.1", "lr", "train.learning_rate"),
    ("train: {lr: 0.1}", "train.lr", "learning_rate"),
    ("epoch: 3", "epoch", "train.epochs"),
    ("search: {epochs: 3}", "search.epochs", "train.epochs"),
    ("train: {trials: 3}", "train.trials", "search.trials"),
    ("train: {seed: 3}", "train.seed", "search.seed or data.split.seed"),
    ("finalize: {seed: 3}", "finalize.seed", "seeds, search.seed or data.split.seed"),
    ("tracking: {column: a}", "tracking.column", "data.text.column"),
    ("models: all", "models", "model or tracking.models"),
    ("hidden: [3]", "hidden", "model.hidden"),
    ("channels: [3]", "channels", None),  # of another model
    ("choose: one", "choose", "space.choose"),
    ("dropout: search", "dropout", "space.dropout"),
    ("train: {weight_decay: 0.1}", "train.weight_decay", "space.weight_decay"),
    ("search.seed: 3", "search.seed", "search: {seed: ...}"),
    ("space: {trials: 3}", "space.trials", "search.trials"),
    ("space: {train: {epochs: 3}}", "space.train.epochs", "train.epochs"),
    ("space: {train: {momentum: search}}", "space.train.momentum", None),  # adamw has none, wherever it stands
    ("space: {train: {learning_rat: search}}", "space.train.learning_rat", "learning_rate"),
    ("search: {trails: 3}", "search.trails", "trials"),
    ("colour: red", "colour", None),
    ("folder: x", "folder", None),
]


def meant(path: Path) -> tuple[str, str | None]:
    """The key that is refused, and what is said to have been meant."""
    with pytest.raises(UserError) as caught:
        assert Study.from_file(path).space
    line = str(caught.value).removeprefix(f"{path}: ")
    assert "\n" not in line and line.count("did you mean") <= 1
    suggestion = re.search(r" \(did you mean (.*)\?\)$", line)
    return line.partition(": ")[0], suggestion[1] if suggestion else None


@pytest.mark.parametrize(("line", "key", "places"), MISPLACED, ids=[row[0] for row in MISPLACED])
def test_a_key_of_another_section(tmp_path: Path, line: str, key: str, places: str | None) -> None:
    assert meant(written(tmp_path, line)) == (key, places)


@pytest.mark.parametrize(
    ("section", "content", "key", "places"),
    [
        ("model", "{name: mlp, epochs: 3}", "model.epochs", "train.epochs"),
        ("model", "{name: mlp, dropout: 0.5}", "model.dropout", "space.dropout"),
        ("data", "{source: 'sklearn:digits', name: a}", "data.name", "name or model.name"),
        ("data", "{source: 'sklearn:digits', split: {seeds: 3}}", "data.split.seeds", "seed or finalize.seeds"),
    ],
)
def test_a_key_within_a_section(tmp_path: Path, section: str, content: str, key: str, places: str) -> None:
    assert meant(written(tmp_path, **{section: f"{section}: {content}"})) == (key, places)
