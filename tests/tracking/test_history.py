"""What a study's log says that counts, in the one fold and in all that read it: also of trials that were set back."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from regsearch.tracking.log.history import RunHistory, StudyHistory, trials_frame
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import (
    Artifact,
    Metrics,
    Model,
    Note,
    Record,
    RunEnd,
    RunStages,
    RunStart,
    StudyEnd,
)
from regsearch.tracking.mlflow import runs, stored_study
from regsearch.tracking.mlflow.changes import merge, unended
from regsearch.tracking.mlflow.delivery_sqlite import BulkLane
from regsearch.tracking.tensorboard.writer import EventFiles
from regsearch.trial import Report, Stage, Trial, kept_epoch
from tests.tracking.conftest import Writers
from tests.tracking.set_back import CASES, DONOR, NUMBER, SEED, Case, six
from tests.tracking.studies import BEGIN, study
from tests.tracking.test_events import begun_as
from tests.tracking.test_lanes import client_lane

TAGS = {"regsearch.regularizers": "dropout+l2"}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def write(path: Path, records: tuple[Record, ...] | list[Record]) -> Path:
    with Outbox(path) as outbox:
        for record in records:
            assert outbox.append(record)
    return path


def kept_loss(run: RunHistory) -> float | None:
    return run.kept().get("val_loss")


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
    history = StudyHistory.read(path)
    trials = trials_frame(history.runs.values()).to_dict("records")
    assert [trial["number"] for trial in trials] == [0, 1]
    kept = {"state": "COMPLETE", "regularizers": "dropout + l2", "l2.strength": 0.1, "dropout.p": 0.5}
    assert kept | {"val_loss": 0.3, "gradient_norm": 3.0} == {
        name: trials[1][name] for name in (*kept, "val_loss", "gradient_norm")
    }
    assert trials[0]["state"] == "FAIL" and trials[0]["reason"] == "diverged in epoch 1"
    assert trials[0]["val_loss"] == pytest.approx(float("nan"), nan_ok=True) and "seed" not in trials[0]
    final = list(history.runs.values())[-1]
    assert (final.kind, final.state, final.params["candidate"]) == ("final", "RUNNING", 1)
    assert [epoch["val_loss"] for epoch in final.curve.values()] == [1.5, 1.3, 1.4]


def test_a_study_without_an_outbox_has_no_trials(tmp_path: Path) -> None:
    history = StudyHistory.read(tmp_path / "outbox.jsonl")
    assert history.start is None and history.runs == {} and history.reports() == {}
    frame = trials_frame(history.runs.values())
    assert frame.empty and {"number", "state", "reason", "regularizers"} <= set(frame.columns)


def test_a_copy_has_nothing_of_what_it_trained_beyond_the_state_it_copied(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    copied = Stage(0, {"dropout.p": 0.3}, DONOR, 17)
    outbox = Outbox(path)
    for epoch in range(1, 7):
        outbox.append(Metrics("trial", 3, epoch, {"val_loss": float(epoch)}, epoch))
        outbox.append(Metrics("trial", 4, epoch, {"val_loss": 0.5}, epoch))
    outbox.commit()
    assert [trial.stages for trial in StudyHistory.read(path).trials().values()] == [(), ()]
    stages = (copied, Stage(3, {"dropout.p": 0.25}, 3, SEED))
    outbox.append(RunStages("trial", 3, [stage.to_json() for stage in stages], {}))
    outbox.append(Metrics("trial", 3, 4, {"val_loss": 0.25}, 7))
    outbox.append(RunEnd("trial", 3, "COMPLETE", None, 8, restored=3))
    outbox.commit()
    outbox.close()
    history = StudyHistory.read(path)
    curves = history.reports()
    assert [(report.epoch, report.metrics["val_loss"]) for report in curves[3]] == [(1, 1), (2, 2), (3, 3), (4, 0.25)]
    assert curves[3][-1].restored == 3 and len(curves[4]) == 6
    assert {number: trial.stages for number, trial in history.trials().items()} == {3: stages, 4: ()}


def test_the_epoch_kept_is_one_rule() -> None:
    assert (kept_epoch(5, None), kept_epoch(5, 3)) == (5, 3)
    trial = Trial(0, {}, 1)
    assert (trial.kept_epoch, trial.kept()) == (0, {})
    trial.reports = [Report(0, 1, {"val_loss": 0.2}), Report(0, 2, {"val_loss": 0.1}), Report(0, 3, {"val_loss": 0.3})]
    assert (trial.kept_epoch, trial.kept()) == (3, {"val_loss": 0.3})
    trial.reports[-1] = Report(0, 3, {"val_loss": 0.3}, restored=2)
    assert (trial.kept_epoch, trial.kept()) == (2, {"val_loss": 0.1})


@every_case
def test_what_was_voided_counts_nowhere_in_the_fold(case: Case, tmp_path: Path) -> None:
    history = StudyHistory.read(write(tmp_path / "outbox.jsonl", case.records))
    run = history.trials()[NUMBER]
    assert {epoch: metrics["val_loss"] for epoch, metrics in run.curve.items()} == case.curve
    assert list(run.times) == list(run.curve) and sorted(run.times.values()) == list(run.times.values())
    assert (run.kept_epoch, kept_loss(run)) == (case.kept, case.loss)
    assert run.params == {"dropout.p": case.dropout, "seed": SEED}
    (row,) = trials_frame(history.runs.values()).to_dict("records")
    assert row.get("val_loss", None) == case.loss and row["dropout.p"] == case.dropout
    trial = Trial(NUMBER, {}, SEED, reports=history.reports().get(NUMBER, []))
    assert (trial.kept_epoch, trial.kept().get("val_loss")) == (case.kept, case.loss)


def test_one_that_is_set_back_runs_again() -> None:
    records = [*six().end("COMPLETE", restored=5), *six().set_back(2, 0.25).records[-1:]]
    run = StudyHistory.of(records).trials()[NUMBER]
    assert (run.state, run.restored, run.ended_ms, run.kept_epoch) == ("RUNNING", None, None, 2)


def test_a_line_that_is_being_written_is_left_and_a_damaged_log_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "outbox.jsonl", six().records)
    with open(path, "a") as file:
        file.write('{"type":"run_end","kind":"trial","nu')
    assert StudyHistory.read(path).trials()[NUMBER].last_epoch == 6
    with open(path, "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="unreadable record"):
        StudyHistory.read(path)


def test_it_holds_what_is_said_of_the_study_and_of_each_run(tmp_path: Path) -> None:
    picture = tmp_path / "gap.png"
    picture.write_bytes(b"1")
    records = list(study(2, 2, finals=1))
    after: list[Record] = [
        Note({"regsearch.claim": "true"}, experiment={"mlflow.note.content": "first"}),
        Note({"regsearch.claim": "false"}, experiment={"mlflow.note.content": "second"}),
        Note({"regsearch.role": "winner"}, "final", 0),
        Metrics("final", 0, 2, {"test_loss": 0.5}, BEGIN),
        Metrics("study", 0, 1, {"difference": 0.1}, BEGIN),
        Metrics("study", 0, 2, {"difference": 0.2}, BEGIN),
        Artifact("study", 0, str(picture), "pictures"),
        Model("folder", "digits", "champion", "final", 0),
        StudyEnd("INTERRUPTED", BEGIN),
    ]
    history = StudyHistory.read(write(tmp_path / "outbox.jsonl", [*records, *after]))
    assert history.start == records[0]
    assert history.tags["regsearch.claim"] == "false" and history.tags["regsearch.version"] == "0"
    assert history.experiment == {"mlflow.note.content": "second"}
    assert history.results == {1: {"difference": 0.1}, 2: {"difference": 0.2}}
    assert [artifact.path for artifact in history.artifacts.values()] == [str(picture)]
    assert [model.alias for model in history.models] == ["champion"]
    assert history.status == "INTERRUPTED"
    assert list(history.trials()) == [0, 1] and list(history.finals()) == [0]
    final = history.finals()[0]
    assert final.tags["regsearch.role"] == "winner" and final.kept()["test_loss"] == 0.5 and "val_loss" in final.kept()
    for record in records[:3]:  # told anew from the first record on, it is what it was then
        history.apply(record)
    again = StudyHistory.of(records[:3])
    assert vars(history) == vars(again)


def test_reading_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'numpy', 'mlflow', 'optuna', 'pydantic'}"
    code = f"import sys, regsearch.tracking.log.history; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def drawn(events: EventAccumulator) -> dict[int, float]:
    """What TensorBoard draws as the validation loss."""
    if "loss/val" not in events.Tags()["scalars"]:
        return {}
    return {point.step: point.value for point in events.Scalars("loss/val")}


def in_files(folder: Path) -> list[tuple[int, float]]:
    """What the files hold of it, for readers that know no purge."""
    events = (event for file in sorted(folder.iterdir()) for event in EventFileLoader(str(file)).Load())
    values = ((event.step, value) for event in events if event.HasField("summary") for value in event.summary.value)
    return [(step, value.tensor.float_val[0]) for step, value in values if value.tag == "loss/val"]


@every_case
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_tensorboard_draws_what_counts(case: Case, batch: int, tmp_path: Path) -> None:
    files, folder = EventFiles(tmp_path / "tb"), tmp_path / "tb" / "trial-003"
    watching = None
    for first in range(0, len(case.records), batch):
        files.write(case.records[first : first + batch])
        if watching is None and folder.exists():
            watching = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        if watching is not None:
            watching.Reload()
    assert watching is not None
    fresh = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    fresh.Reload()
    expected = {epoch: pytest.approx(value) for epoch, value in case.curve.items()}
    assert drawn(fresh) == drawn(watching) == expected
    assert in_files(folder) == [(epoch, value) for epoch, value in expected.items()]
    if case.kept:
        (point,) = fresh.Scalars("kept/val_loss")
        assert (point.step, point.value) == (case.kept, pytest.approx(case.loss))
    assert begun_as(folder)[1] == {"dropout.p": case.dropout, "seed": float(SEED)}


@every_case
@pytest.mark.parametrize("lane", ["client", "bulk"])
def test_mlflow_is_read_as_what_counts(case: Case, lane: str, uri: str) -> None:
    """Delivered in two rounds, the second by a writer that has only the log of the first."""
    cut = len(case.records) - 3
    for before, now in (((), case.records[:cut]), (case.records[:cut], case.records[cut:])):
        made = client_lane(uri)
        for step in merge(now, unended(before)):
            assert isinstance(step, list)
            (made if lane == "client" else BulkLane(made)).apply(step)
    (row,) = runs.read_runs(uri, "digits").to_dict("records")
    last = case.curve.get(max(case.curve, default=0), math.nan)
    assert row.get("val_loss", math.nan) == pytest.approx(last, abs=0, nan_ok=True)
    assert row["dropout.p"] == case.dropout
    (kept,) = runs.read_study(uri, "digits").runs.to_dict("records")
    (stored,) = stored_study.read_study(uri, "digits").runs
    wanted = math.nan if case.loss is None else case.loss
    assert kept.get("val_loss", math.nan) == pytest.approx(wanted, abs=0, nan_ok=True)
    assert kept_loss(stored) == case.loss and stored.params["dropout.p"] == case.dropout


def test_mlflow_is_read_as_what_counts_when_the_writer_starts_in_between(
    tmp_path: Path, uri: str, writers: Writers
) -> None:
    case = CASES["restored to a later epoch"]
    path = tmp_path / "studies" / "digits" / "outbox.jsonl"
    write(path, case.records[:-2])
    assert writers(path, uri).drain(60)
    with Outbox(path) as outbox:
        for record in case.records[-2:]:
            outbox.append(record)
    assert writers(path, uri).drain(60)
    (row,) = runs.read_runs(uri, "digits").to_dict("records")
    assert row["val_loss"] == case.curve[5]
    (run,) = runs.read_study(uri, "digits").runs.to_dict("records")
    assert run["val_loss"] == case.loss == StudyHistory.read(path).trials()[NUMBER].kept()["val_loss"]
