"""Studies in a real store, read back and compared: over seeds, over data sets, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.analysis.paired_tests import signed_rank
from regsearch.analysis.study_comparison import Comparison, compare
from regsearch.analysis.study_comparison_words import notes, pair_table, score_table, sentence
from regsearch.errors import UserError
from regsearch.tracking.log.records import Record
from regsearch.tracking.mlflow.changes import merge
from regsearch.tracking.mlflow.delivery import ClientLane
from regsearch.tracking.mlflow.delivery_sqlite import BulkLane
from regsearch.tracking.mlflow.runs import read_study
from tests.analysis.across import many, remembered, told

Tell = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from regsearch.tracking.mlflow.store import ensure_store

    path = tmp_path_factory.mktemp("made") / "mlflow.db"
    ensure_store(f"sqlite:///{path}")
    return path


@pytest.fixture
def tell(made: Path, tmp_path: Path) -> Iterator[Tell]:
    """Writes a study into the store at `tmp_path/mlflow.db`, and gives the store's address."""
    shutil.copy(made, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"

    def write(name: str, **about: Any) -> str:
        deliver(uri, list(told(name, **about)), tmp_path)
        return uri

    yield write


def deliver(uri: str, records: list[Record], folder: Path) -> None:
    lane = BulkLane(ClientLane(uri, records[0], folder / "artifacts"))  # type: ignore[arg-type]
    for step in merge(records):
        lane.apply(step)  # type: ignore[arg-type]
    lane.close()


def of(uri: str, *names: str, by: str | None = None) -> Comparison:
    return compare([read_study(uri, name) for name in names], by)


def test_studies_of_one_data_set_are_paired_by_seed(tell: Tell) -> None:
    tell("a", regularizers=["l2"], level=0.9, noise=1)
    uri = tell("b", regularizers=["dropout", "l2"], level=0.93, noise=2, gap=0.2, restored=True)
    runs = {name: read_study(uri, name).runs for name in "ab"}
    found = of(uri, "a", "b")
    assert (found.unit, found.compared, found.metric) == ("seed", ("b", "a"), "balanced_accuracy")
    assert {each.study: each.method for each in found.studies} == {"a": "l2", "b": "dropout+l2"}
    finals = {name: each[each["role"] == "winner"].set_index("seed") for name, each in runs.items()}
    d = (finals["b"]["test_balanced_accuracy"] - finals["a"]["test_balanced_accuracy"]).to_numpy()
    (pair,) = found.pairs
    assert (pair.units, pair.p, pair.effect) == (10, *signed_rank(d))
    assert pair.holds and pair.difference.low <= np.median(d) <= pair.difference.high
    one = found.studies[0]
    complete = runs["a"].query("kind == 'trial' and state == 'COMPLETE'")
    assert (one.complete, one.pruned, one.failed) == (9, 3, 0)
    assert (one.gap.value, one.gap.low) == tuple(complete["gap"].quantile([0.5, 0.1]))
    assert one.best == complete["val_loss"].min()
    assert one.baseline == pytest.approx(one.test.value - 0.05, abs=0.01)
    assert sentence(found).startswith("On the unseen rows of sklearn:digits, over 10 seeds in pairs, b ranks best")
    assert "it is better than a by 2.9 points (p = 0.002)" in sentence(found)
    assert any("compare over data sets" in each for each in notes(found))


def test_losses_are_those_of_the_epoch_that_a_trial_went_back_to(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch 1 has a validation loss of 0.6 + 0.01 n and a gap of 0.3; epoch 2, where a pruned one stands, more."""
    uri = tell("back", restored=True)
    runs = read_study(uri, "back").runs.query("kind == 'trial'").set_index("number")
    monkeypatch.setattr("regsearch.tracking.mlflow.runs.local_file", lambda uri: None)  # as from a server
    pd.testing.assert_frame_equal(read_study(uri, "back").runs.query("kind == 'trial'").set_index("number"), runs)
    assert tuple(runs.loc[8, ["val_loss", "gap"]]) == (pytest.approx(0.68), pytest.approx(0.3))
    assert tuple(runs.loc[7, ["val_loss", "gap"]]) == (pytest.approx(0.77), pytest.approx(0.37))


def memory(*studies: dict[str, Any], by: str | None = None) -> Comparison:
    """Of studies that no store has, named a, b, ..."""
    return compare([remembered(name, **about) for name, about in zip("abc", studies, strict=False)], by)


def test_what_is_remembered_is_what_a_store_tells(tell: Tell) -> None:
    about: list[dict[str, Any]] = [{"regularizers": ["l2"]}, {"restored": True, "level": 0.8, "gap": 0.1}]
    tell("a", **about[0])
    assert of(tell("b", **about[1]), "a", "b") == memory(*about)


def test_methods_are_compared_over_data_sets() -> None:
    found = compare(many(8))
    assert (found.unit, found.compared) == ("data set", ("dropout", "l2", "none"))
    assert found.ranks == {"dropout": 1.0, "l2": 2.0, "none": 3.0}
    assert [pair.p_holm for pair in found.pairs] == [pytest.approx(3 * 2 / 2**8)] * 3
    first = found.pairs[0]
    assert (first.better, first.effect, first.holds) == (8, 1.0, True)
    assert first.difference.value == pytest.approx(0.01, abs=0.004)
    assert "Over 8 data sets, dropout ranks best (mean rank 1.00 of 3)" in sentence(found)
    header, rows = score_table(found)
    assert header == ["data set", "dropout", "l2", "none"]
    assert [row[0] for row in rows[-2:]] == ["mean rank", "gap, median"]
    assert all(row[1].endswith("*") and not row[2].endswith("*") for row in rows[:8])
    assert found.p_ranks == 0.0


def test_five_data_sets_are_told_to_be_too_few() -> None:
    found = compare(many(5))
    assert all(pair.powerless and not pair.holds for pair in found.pairs)
    said = "5 data sets cannot give p < 0.19 after Holm's correction over 3 pairs, at least 7 data sets are needed"
    assert said in sentence(found) and f"{said}." in notes(found)
    assert [row[7] for row in pair_table(found)[1]] == ["too few data sets"] * 3
    assert [row[8].split()[0] for row in pair_table(found)[1]] == ["14"] * 3  # Noether's number, p' = 1, a = 0.05 / 3


def test_an_incomplete_data_set_is_named_and_its_pairs_are_used() -> None:
    found = compare(many(7, missing=("l2-3",)))
    assert len(found.units) == 6
    assert {(pair.first, pair.second): pair.units for pair in found.pairs}["dropout", "none"] == 7
    assert "keel:set3 is left out of the ranks: it has no study of l2." in notes(found)


def test_the_method_may_be_a_parameter() -> None:
    assert {each.method for each in memory({"noise": 1}, {"noise": 2}, by="search.seed").studies} == {"1", "2"}
    with pytest.raises(UserError, match="--by: study a has no such tag or parameter"):
        memory({}, {}, by="search.pace")


def test_seeds_that_differ_are_not_paired() -> None:
    other = {"seeds": range(100, 110), "level": 0.99}
    found = memory({}, {"level": 0.8}, other)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("a", "b")]
    assert set(found.unpaired) == {("c", "a"), ("c", "b")} and found.ranks == {}
    assert any(each.startswith("c and a share no final seed") for each in notes(found))
    assert sentence(memory({}, other)).startswith("No two of these studies share a final seed")


REFUSED = {
    "other split": ([{}, {"digest": "e" * 64}], "a and b split the same data differently.*sklearn:digits"),
    "other data": (
        [{"regularizers": ["l2"]}, {"source": "sklearn:iris"}],
        "no data set pairs the methods: a learned from sklearn:digits, b from sklearn:iris",
    ),
    "one method": ([{}, {"source": "sklearn:iris"}], "all studies are of one method, dropout, on different data"),
    "no test": ([{}, {"metric": None}], "study b cannot be compared: its finals have no metric on the test rows"),
    "no finals": ([{}, {"roles": ()}], "study b cannot be compared: it has no finals; .*finalize b"),
    "no role": ([{"roles": ("final",)}, {}], "study a cannot be compared: its finals do not say which is the winner"),
    "no trials": ([{}, {"trials": 0}], "study b cannot be compared: no complete trial has train_loss and val_loss"),
    "other metric": ([{}, {"metric": "rmse"}], "different metrics: a by balanced_accuracy, b by rmse"),
    "alone": ([{}], "nothing to compare"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused(case: str) -> None:
    about, line = REFUSED[case]
    with pytest.raises(UserError) as refused:
        memory(*about)
    assert re.search(line, str(refused.value)), refused.value


def test_two_studies_of_one_method_and_data_set_are_refused() -> None:
    with pytest.raises(UserError, match="l2-0 and again are both l2 on keel:set0"):
        compare([*many(2), remembered("again", source="keel:set0", method="l2")])


def test_a_smaller_error_ranks_better() -> None:
    found = memory({"metric": "rmse", "level": 2.0}, {"metric": "rmse", "level": 1.0, "noise": 1})
    assert found.compared == ("b", "a") and found.pairs[0].difference.value == pytest.approx(1, abs=0.01)
    assert "b ranks best" in sentence(found) and "points" not in sentence(found)


def test_the_command(tell: Tell, tmp_path: Path) -> None:
    """Table, CSV, JSON, and one line with exit code 2 for what is refused."""
    import json

    from typer.testing import CliRunner

    from regsearch.cli.app import app

    tell("a", level=0.8)
    uri = tell("b", noise=3)
    words = ["study", "compare", "a", "b", "--tracking-uri", uri]
    table, page = tmp_path / "table.csv", tmp_path / "page.html"
    shown = CliRunner().invoke(app, [*words, "--csv", str(table), "--html", str(page)])
    assert shown.exit_code == 0, shown.output
    assert re.search(r"^b +a +9.9 points .*holds", shown.stdout, flags=re.MULTILINE)
    frame = pd.read_csv(table)
    assert list(frame["study"]) == ["a", "b"] and frame["balanced_accuracy"].between(0.7, 1).all()
    assert page.read_text().startswith("<!doctype html>")
    assert CliRunner().invoke(app, [*words, "--out", str(tmp_path / "again.html")]).exit_code == 0
    assert (tmp_path / "again.html").read_text() == page.read_text()
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["compared"] == ["b", "a"] and found["pairs"][0]["holds"] is True
    assert found["studies"][0]["gap"].keys() == {"value", "low", "high"}
    for more, line in (
        (["none"], "the MLflow store has no study of this name"),
        (["--csv", str(tmp_path / "no" / "where.csv")], "no such folder"),
    ):
        refused = CliRunner().invoke(app, [*words, *more])
        assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
        assert line in refused.stderr


@pytest.mark.slow
def test_a_server_tells_the_same_as_the_file_behind_it(tell: Tell) -> None:
    """Over HTTP nothing else is known than what the store has, and the comparison is the same to the last bit."""
    from tests.servers import mlflow_server

    tell("a", regularizers=["l2"], restored=True)
    uri = tell("b", level=0.95, noise=2)
    with mlflow_server(uri) as server:
        assert of(server.uri, "a", "b") == of(uri, "a", "b")


def test_a_winner_that_is_the_baseline_counts_as_both() -> None:
    found = memory({"roles": ("winner,baseline",)}, {"roles": ("baseline",), "level": 0.85})
    assert [each.baseline == pytest.approx(each.test.value) for each in found.studies] == [True, True]
