"""Every row that is given is in exactly one part, or counted among those that the study file leaves out, and said."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regsearch.config import DataConfig, SplitConfig
from regsearch.data import Manifest, describe_split, load_search_data, notices, resample, seal, verify_digest
from regsearch.data.arrays import Table
from regsearch.data.parts import make_parts
from regsearch.data.split import PARTS, Rows, left_out, split_rows
from regsearch.errors import UserError
from tests.fixtures import lay

SHARES = [(0.6, 0.2, 0.2), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.4, 0.25, 0.35), (0.5, 0.5, 0), (0.98, 0.01, 0.01)]


def table_of(codes: np.ndarray, classes: np.ndarray) -> Table:
    """Rows that differ, each with its code, which may be a group, a user or a time."""
    x = pd.DataFrame({"row": np.arange(len(codes)), "code": codes})
    return Table(x, pd.Series(classes), "classification", "y")


@st.composite
def tables(draw: st.DrawFn) -> Table:
    total = draw(st.integers(3, 200))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    codes = random.integers(0, draw(st.integers(1, total)), total)
    if draw(st.booleans()):  # one group is far larger than the others
        codes[random.random(total) < 0.7] = 0
    return table_of(codes, random.integers(0, draw(st.integers(1, 4)), total))


@st.composite
def splits(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        sizes: tuple[float, ...] = draw(st.sampled_from(SHARES))
    else:
        sizes = draw(st.tuples(*(st.integers(2, 60) for _ in PARTS)))
    kind = draw(st.sampled_from(["random", "group", "user", "time"]))
    embargo = draw(st.integers(0, 5)) if kind == "time" else 0
    by = "random" if kind == "random" else {kind: "code"}
    return {**dict(zip(PARTS, sizes, strict=True)), "by": by, "embargo": embargo, "seed": draw(st.integers(0, 5))}


def asked(config: SplitConfig) -> list[str]:
    return [part for part in PARTS if getattr(config, part) > 0]


def split_or_none(table: Table, config: SplitConfig, every_row: bool = True) -> Rows | None:
    try:
        return split_rows(table, config, every_row)
    except UserError:
        return None


@settings(max_examples=150, deadline=None)
@given(tables(), splits())
def test_every_row_is_in_one_part_or_counted(table: Table, split: dict[str, Any]) -> None:
    config, total = SplitConfig.model_validate(split), len(table.y)
    rows = split_or_none(table, config)
    codes = np.asarray(table.x["code"])  # type: ignore[index]
    if rows is None:
        too_many = config.train > 1 and config.train + config.validation + config.test > total
        whole = min(round(getattr(config, part) * total) for part in asked(config)) >= 1
        if config.kind in ("random", "group") and whole and not too_many:
            assert config.kind == "group" and len(set(codes)) < len(asked(config)), "a part can only lack groups"
        return
    given_out = np.concatenate([rows[part] for part in PARTS])
    counts = left_out(rows, total, config)
    assert len(given_out) == len(set(given_out)) == total - sum(counts.values())
    assert min(counts.values(), default=1) > 0
    assert counts.get("embargo", 0) == config.embargo * (len(asked(config)) - 1)
    if config.train <= 1:
        assert counts.get("sizes", 0) == 0, "shares that add up to all leave nothing out"
    else:
        room = total - int(config.train + config.validation + config.test)
        assert counts.get("sizes", 0) <= room or config.kind == "user"
    if config.kind in ("group", "time"):
        sides = [set(codes[rows[part]]) for part in PARTS]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


@settings(max_examples=150, deadline=None)
@given(tables(), splits())
def test_what_had_a_part_keeps_it(table: Table, split: dict[str, Any]) -> None:
    """As up to 0.2.0 but for what was left out; what shares had left over trains, so that the test is the same."""
    config, total = SplitConfig.model_validate(split), len(table.y)
    before = split_or_none(table, config, every_row=False)
    assume(before is not None)
    assert before is not None
    now = split_rows(table, config)
    allowed = 0 if config.train <= 1 else total - int(config.train + config.validation + config.test)
    if sum(map(len, before.values())) >= total - allowed - config.embargo * (len(asked(config)) - 1):
        for part in PARTS:
            np.testing.assert_array_equal(now[part], before[part])
    elif config.kind != "group":
        for part in ("validation", "test"):
            np.testing.assert_array_equal(now[part], before[part])
        assert set(before["train"]) <= set(now["train"])


@pytest.mark.parametrize(("total", "train"), [(1797, 1079), (442, 266), (300, 180)])
@pytest.mark.parametrize("by", ["random", "group", "time", "user"])
def test_shares_lose_no_row_by_rounding(total: int, train: int, by: str) -> None:
    codes = np.zeros(total, int) if by == "user" else np.arange(total)
    config = SplitConfig.model_validate({"by": by if by == "random" else {by: "code"}})
    rows = split_rows(table_of(codes, np.arange(total) % 2), config)
    assert len(rows["train"]) == train and len(set(np.concatenate([*rows.values()]))) == total


def test_no_group_is_lost_for_its_size() -> None:
    groups = np.repeat(np.arange(12), 25)
    rows = split_rows(table_of(groups, np.arange(300) % 2), SplitConfig.model_validate({"by": {"group": "code"}}))
    assert {part: len(numbers) for part, numbers in rows.items()} == {"train": 175, "validation": 75, "test": 50}
    giant = np.where(np.arange(300) < 250, 0, np.arange(300))
    rows = split_rows(table_of(giant, np.zeros(300, int)), SplitConfig.model_validate({"by": {"group": "code"}}))
    assert len(rows["train"]) == 250 and len(rows["validation"]) + len(rows["test"]) == 50


def test_three_groups_are_enough_whatever_their_sizes() -> None:
    for sizes in ([280, 10, 10], [100, 100, 100], [298, 1, 1], [150, 149, 1]):
        table = table_of(np.repeat([7, 8, 9], sizes), np.zeros(300, int))
        rows = split_rows(table, SplitConfig.model_validate({"by": {"group": "code"}}))
        assert sorted(map(len, rows.values())) == sorted(sizes)


@pytest.mark.parametrize(
    ("groups", "split", "said"),
    [
        (2, {}, "the column holds 2 groups, and train, validation and test need one each, 3 groups at least"),
        (1, {}, "the column holds 1 group, and train, validation and test need one each, 3 groups at least"),
        (1, {"test": 0}, "the column holds 1 group, and train and validation need one each, 2 groups at least"),
    ],
)
def test_too_few_groups_are_refused_as_groups(groups: int, split: dict[str, Any], said: str) -> None:
    config = SplitConfig.model_validate({"by": {"group": "code"}, **split})
    with pytest.raises(UserError) as refused:
        split_rows(table_of(np.arange(300) % groups, np.arange(300) % 2), config)
    line = str(refused.value)
    assert said in line and "data.split.by" in line and "'code'" in line and "rows" not in line
    assert "by: {group: COLUMN}" in line and "by: random" in line


def test_what_keeps_rows_together_is_named_in_its_own_words() -> None:
    equal = Table(pd.DataFrame({"a": np.arange(300) % 2}), pd.Series(np.arange(300) % 2), "classification", "y")
    with pytest.raises(UserError, match="300 rows, 2 of them different; equal rows stay in one part"):
        split_rows(equal, SplitConfig())
    single = table_of(np.arange(300), np.arange(300) % 2)
    with pytest.raises(UserError, match="300 rows of 300 users, whose rows are shared out"):
        split_rows(single, SplitConfig.model_validate({"by": {"user": "code"}}))
    two = table_of(np.arange(300) % 2, np.arange(300) % 2)
    with pytest.raises(UserError, match="300 rows at 2 times; rows of one time stay in one part"):
        split_rows(two, SplitConfig.model_validate({"by": {"time": "code"}}))


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 60), st.integers(1, 4), st.integers(1, 3), st.integers(0, 6), st.booleans(), st.integers(0, 9))
def test_every_window_is_in_one_part_or_counted(
    days: int, window: int, horizon: int, embargo: int, by_count: bool, short: int
) -> None:
    full = pd.DataFrame({"day": np.tile(np.arange(days), 2), "shop": np.repeat(["a", "b"], days)})
    frame = pd.concat([full, pd.DataFrame({"day": np.arange(short), "shop": "c"})], ignore_index=True)
    frame["sold"] = np.random.default_rng(0).normal(size=len(frame))
    sizes = {"train": 6, "validation": 3, "test": 3} if by_count else {}
    split = {"by": {"time": "day"}, "embargo": embargo, **sizes}
    data = {"source": "csv:t.csv", "task": "forecasting", "target": "sold", "series": "shop", "split": split}
    config = DataConfig.model_validate({**data, "window": window, "horizon": horizon})
    try:
        parts = make_parts(Table(frame, frame["sold"], "forecasting", "sold"), config)
    except UserError:
        assume(False)
    counts, reach = parts.about["left_out"], window + horizon
    of_c = max(0, short - reach + 1)
    windows = sum(len(numbers) for numbers in parts.rows.values())
    assert windows + counts.get("across", 0) + counts.get("sizes", 0) == 2 * (days - reach + 1) + of_c
    assert counts.get("series", 0) == (short if not of_c else 0)
    assert by_count or "sizes" not in counts
    assert counts["across"] >= 2 * 2 * (max(embargo, reach - 1) if reach > 1 or embargo else 0)


# --- what is said, and what earlier versions sealed -------------------------------------------------------------------


def sealed(folder: Path, frame: pd.DataFrame, **data: Any) -> Manifest:
    frame.to_csv(folder / "t.csv", index=False)
    data = {"source": "csv:t.csv", "task": "classification", "target": "y", **data}
    return seal(DataConfig.model_validate(data), str(folder), folder / "data")


def rows_of(total: int) -> pd.DataFrame:
    days = pd.date_range("2021-01-01", periods=total).strftime("%Y-%m-%d")
    return pd.DataFrame({"a": np.arange(total), "when": days, "y": np.arange(total) % 2})


def test_rows_that_are_left_out_are_said(tmp_path: Path) -> None:
    frame = rows_of(300)
    split = {"by": {"time": "when"}, "embargo": 7, "train": 100}
    manifest = sealed(tmp_path, frame, split=split)
    assert manifest.rows == 300 and manifest.left_out == {"embargo": 14, "sizes": 66}
    said = "14 of 300 (data.split.embargo), 66 of 300 (the sizes in data.split add up to less)"
    assert notices(manifest) == {"rows left out": said}
    assert notices(sealed(tmp_path, frame.drop(columns="when"))) == {}


def test_a_study_of_an_earlier_version_is_cut_as_it_was(tmp_path: Path) -> None:
    """Its manifest does not count what is left out, and 25 of its 300 rows are: its data have not changed."""
    folder = lay("0.2.0", "groups-killed", tmp_path)
    split = {"by": {"group": "patient"}}
    config = DataConfig.model_validate(
        {"source": "csv:cases.csv", "task": "classification", "target": "ill", "split": split}
    )
    known = Manifest.load(folder / "data")
    assert known.left_out is None and sum(known.sizes.values()) == 275
    verify_digest(config, str(tmp_path), folder / "data")
    again = seal(config, str(tmp_path), tmp_path / "again", like=known)
    assert (again.digest, again.test_digest, again.sizes) == (known.digest, known.test_digest, known.sizes)
    assert again.left_out is None, "one that is fetched stays one of its version"
    new = seal(config, str(tmp_path), tmp_path / "new")
    assert new.digest != known.digest and sum(new.sizes.values()) == 300 and new.left_out == {}
    with pytest.raises(UserError, match="the data changed"):
        shutil.copytree(folder / "data", tmp_path / "changed")
        (tmp_path / "cases.csv").write_text((tmp_path / "cases.csv").read_text().replace("high", "low", 1))
        verify_digest(config, str(tmp_path), tmp_path / "changed")


def test_another_cut_for_the_finals_loses_no_row(tmp_path: Path) -> None:
    """Rows that stand three to seven times, so that none is there to fill what is left; earlier versions lost some."""
    often = 3 + 2 * (np.arange(27) % 3)
    frame = pd.DataFrame({"a": np.repeat(np.arange(27), often), "y": np.repeat(np.arange(27) // 2 % 2, often)})
    manifest = sealed(tmp_path, frame, split={"train": 0.5, "validation": 0.3, "test": 0.2})
    pool = manifest.sizes["train"] + manifest.sizes["validation"]

    def lost(seed: int) -> int:
        cut = resample(tmp_path / "data", tmp_path / "cut", seed)
        rows = load_search_data(tmp_path / "cut")
        assert not set(map(float, rows.train_x[:, 0])) & set(map(float, rows.validation_x[:, 0]))
        return pool - cut.sizes["train"] - cut.sizes["validation"]

    assert [lost(seed) for seed in range(3)] == [0] * 3
    (tmp_path / "data" / "manifest.json").write_text(replace(manifest, left_out=None, rows=None).to_json())
    assert [lost(seed) for seed in range(3)] == [3] * 3, "a study of an earlier version is cut as that did"


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("random", "at random, stratified by class: 180 train, 60 validation, 60 test"),
        ({"time": "when"}, "by time, the latest in the test (column when): 180 train, 60 validation, 60 test"),
        ({"group": "when"}, "whole groups at random, stratified by class (column when): 180 train, "),
    ],
)
def test_the_kind_of_a_split_is_said(tmp_path: Path, by: Any, words: str) -> None:
    assert describe_split(sealed(tmp_path, rows_of(300), split={"by": by})).startswith(words)
