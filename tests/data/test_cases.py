"""The ledger counts cases: the same ones are met whichever columns of them a study is given, and others are not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data import Manifest, Opened, decisions, open_test, opened, openings
from regsearch.data.sealing import _cut

_numbers = itertools.count()


def people(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    part = np.repeat(["train", "validation", "test"], [rows // 2, rows // 4, rows // 4])
    age, kind = draw.integers(18, 90, rows), draw.choice(["x", "y"], rows)
    frame = pd.DataFrame({"id": range(rows), "age": age, "kind": kind, "dose": draw.normal(size=rows)})
    frame = frame.assign(pulse=draw.normal(60, 9, rows), part=part, risk=draw.normal(size=rows))
    return frame.assign(pulse=frame["pulse"].where(draw.random(rows) > 0.1))


def opening(ledger: Path, frame: pd.DataFrame | str, **data: Any) -> Opened:
    """What a study says once it has opened the test of this table, or of the arrays of a module."""
    number = next(_numbers)
    folder = ledger.parent / str(number)
    folder.mkdir()
    if isinstance(frame, str):
        (folder / f"module_{number}.py").write_text(frame)
        source = f"python:module_{number}:rows"
    else:
        frame.to_csv(folder / "t.csv", index=False)
        source = "csv:t.csv"
    plain = {"task": "regression", "target": "risk", "split": {"by": {"column": "part"}}}
    _cut(DataConfig.model_validate({"source": source, **plain, **data}), str(folder), folder / "data", True)
    open_test(folder / "data", ledger, f"s{number}", "finals", {"winner": 1})
    seen = opened(ledger, Manifest.load(folder / "data").test_digest)
    assert f"s{number}" in seen.by and len(seen.by) == seen.times, "each study opens it once"
    return replace(seen, by=())


CHANGES: dict[str, Any] = {
    "dropped": ({}, {"drop": ["age", "id"]}),
    "another target": ({}, {"target": "pulse", "drop": ["age"]}),
    "grouped": ({}, {"task": "clustering", "target": None}),
    "columns in another order": ({"columns": ["risk", "dose", "part", "age", "kind", "pulse", "id"]}, {"drop": ["id"]}),
    "file without two columns": ({"columns": ["id", "kind", "dose", "part", "risk"]}, {}),
    "file with columns more": ({"columns": ["id", "age", "dose", "part", "risk", "kind", "pulse", "new"]}, {}),
    "renamed": ({"names": {"id": "a", "age": "b", "kind": "c", "dose": "d"}}, {}),
    "renamed, without three columns": ({"columns": ["part", "dose", "risk", "age"], "names": {"dose": "d"}}, {}),
    "one column scaled": ({"scaled": "dose"}, {}),
    "rows in another order": ({"shuffled": True}, {"drop": ["kind"]}),
    "single precision": ({"single": True}, {"drop": ["kind"]}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_cases_are_met_however_they_are_laid_out(change: str, tmp_path: Path) -> None:
    how, data = CHANGES[change]
    frame = people().assign(new=np.random.default_rng(3).random(240))
    plain = frame.drop(columns="new")
    if name := how.get("scaled"):
        frame[name] = (frame[name] - frame[name].mean()) / frame[name].std()
    if how.get("single"):
        frame = frame.astype({name: "float32" for name in ("dose", "pulse", "risk")})
    frame = frame.sample(frac=1, random_state=0) if how.get("shuffled") else frame
    frame = frame[how.get("columns", list(plain.columns))].rename(columns=how.get("names", {}))
    assert opening(tmp_path / "ledger", plain) == Opened(1)
    if data.get("target") == "pulse":
        frame = frame.dropna()
        assert opening(tmp_path / "ledger", frame, **data).others == 1, "without the rows that lack it"
        return
    assert opening(tmp_path / "ledger", frame, **data) == Opened(2)


@pytest.mark.parametrize("columns", [["id", "age", "kind", "dose"], ["dose", "pulse"], ["age", "kind", "dose", "id"]])
def test_other_cases_are_not_met(columns: list[str], tmp_path: Path) -> None:
    """Neither rows of the same table nor those of another one with the same columns, the running number among them."""
    frame = people()
    assert opening(tmp_path / "ledger", frame) == Opened(1)
    for other in (people(seed=1), frame.assign(part=np.roll(frame["part"], 60))):
        short = other[[*columns, "part", "risk"]]
        assert opening(tmp_path / "ledger", short).times == 1
    assert [opening(tmp_path / "ledger", frame, drop=["id"])] == [Opened(2)], "of all the pages one is of these cases"


def test_columns_that_tell_no_rows_apart_claim_nothing(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    part = np.repeat(["train", "validation", "test"], [120, 60, 60])
    frame = pd.DataFrame(draw.integers(0, 2, (240, 12)), columns=[f"q{k}" for k in range(12)])
    frame = frame.assign(part=part, risk=draw.integers(0, 2, 240))
    assert opening(tmp_path / "ledger", frame) == Opened(1)
    other = frame.assign(part=np.roll(part, 60))[["q0", "q1", "q2", "q3", "q4", "part", "risk"]]
    assert opening(tmp_path / "ledger", other) == Opened(1), "other rows, of which most have an equal one"
    same = frame[["q0", "q1", "q2", "q3", "q4", "part", "risk"]]
    assert opening(tmp_path / "ledger", same).times == 2, "the same test as a whole"


def test_studies_that_use_no_column_in_common_know_of_each_other(tmp_path: Path) -> None:
    frame = people()
    assert opening(tmp_path / "ledger", frame, target="risk", drop=["dose", "pulse", "id"]) == Opened(1)
    assert opening(tmp_path / "ledger", frame, target="dose", drop=["risk", "age", "kind"]) == Opened(2)


def test_other_seeds_share_the_same_rows_with_fewer_columns(tmp_path: Path) -> None:
    frame = people().drop(columns="part")
    split = [{"split": {"seed": seed}} for seed in (0, 1)]
    opening(tmp_path / "a", frame, **split[0])
    whole = opening(tmp_path / "a", frame, **split[1])
    assert (whole.times, whole.others) == (1, 1) and 0 < whole.share < 1
    opening(tmp_path / "b", frame, **split[0])
    assert opening(tmp_path / "b", frame, **split[1], drop=["age", "kind"]) == whole
    (tmp_path / "c").mkdir()
    opening(tmp_path / "c" / "ledger", frame, **split[0])
    renamed = frame.drop(columns=["age", "pulse"]).rename(columns={"id": "i", "dose": "d", "risk": "y"})
    assert opening(tmp_path / "c" / "ledger", renamed, **split[1], target="y") == whole


def test_forecasts_of_other_windows_predict_the_same_days(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    days = pd.date_range("2001-01-01", periods=200).astype(str)
    frame = pd.DataFrame({"day": days, "height": draw.normal(size=200).cumsum(), "wind": draw.normal(size=200)})
    data = {"task": "forecasting", "target": "height", "split": {"by": {"time": "day"}, "test": 30}}
    data["split"] |= {"train": 100, "validation": 30}  # type: ignore[operator]
    assert opening(tmp_path / "ledger", frame, **data, window=5) == Opened(1)
    assert opening(tmp_path / "ledger", frame, **data, window=9, drop=["wind"]) == Opened(2), "the same days"
    longer = opening(tmp_path / "ledger", frame.sample(frac=1, random_state=0), **data, window=5, horizon=3)
    assert longer == Opened(1, 2, 30 / 32)


def test_ratings_and_texts_are_met_again(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pairs = pd.DataFrame([(u, i) for u in range(30) for i in range(12)], columns=["who", "what"])
    rated = pairs.assign(stars=draw.integers(1, 6, len(pairs)), when=draw.random(len(pairs)))
    data: dict[str, Any] = {"task": "recommendation", "target": "stars", "user": "who", "item": "what", "split": {}}
    assert opening(tmp_path / "ledger", rated, **data) == Opened(1)
    assert opening(tmp_path / "ledger", rated.drop(columns="when"), **data) == Opened(2)
    words = np.array(["one", "two", "three", "four", "five"])
    said = [" ".join(draw.choice(words, 12)) for _ in range(60)]
    texts = pd.DataFrame({"said": said, "mood": draw.random(60), "label": ["good", "bad"] * 30})
    for task, target in (("language_modelling", None), ("classification", "label")):
        (tmp_path / task).mkdir()
        for times, length in enumerate((4, 6), 1):
            text = {"column": "said", "length": length}
            known = opening(tmp_path / task / "ledger", texts, task=task, target=target, split={}, text=text)
            assert known.times == times, (task, length)


ARRAYS = """
import numpy as np
def rows():
    draw = np.random.default_rng(0)
    x, y = {x}, draw.integers(0, 2, 90)
    return {{"x": x[:, {columns}], "y": y}}
