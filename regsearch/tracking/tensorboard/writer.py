"""Write records as event files, in a process of its own.

One folder for each trial and final (`FOLDER/trial-017`), and one file in it, written from the outbox. Each start writes
all files anew from the first record, so a kill leaves nothing twice.

Scalars stand at their epoch, grouped by what they measure: `loss/train`, `loss/val`, `loss/gap`, the same for each
metric, `schedule/<knob>`, and `training/<name>` for the rest. `kept/<metric>` is that of the epoch whose weights the
trial kept: the HParams page compares trials by these.

Where a population sets a trial back, its file is emptied, and a new one holds what still counts, at the knobs that it
goes on with. A purge (`SessionLog.START` at a step, what `SummaryWriter(purge_step=...)` writes) would not do: the
epochs that it voids stay in the file, and readers that know no purge show them.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.text import metadata as text
from tensorboard.summary.writer.record_writer import RecordWriter

from regsearch.tracking.log.commands import Commands
from regsearch.tracking.log.history import RunHistory, StudyHistory
from regsearch.tracking.log.outbox import read_from
from regsearch.tracking.log.records import Metrics, Note, Record, RunEnd, RunStages, RunStart
from regsearch.tracking.tensorboard.folder import OURS, remove_event_files

ROUND_SECONDS = 1.0
BATCH_BYTES = 4 << 20
VERSION = "brain.Event:2"
_PARTS = ("train", "val", "gap")
_ENDS = {
    "COMPLETE": api_pb2.STATUS_SUCCESS,
    "PRUNED": api_pb2.STATUS_SUCCESS,
    "FAIL": api_pb2.STATUS_FAILURE,
}


def scalar_tag(metric: str) -> str:
    """Name a metric for TensorBoard: what stands before its slash is the group.

    >>> [scalar_tag(name) for name in ("val_loss", "gap", "gap_accuracy", "schedule.dropout.p", "weight_norm")]
    ['loss/val', 'loss/gap', 'accuracy/gap', 'schedule/dropout.p', 'training/weight_norm']
    """
    part, _, name = metric.partition("_")
    if metric == "gap":
        return "loss/gap"
    if part in _PARTS and name:
        return f"{name}/{part}"
    group, _, name = metric.partition(".")
    return f"{group}/{name}" if name else f"training/{metric}"


NAMING = ("candidate",)
"""Parameters that name something, also where they are numbers: none is between two others."""


class _Event(Protocol):
    """An event of TensorBoard's, whose own classes have no types."""

    wall_time: float

    def SerializeToString(self) -> bytes: ...


