"""What an outbox knows of curves, also of trials that a population set back."""

from __future__ import annotations

from pathlib import Path

from regsearch.tracking.log.history import recorded_curves, recorded_stages
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, RunEnd, RunStages
from regsearch.trial import Stage

SEED, COPIED = 2**62 + 1, Stage(0, {"dropout.p": 0.3}, 5, 17)


def test_a_copy_has_nothing_of_what_it_trained_beyond_the_state_it_copied(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    outbox = Outbox(path)
    for epoch in range(1, 7):
        outbox.append(Metrics("trial", 3, epoch, {"val_loss": float(epoch)}, epoch))
        outbox.append(Metrics("trial", 4, epoch, {"val_loss": 0.5}, epoch))
    outbox.commit()
    assert recorded_stages(path) == {}
    stages = (COPIED, Stage(3, {"dropout.p": 0.25}, 3, SEED))
    outbox.append(RunStages("trial", 3, [stage.to_json() for stage in stages], {}))
    outbox.append(Metrics("trial", 3, 4, {"val_loss": 0.25}, 7))
    outbox.append(RunEnd("trial", 3, "COMPLETE", None, 8, restored=3))
    outbox.commit()
    outbox.close()
    curves = recorded_curves(path)
    assert [(report.epoch, report.metrics["val_loss"]) for report in curves[3]] == [(1, 1), (2, 2), (3, 3), (4, 0.25)]
    assert curves[3][-1].restored == 3 and len(curves[4]) == 6
    assert recorded_stages(path) == {3: stages}
