"""TensorBoard's event files, read back by TensorBoard: every point once, whatever was killed before."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams

from regsearch.errors import UserError
from regsearch.study.study import Study
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, Note, Record, RunEnd, RunStart
from regsearch.tracking.tensorboard.folder import check_tensorboard, remove_event_files
from regsearch.tracking.tensorboard.writer import EventFiles, scalar_tag
from regsearch.tracking.tensorboard.writer_process import event_files
from regsearch.workspace.folder import write_record
from tests.study.small import study_file
from tests.tracking.studies import BEGIN, study

Points = dict[tuple[str, str, int], float]
RECORDS = list(study(9, 6, finals=2))
FOLDERS = sorted([f"trial-{number:03d}" for number in range(9)] + ["final-000", "final-001"])


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def points(folder: Path) -> Points:
    """Every scalar below the folder, by run, tag and epoch; one that is there twice fails."""
    found: Points = {}
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        events = read(path)
        for tag in events.Tags()["scalars"]:
            for point in events.Scalars(tag):
                assert (path.name, tag, point.step) not in found
                found[path.name, tag, point.step] = point.value
    return found


def expected(records: list[Record]) -> Points:
    """What the records say, as TensorBoard holds it: in single precision."""
    found: Points = {}
    for record in records:
        if isinstance(record, Metrics):
            for name, value in record.values.items():
                found[f"{record.kind}-{record.number:03d}", scalar_tag(name), record.epoch] = float(np.float32(value))
        elif isinstance(record, RunEnd):
            run = f"{record.kind}-{record.number:03d}"
            own = [each for each in records if isinstance(each, Metrics)]
            curve = {each.epoch: each for each in own if (each.kind, each.number) == (record.kind, record.number)}
            kept = curve[(record.restored if record.status == "COMPLETE" else None) or max(curve)]
            found |= {(run, f"kept/{name}", kept.epoch): float(np.float32(v)) for name, v in kept.values.items()}
    return found


def same(one: Points, other: Points) -> bool:
    """Equal to the last bit, where NaN equals itself."""
    return one.keys() == other.keys() and all(
        value == other[key] or (math.isnan(value) and math.isnan(other[key])) for key, value in one.items()
    )


def write(outbox: Path, records: list[Record]) -> None:
    with Outbox(outbox) as box:
        for record in records:
            box.append(record)


def fail(line: str) -> None:
    pytest.fail(line)


def test_every_point_is_there_once(tmp_path: Path) -> None:
    records = [*RECORDS, Note({"regsearch.answer": "It helps."})]
    files = EventFiles(tmp_path / "tb")
    files.write(records[:40])
    files.write(records[40:])
    assert sorted(path.name for path in (tmp_path / "tb").iterdir() if path.is_dir()) == FOLDERS
    assert same(points(tmp_path / "tb"), expected(records))
    answer = read(tmp_path / "tb").Tensors("answer")
    assert [each.tensor_proto.string_val[0].decode() for each in answer] == ["It helps."]


def begun_as(folder: Path) -> tuple[str, dict[str, Any]]:
    """Group and hyperparameters of a run."""
    plugin = read(folder).PluginTagToContent(hparams.PLUGIN_NAME)
    start = hparams.parse_session_start_info_plugin_data(plugin[hparams.SESSION_START_INFO_TAG])
    held = {name: getattr(value, str(value.WhichOneof("kind"))) for name, value in start.hparams.items()}
    return start.group_name, held


def test_a_candidate_is_named_not_measured(tmp_path: Path) -> None:
    start = RunStart("final", 7, "final-007", {"dropout.p": 0.5, "seed": 3, "candidate": 12}, {}, BEGIN)
    EventFiles(tmp_path / "tb").write([start])
    held = {"dropout.p": 0.5, "seed": 3.0, "candidate": "12"}
    assert begun_as(tmp_path / "tb" / "final-007") == ("final-007", held)


def test_hparams_are_those_of_the_trial(tmp_path: Path) -> None:
    EventFiles(tmp_path / "tb").write(RECORDS)
    (begun,) = (each for each in RECORDS if isinstance(each, RunStart) and (each.kind, each.number) == ("trial", 5))
    plugin = read(tmp_path / "tb" / "trial-005").PluginTagToContent(hparams.PLUGIN_NAME)
    assert begun_as(tmp_path / "tb" / "trial-005") == ("trial-005", dict(begun.params))
    end = hparams.parse_session_end_info_plugin_data(plugin[hparams.SESSION_END_INFO_TAG])
    assert end.status == 2  # STATUS_FAILURE: each seventh of these trials diverges


def test_a_second_start_writes_anew_and_touches_nothing_else(tmp_path: Path) -> None:
    """As a resumed study does: the first one had come half-way when it was killed, in the middle of a record."""
    folder = tmp_path / "tb"
    EventFiles(folder).write(RECORDS[:50])
    for file in folder.rglob("*.regsearch"):
        file.write_bytes(file.read_bytes()[:-7])
    other = folder / "trial-000" / "events.out.tfevents.1.mine"
    other.write_bytes(b"")
    watching = EventAccumulator(str(folder / "trial-001"))
    watching.Reload()
    EventFiles(folder).write(RECORDS)
    assert other.exists()
    assert same(points(folder), expected(RECORDS))
    watching.Reload()
    seen = {(point.step, point.value) for point in watching.Scalars("loss/val")}
    assert len(seen) == len(watching.Scalars("loss/val"))
    assert seen == {(e, v) for (run, tag, e), v in expected(RECORDS).items() if (run, tag) == ("trial-001", "loss/val")}


def test_they_are_removed_and_what_others_wrote_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "tb" / "small"
    EventFiles(folder).write([*RECORDS, Note({"regsearch.answer": "It helps."})])
    other = folder / "trial-003" / "events.out.tfevents.1.mine"
    other.write_bytes(b"")
    remove_event_files(folder)
    assert [path for path in (tmp_path / "tb").rglob("*") if path.is_file()] == [other]
    other.unlink()
    remove_event_files(folder)
    remove_event_files(tmp_path / "absent")
    remove_event_files(None)
    assert not (folder / "trial-000").exists()


def test_they_go_with_their_study(tmp_path: Path, own_folder: Path) -> None:
    begun = Study.from_file(study_file(tmp_path)).with_tensorboard("tb")
    begun.folder.mkdir(parents=True)
    write_record(begun.folder, begun.config, BEGIN)
    for name in ("small", "other"):
        EventFiles(Path("tb") / name).write(RECORDS[:9])
    begun.delete()
    assert [path.name for path in Path("tb").iterdir()] == ["other"] and not begun.folder.exists()


def test_the_process_follows_an_outbox_that_grows(tmp_path: Path) -> None:
    outbox, folder = tmp_path / "outbox.jsonl", tmp_path / "deep" / "tb"
    with event_files(outbox, folder, fail):
        write(outbox, RECORDS[:30])
        write(outbox, RECORDS)
    assert same(points(folder), expected(RECORDS))
    with event_files(outbox, None, fail):
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["deep"]


def test_trouble_is_told_and_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path / "outbox.jsonl", RECORDS)
    (tmp_path / "file").write_text("")
    told: list[str] = []
    with event_files(tmp_path / "outbox.jsonl", tmp_path / "file" / "tb", told.append):
        pass
    (line,) = told
    assert line.startswith(f"TensorBoard's files in {tmp_path}/file/tb are not whole: ") and "Not a directory" in line


def test_what_cannot_be_used_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        check_tensorboard(str(tmp_path / "file" / "tb"))
    check_tensorboard(str(tmp_path / "new" / "tb"))
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError):
        check_tensorboard(str(tmp_path))
    check_tensorboard(None)


def test_tensorflow_and_torch_are_not_needed(tmp_path: Path) -> None:
    """They would cost the process seconds beside the training."""
    heavy = "{'torch', 'tensorflow', 'mlflow'}"
    code = f"import sys, regsearch.tracking.tensorboard.writer; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