class EventFiles:
    """The event files of one study below `folder`, from its first record on; those of an earlier start are removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stamp = 0
        self._file = self._next_file()
        self._renewed: dict[str, str] = {}  # the file of a place whose first one was replaced
        self._history = StudyHistory()  # of the runs that have not ended
        self._answers = 0
        remove_event_files(folder)

    def write(self, records: Iterable[Record]) -> None:
        """Append what these records say, each file once."""
        waiting: dict[str, list[_Event]] = {}
        replaced: dict[str, Path] = {}
        for record in records:
            placed = list(self._events(record))
            if isinstance(record, RunStages):
                for place in {place for place, _ in placed}:  # what waits for it is void, or told again
                    waiting[place] = []
                    replaced.setdefault(place, self._path(place))
            for place, event in placed:
                waiting.setdefault(place, []).append(event)
        for place in replaced:
            self._renewed[place] = self._next_file()
        for place, events in waiting.items():
            self._append(self._path(place), events)
        for path in replaced.values():
            if path.exists():  # emptied, not removed: a TensorBoard that is watching goes on from there to the next
                os.truncate(path, 0)

    def _next_file(self) -> str:
        """Name a file that comes after all before it: a TensorBoard that is watching reads them in that order."""
        self._stamp = max(self._stamp + 1, time.time_ns())
        seconds, rest = divmod(self._stamp, 10**9)
        return f"events.out.tfevents.{seconds:010d}.{rest:09d}{OURS}"

    def _path(self, place: str) -> Path:
        return self.folder / place / self._renewed.get(place, self._file)

    def _append(self, path: Path, events: list[_Event]) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            first = events[0].wall_time
            # The second has a TensorBoard that is watching forget what it read from an earlier file.
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            head = [event_pb2.Event(wall_time=first, file_version=VERSION)]
            events = [*head, event_pb2.Event(wall_time=first, step=0, session_log=start), *events]
        with open(path, "ab") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())

    def _events(self, record: Record) -> Iterator[tuple[str, _Event]]:
        """Where each event goes, and the event."""
        if isinstance(record, Note):
            yield from self._answer(record)
            return
        if not isinstance(record, RunStart | Metrics | RunStages | RunEnd) or record.kind == "study":
            return
        key = record.kind, record.number
        if key not in self._history.runs and not isinstance(record, RunStart):
            return  # a final's test, which it gets when it has ended
        self._history.apply(record)
        run = self._history.runs[key]
        if isinstance(record, Metrics):
            yield run.name, _scalars(_tagged(record.values), record.epoch, record.time_ms)
        elif isinstance(record, RunEnd):
            del self._history.runs[key]
            kept_metrics = {f"kept/{metric}": value for metric, value in run.kept().items()}
            if kept_metrics:
                yield run.name, _scalars(kept_metrics, run.kept_epoch, record.time_ms)
            yield run.name, _session_end(record)
        else:
            yield run.name, _session_start(run)
            for epoch, metrics in run.curve.items():
                yield run.name, _scalars(_tagged(metrics), epoch, run.times[epoch])

    def _answer(self, record: Note) -> Iterator[tuple[str, _Event]]:
        words = record.tags.get("regsearch.answer")
        if words is None:
            return
        metadata = text.create_summary_metadata(display_name="answer", description="")
        shape = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[words.encode()])
        shape.tensor_shape.dim.add(size=1)
        value = summary_pb2.Summary.Value(tag="answer", metadata=metadata, tensor=shape)
        self._answers += 1
        yield "", event_pb2.Event(wall_time=time.time(), step=self._answers, summary=summary_pb2.Summary(value=[value]))


def deliver(outbox: Path, folder: Path, commands: Iterable[str]) -> None:
    """Deliver an outbox to event files until the driver says that it is whole, or is gone.

    Raises:
        OSError: a file cannot be written.
        ValueError: a record cannot be read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    following = Commands(commands)
    following.start()
    files, offset = EventFiles(folder), 0
    while True:
        following.woken.clear()
        draining = following.draining
        records: list[Record] = []
        if outbox.exists():
            for record, until in read_from(outbox, offset, BATCH_BYTES):
                records.append(record)
                offset = until
        if records:
            files.write(records)
        elif draining:
            return
        if not draining:
            following.woken.wait(ROUND_SECONDS)


def _tagged(metrics: Mapping[str, float]) -> dict[str, float]:
    return {scalar_tag(name): value for name, value in metrics.items()}


def _scalars(values: dict[str, float], epoch: int, time_ms: int) -> _Event:
    each = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    event: _Event = event_pb2.Event(wall_time=time_ms / 1000, step=epoch, summary=summary_pb2.Summary(value=each))
    return event


def _session_start(run: RunHistory) -> _Event:
    params = {name: _plain(name, value) for name, value in run.params.items()}
    seconds = run.begun_ms / 1000
    event: _Event = event_pb2.Event(wall_time=seconds, step=0, summary=summary_v2.hparams_pb(params, run.name, seconds))
    return event


def _session_end(record: RunEnd) -> _Event:
    seconds = record.time_ms / 1000
    info = plugin_data_pb2.SessionEndInfo(status=_ENDS[record.status], end_time_secs=seconds)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    metadata = hparams.create_summary_metadata(data)
    value = summary_pb2.Summary.Value(tag=hparams.SESSION_END_INFO_TAG, metadata=metadata, tensor=hparams.NULL_TENSOR)
    event: _Event = event_pb2.Event(wall_time=seconds, step=0, summary=summary_pb2.Summary(value=[value]))
    return event


def _plain(name: str, value: object) -> bool | float | str:
    """A parameter as HParams can hold it; numbers that are not finite are words there, and so is what names a trial."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float) and name not in NAMING:
        return float(value) if math.isfinite(value) else str(value)
    return str(value)