"""


@pytest.mark.parametrize("x", ["draw.normal(size=(90, 8))", "draw.integers(0, 17, (90, 8))"])
def test_arrays_are_met_without_some_of_their_columns(x: str, tmp_path: Path) -> None:
    data: dict[str, Any] = {"task": "classification", "target": None, "split": {}}
    for count, columns in enumerate(("0:8", "1:8", "[5, 1, 2, 7, 3]"), 1):
        assert opening(tmp_path / "ledger", ARRAYS.format(x=x, columns=columns), **data) == Opened(count)


def test_a_table_is_met_again_as_arrays(tmp_path: Path) -> None:
    frame = people()[["id", "dose", "age", "risk"]]
    frame.to_csv(tmp_path / "whole.csv", index=False)
    module = (
        "import pandas as pd\n"
        "def rows():\n"
        f"    frame = pd.read_csv({str(tmp_path / 'whole.csv')!r})\n"
        "    return {'x': frame[['dose', 'age']].to_numpy(), 'y': frame['risk'].to_numpy()}\n"
    )
    assert opening(tmp_path / "ledger", frame, split={}) == Opened(1)
    assert opening(tmp_path / "ledger", module, split={}, target=None) == Opened(2)


def test_pages_of_earlier_versions_are_read(tmp_path: Path) -> None:
    """They have no marks of cells: the same study meets its page, and other seeds are compared by prepared rows."""
    ledger, frame = tmp_path / "ledger", people().drop(columns="part")
    assert opening(ledger, frame, split={}) == Opened(1)
    for file in ledger.glob("*.npz"):
        file.unlink()
    digest = next(ledger.glob("*.jsonl")).stem
    assert opened(ledger, digest).times == 1
    other = opening(ledger, frame, split={"seed": 1})
    assert (other.times, other.others) == (1, 1) and other.share > 0
    assert opening(ledger, frame, split={}).times == 2
    assert {file.stem for file in ledger.glob("*.npz")} >= {digest}, "its marks of cells are laid beside it now"
    (ledger / f"{digest}.npz").write_bytes(b"no archive")
    assert opened(ledger, digest).times == 2


def test_the_lines_of_all_pages_of_a_test_are_listed(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    opening(ledger, people())
    opening(ledger, people(), drop=["id"])
    pages = [page.stem for page in ledger.glob("*.jsonl")]
    assert len(pages) == 2
    listed = [openings(ledger, page) for page in pages]
    assert sorted(map(str, listed[0])) == sorted(map(str, listed[1])) and len(listed[0]) == 2
    assert [decisions(ledger, page) for page in pages] == [1, 1]
    assert {oct(file.stat().st_mode & 0o777) for file in ledger.glob("*.np?")} == {"0o600"}


def test_wide_arrays_keep_their_most_telling_columns(tmp_path: Path) -> None:
    wide = "np.where(np.arange(300) % 3 == 0, 0, draw.integers(0, 17, (90, 300)))"
    data = {"task": "classification", "target": None, "split": {}}
    assert opening(tmp_path / "ledger", ARRAYS.format(x=wide, columns="0:300"), **data) == Opened(1)
    marks = np.load(next((tmp_path / "ledger").glob("*.npz")))["marks"]
    assert marks.shape == (18, 64)
    assert opening(tmp_path / "ledger", ARRAYS.format(x=wide, columns="10:300"), **data) == Opened(2)
