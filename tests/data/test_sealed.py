"""Parts as they are sealed: what training knows, and what no other part may share with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data import Manifest, load_search_data, seal
from regsearch.data.columns import Preprocessing
from regsearch.data.parts import Parts, make_parts
from regsearch.data.sources import load_table
from regsearch.errors import UserError

PARTS = ("train", "validation", "test")


def parts_of(folder: Path, frame: pd.DataFrame, **data: Any) -> Parts:
    frame.to_csv(folder / "t.csv", index=False)
    config = DataConfig.model_validate({"source": "csv:t.csv", **data})
    return make_parts(load_table(config, str(folder)), config)


def applied(parts: Parts, frame: pd.DataFrame) -> np.ndarray:
    assert parts.preprocessing is not None
    return Preprocessing.from_json(json.loads(json.dumps(parts.preprocessing))).apply(frame)


def ratings(users: int = 30, items: int = 12) -> pd.DataFrame:
    random = np.random.default_rng(0)
    pairs = [(100 + u, 7 * i) for u in range(users) for i in range(items) if random.random() < 0.8]
    frame = pd.DataFrame(pairs, columns=["who", "what"])
    return frame.assign(stars=random.integers(1, 6, len(frame))).sample(frac=1, random_state=0)


RATED = {"task": "recommendation", "target": "stars", "user": "who", "item": "what"}


def test_each_users_ratings_are_shared_out(tmp_path: Path) -> None:
    frame = ratings()
    parts = parts_of(tmp_path, frame, **RATED)
    assert sum(map(len, parts.rows.values())) == len(frame)
    assert len(set().union(*(set(rows) for rows in parts.rows.values()))) == len(frame), "no row is in two parts"
    whole = frame["who"].value_counts()
    for part, share in zip(PARTS, (0.6, 0.2, 0.2), strict=True):
        counts = frame["who"].iloc[parts.rows[part]].value_counts().reindex(whole.index, fill_value=0)
        assert ((counts - share * whole).abs() <= 1).all(), part
    assert parts.x["train"].dtype == np.int64
    assert parts.about["vocabulary"] == [31, 13]


def test_codes_come_from_training_rows_and_survive_a_change_of_type(tmp_path: Path) -> None:
    frame = ratings()
    parts = parts_of(tmp_path, frame, **RATED)
    train = frame.iloc[parts.rows["train"]]
    np.testing.assert_array_equal(applied(parts, train), parts.x["train"])
    np.testing.assert_array_equal(applied(parts, train.astype(float)), parts.x["train"])
    unknown = pd.DataFrame({"who": [100, -1], "what": [999, 7]})
    assert applied(parts, unknown)[0, 1] == 0
    assert applied(parts, unknown)[1, 0] == 0
    assert parts.x["train"].min() == 1


def texts(rows: int = 40) -> pd.DataFrame:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    random = np.random.default_rng(1)
    said = [" ".join(random.choice(words, random.integers(1, 9))) + f" row{row}" for row in range(rows)]
    return pd.DataFrame({"said": said, "other": range(rows), "label": ["good", "bad"] * (rows // 2)})


def test_words_become_codes_padded_on_the_left(tmp_path: Path) -> None:
    frame = texts()
    frame.loc[3, "said"] = None
    text = {"column": "said", "level": "words", "length": 6, "vocabulary": 10}
    parts = parts_of(tmp_path, frame, task="classification", target="label", text=text)
    assert parts.x["train"].shape == (24, 6)
    assert parts.x["train"].dtype == np.int64
    assert parts.about["vocabulary"] == [12]
    given = pd.DataFrame({"said": ["ONE, two!", "nowhere", None, "one two one two one two one two"]})
    vocabulary = parts.preprocessing["columns"][0]["vocabulary"]  # type: ignore[index]
    assert not [word for word in vocabulary if word.startswith("row")], "rare words are left out"
    one, two = (vocabulary.index(word) + 2 for word in ("one", "two"))
    expected = [[0, 0, 0, 0, one, two], [0, 0, 0, 0, 0, 1], [0] * 6, [one, two] * 3]
    np.testing.assert_array_equal(applied(parts, given), expected)


def test_the_vocabulary_holds_no_word_that_training_does_not(tmp_path: Path) -> None:
    frame = texts()
    text = {"column": "said", "length": 6, "vocabulary": 500}
    parts = parts_of(tmp_path, frame, task="classification", target="label", text=text)
    vocabulary = set(parts.preprocessing["columns"][0]["vocabulary"])  # type: ignore[index]
    rows = {f"row{row}" for row in parts.rows["train"]}
    assert {word for word in vocabulary if word.startswith("row")} == rows
    assert all((parts.x[part] == 1).any() for part in ("validation", "test")), "there the others are unknown"


def test_texts_to_be_continued_keep_their_part(tmp_path: Path) -> None:
    frame = texts()
    text = {"column": "said", "level": "characters", "length": 8, "vocabulary": 50}
    parts = parts_of(tmp_path, frame, task="language_modelling", text=text)
    known = parts.about["classes"]
    for part in PARTS:
        x, y = parts.x[part], parts.y[part]
        np.testing.assert_array_equal(x.ravel()[1:], y.ravel()[:-1])
        assert x.min() > 0, "there is no padding"
        said = "".join(known[code] for code in x.ravel()).split("\n")
        assert said[0] == frame["said"].iloc[parts.rows[part][0]].replace("?", "?")
        assert len(x) == (sum(len(each) + 1 for each in frame["said"].iloc[parts.rows[part]]) - 1) // 8


def series(days: int = 120) -> pd.DataFrame:
    dates = pd.date_range("2001-01-01", periods=days).astype(str)
    return pd.DataFrame({"day": dates, "height": np.arange(days) * 1.0, "kind": ["a", "b"] * (days // 2)})


SERIES = {"task": "forecasting", "target": "height", "split": {"by": {"time": "day"}}}


@pytest.mark.parametrize("horizon", [1, 3])
def test_windows_are_followed_by_their_targets_and_parts_share_no_day(tmp_path: Path, horizon: int) -> None:
    frame = series()
    parts = parts_of(tmp_path, frame.sample(frac=1, random_state=0), **SERIES, window=5, horizon=horizon)
    mean, scale = parts.about["target_mean"], parts.about["target_scale"]
    column = parts.preprocessing["columns"][0]  # type: ignore[index]
    touched: list[set[float]] = []
    for part in PARTS:
        seen = np.round(parts.x[part][:, :, 0] * column["scale"] + column["mean"])
        ahead = np.round(parts.y[part].reshape(len(seen), -1) * scale + mean)
        assert seen.shape == (len(ahead), 5)
        for step in range(horizon):
            np.testing.assert_array_equal(ahead[:, step], seen[:, -1] + 1 + step)
        touched.append({*seen.ravel(), *ahead.ravel()})
    assert max(touched[0]) < min(touched[1])
    assert max(touched[1]) < min(touched[2])
    assert column["mean"] == pytest.approx(np.mean([day for day in touched[0] if day <= max(touched[0]) - horizon]))
    np.testing.assert_array_equal(applied(parts, frame.tail(5))[:, :, 0].shape, (1, 5))
    with pytest.raises(ValueError, match="a forecast sees 5"):
        applied(parts, frame.tail(4))


def test_pictures_and_known_groups(tmp_path: Path) -> None:
    split = {"train": 100, "validation": 60, "test": 60}
    data = {"source": "sklearn:digits", "task": "clustering", "shape": [1, 8, 8], "split": split}
    manifest = seal(DataConfig.model_validate(data), str(tmp_path), tmp_path / "data")
    assert Manifest.load(tmp_path / "data") == manifest
    assert (manifest.inputs, manifest.outputs, manifest.dtype) == ((1, 8, 8), 64, "float32")
    found = load_search_data(tmp_path / "data")
    assert found.train_x.shape == (100, 1, 8, 8)
    np.testing.assert_array_equal(found.train_y[:, :64], found.train_x.reshape(100, 64))
    assert set(found.train_y[:, 64]) == set(range(10))


def test_whole_numbers_of_a_module_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "coded_rows.py").write_text(
        "import numpy as np\n"
        "def rows():\n"
        "    r = np.random.default_rng(0)\n"
        "    return {'x': r.integers(0, 9, (40, 5)), 'y': r.integers(0, 2, 40), 'vocabulary': 12}\n"
    )
    data = {"source": "python:coded_rows:rows", "task": "classification"}
    manifest = seal(DataConfig.model_validate(data), str(tmp_path), tmp_path / "data")
    assert (manifest.dtype, manifest.vocabulary, manifest.inputs) == ("int64", [12], (5,))
    assert load_search_data(tmp_path / "data").train_x.dtype == np.int64


def test_columns_can_be_dropped(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, texts(), task="classification", target="label", drop=["said"])
    assert parts.x["train"].shape == (24, 1)
    with pytest.raises(UserError, match=r"data\.drop.*nothing"):
        parts_of(tmp_path, texts(), task="classification", target="label", drop=["nothing"])


def test_labels_outside_the_classes_are_refused_with_their_row(tmp_path: Path) -> None:
    frame = texts()
    frame.loc[4, "label"] = "odd"
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = {"source": "csv:t.csv", "task": "classification", "target": "label", "classes": ["good", "bad"]}
    with pytest.raises(UserError, match=r"label odd in row 5 is outside the classes.*allowed are good, bad"):
        seal(DataConfig.model_validate(data), str(tmp_path), tmp_path / "data")
    assert not (tmp_path / "data").exists()


BAD: list[tuple[dict[str, Any], str]] = [
    ({**SERIES}, "window"),
    ({**SERIES, "window": 5, "split": {}}, "split.by"),
    ({**SERIES, "window": 119}, "too few rows"),
    ({**SERIES, "window": 5, "split": {"by": {"time": "when"}}}, "when"),
    ({"task": "regression", "target": "height", "window": 5}, "window"),
    ({"task": "recommendation", "target": "height", "user": "day"}, "item"),
    ({"task": "recommendation", "target": "height", "user": "day", "item": "thing"}, "data.item"),
    ({"task": "language_modelling"}, "text"),
    ({"task": "classification", "target": "kind", "text": {"column": "words"}}, "data.text.column"),
    ({"task": "classification", "target": "kind", "shape": [2, 3]}, "data.shape"),
    ({"task": "recommendation", "target": "kind", "user": "day", "item": "height"}, "must hold numbers"),
]


@pytest.mark.parametrize(("data", "says"), BAD)
def test_what_a_task_cannot_use_is_refused(tmp_path: Path, data: dict[str, Any], says: str) -> None:
    from regsearch.data.sealing import _check_target

    series().to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=says):
        config = DataConfig.model_validate({"source": "csv:t.csv", **data})
        table = load_table(config, str(tmp_path))
        _check_target(table, config)
        make_parts(table, config)
