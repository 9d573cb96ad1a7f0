"""What MLflow's pages say of a study, as Markdown."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regsearch.analysis.finals_summary import Candidate, FinalsSummary, summarize
from regsearch.config import StudyConfig
from regsearch.data import Opened
from regsearch.publish.notes import ANSWER_TAG, DESCRIPTION, answered
from regsearch.tracking.mlflow.views import FINALS, TRIALS, experiment_tags
from regsearch.trial import Trial, TrialState

SEEDS, ROWS = 5, 120


@pytest.fixture
def config() -> StudyConfig:
    return StudyConfig.from_json(
        json.dumps({"name": "my_study", "data": {"source": "sklearn:iris"}, "model": {"name": "mlp"}})
    )


def finals(better: float) -> FinalsSummary:
    """Winner and baseline on two classes; the winner is right in so many more of the rows."""
    draw = np.random.default_rng(0)
    truth = draw.integers(2, size=ROWS)

    def candidate(number: int, label: str, right: float) -> Candidate:
        labels = np.where(draw.random((SEEDS, ROWS)) < right, truth, 1 - truth)
        losses = [1.0 - right] * SEEDS
        return Candidate(number, {"l2.strength": 0.1 * number}, label, 0.5, losses, losses, losses, losses, labels)

    return summarize(
        candidate(7, "a|b <c>", 0.6 + better), candidate(0, "without", 0.6), truth, "balanced_accuracy", seed=0
    )


def test_the_answer_comes_first_then_links_then_the_table(config: StudyConfig) -> None:
    trials = [Trial(0, {}, 1, "trial", TrialState.COMPLETE, 0.5), Trial(7, {}, 1, "trial", TrialState.PRUNED)]
    note = answered(config, "It *is* in a_b.", trials, trials[1], finals(0.3), Opened(2))
    text = note.tags[DESCRIPTION]
    blocks = text.split("\n\n")
    assert blocks[0] == r"**It \*is\* in a\_b.**"
    assert f"[trials, best first](#/experiments/{{experiment}}/runs?viewStateShareKey={TRIALS})" in blocks[1]
    assert f"?viewStateShareKey={FINALS}" in blocks[1]
    assert "/runs/{run:trial:7}/model-metrics" in blocks[1]
    rows = blocks[2].splitlines()
    assert rows[0].count("|") == 5
    assert {row.count("|") for row in rows} == {5}, "a cell with a bar in it splits its row"
    assert "a&#124;b &lt;c&gt;" in blocks[2]
    assert "&nbsp;&nbsp;95 % interval" in blocks[2]
    assert "Test opened 2 times. Optimism " in blocks[3]
    assert blocks[4] == "2 trials: 1 complete, 1 pruned, 0 failed."
    assert "`regsearch trial replay my_study 7`" in text
    assert note.tags[ANSWER_TAG] == "It *is* in a_b."
    assert note.experiment[DESCRIPTION].startswith(r"It \*is\* in a\_b.")


def test_without_finals_nothing_is_said_of_a_test(config: StudyConfig) -> None:
    text = answered(config, "Skipped.", [], None, None).tags[DESCRIPTION]
    assert "opened" not in text
    assert "champion" not in text
    assert "winner" not in text


def test_the_views_are_what_mlflow_reads(config: StudyConfig) -> None:
    tags = experiment_tags("val_auc", True, "balanced_accuracy", ("accuracy", "balanced_accuracy", "auc"), 12)
    assert tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "true"
    named = json.loads(tags[f"mlflow.sharedViewState.{TRIALS}"])
    assert {name: type(value) for name, value in named.items()} == {
        "name": str,
        "createdAt": int,
        "updatedAt": int,
        "state": str,
    }
    view = json.loads(named["state"])
    assert view["orderByKey"] == "metrics.`val_auc`"
    assert view["orderByAsc"] is False
    sections = [section["uuid"] for section in view["compareRunSections"]]
    assert sections == ["Loss", "Gap", "Metrics"]
    charts = {chart["metricKey"]: chart["metricSectionId"] for chart in view["compareRunCharts"]}
    assert charts["val_loss"] == "Loss"
    assert charts["gap_auc"] == "Gap"
    assert charts["train_accuracy"] == "Metrics"
    assert len(charts) == 2 + 4 + 6
    assert all(len(value) < 20_000 for value in tags.values()), "MLflow refuses longer tags of an experiment"
