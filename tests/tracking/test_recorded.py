from __future__ import annotations

from pathlib import Path

import pytest

from regsearch.tracking.log.history import recorded_runs, trials_frame
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, RunEnd, RunStart

TAGS = {"regsearch.regularizers": "dropout+l2"}


def test_a_trial_is_its_setting_and_the_epoch_that_it_kept(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    with Outbox(path) as outbox:
        outbox.append(RunStart("trial", 1, "trial-001", {"l2.strength": 0.1, "dropout.p": 0.5, "seed": 7}, TAGS, 1))
        outbox.append(RunStart("trial", 0, "trial-000", {"seed": 6}, {"regsearch.regularizers": "none"}, 1))
        outbox.append(RunStart("final", 0, "final-000", {"seed": 9, "candidate": 1}, TAGS, 1))
        for epoch, loss in ((1, 0.5), (2, 0.3), (3, 0.4)):
            outbox.append(Metrics("trial", 1, epoch, {"val_loss": loss}, epoch))
            outbox.append(Metrics("trial", 1, epoch, {"gradient_norm": 10 * loss}, epoch))
            outbox.append(Metrics("final", 0, epoch, {"val_loss": loss + 1}, epoch))
        outbox.append(RunEnd("trial", 1, "COMPLETE", None, 9, restored=2))
        outbox.append(RunEnd("trial", 0, "FAIL", "diverged in epoch 1", 9))
    trials = trials_frame(runs := recorded_runs(path)).to_dict("records")
    assert [trial["number"] for trial in trials] == [0, 1]
    kept = {"state": "COMPLETE", "regularizers": "dropout + l2", "l2.strength": 0.1, "dropout.p": 0.5}
    assert kept | {"val_loss": 0.3, "gradient_norm": 3.0} == {
        name: trials[1][name] for name in (*kept, "val_loss", "gradient_norm")
    }
    assert trials[0]["state"] == "FAIL" and trials[0]["reason"] == "diverged in epoch 1"
    assert trials[0]["val_loss"] == pytest.approx(float("nan"), nan_ok=True) and "seed" not in trials[0]
    final = runs[-1]
    assert (final.kind, final.state, final.params["candidate"]) == ("final", "RUNNING", 1)
    assert [epoch["val_loss"] for epoch in final.curve.values()] == [1.5, 1.3, 1.4]


def test_a_study_without_an_outbox_has_no_trials(tmp_path: Path) -> None:
    frame = trials_frame(recorded_runs(tmp_path / "outbox.jsonl"))
    assert frame.empty and {"number", "state", "reason", "regularizers"} <= set(frame.columns)
