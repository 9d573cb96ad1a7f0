"""Find the documents of a study on disk: where each lies, who may write them, which studies there are."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regsearch.config import StudyConfig
from regsearch.errors import UserError
from regsearch.system import documents, schema
from regsearch.system.addresses import password
from regsearch.system.documents import ANSWER
from regsearch.system.files import JsonObject, unwritable, write_whole
from regsearch.system.guard import guarded
from regsearch.system.locks import aside, hold
from regsearch.workspace.places import placed, portable

STUDY = "study.json"


def home() -> Path:
    """Return the folder of all state: REGSEARCH_HOME, else `mlruns` under the working directory."""
    return Path(os.environ.get("REGSEARCH_HOME") or "mlruns").absolute()


@dataclass(frozen=True)
class _Data:
    source: str


@dataclass(frozen=True)
class _Search:
    trials: int
    storage: str | None = None


@dataclass(frozen=True)
class _Tracking:
    uri: str | None = None
    tensorboard: str | None = None


@dataclass(frozen=True)
class _Config:
    name: str
    folder: str
    data: _Data
    search: _Search
    tracking: _Tracking = _Tracking()


@dataclass(frozen=True)
class _RecordForm:
    """What a record is looked at for before its configuration is checked as a whole."""

    config: _Config
    created_ms: int


@dataclass(frozen=True)
class StudyRecord:
    """What `study.json` keeps of a study.

    Args:
        config: the study file, read and checked.
        created_ms: when the study began, milliseconds since 1970.
    """

    config: StudyConfig
    created_ms: int


@dataclass(frozen=True)
class StudyFolder:
    """Name the documents of one study.

    Args:
        root: where all state lives, see `home`.
        name: of the study.
    """

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.root / "studies" / self.name

    @property
    def data(self) -> Path:
        """The sealed rows and their manifest."""
        return self.path / "data"

    @property
    def outbox(self) -> Path:
        """The log of all that the tracker was told."""
        return self.path / "outbox.jsonl"

    @property
    def journal(self) -> Path:
        """What the search decided."""
        return self.path / "search.journal"

    @property
    def answer(self) -> Path:
        """The answer of a study that has one."""
        return self.path / ANSWER

    @property
    def finals(self) -> Path:
        """What a study leaves behind: summary, pictures, report, champion."""
        return self.path / "finals"

    @property
    def splits(self) -> Path:
        """Other cuts of training and validation rows, while finals need them."""
        return self.path / "splits"

    @property
    def snapshots(self) -> Path:
        """States of trials that Ray Tune paused or copied."""
        return self.path / "snapshots"

    @property
    def artifacts(self) -> Path:
        """The artifacts of the local MLflow store."""
        return self.root / "artifacts"

    @property
    def ledger(self) -> Path:
        """The record of every opening of a sealed test."""
        return self.root / "ledger"

    def exists(self) -> bool:
        """Tell whether the study has begun here."""
        return (self.path / STUDY).exists()

    def read(self) -> StudyRecord:
        """Read what the study is.

        Raises:
            UserError: the record is not what `write` wrote.
        """
        return read_record(self.path)

    def record(self) -> StudyRecord | None:
        """Read what the study is; None where none of this name has begun here."""
        return self.read() if self.exists() else None

    def write(self, config: StudyConfig, created_ms: int) -> None:
        """Keep what the study is, in place of what was kept before."""
        write_record(self.path, config, created_ms)

    def aside(self) -> contextlib.AbstractContextManager[Path]:
        """Make an empty folder that may become the study's; see `regsearch.system.locks.aside`."""
        return aside(self.root, self.name)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes off the study.

        Raises:
            UserError: another process works on it, or its folder cannot be written.
        """
        try:
            file = open(self.path / "lock", "w")  # noqa: SIM115  # closed below
        except IsADirectoryError:
            what = "is a folder, where a file is written"
            raise UserError(what, file=self.path / "lock", allowed="remove it") from None
        except OSError as error:
            raise unwritable(self.path, error) from None
        with file:
            hold(file.fileno(), self.name)
            with guarded():
                yield


def read_record(folder: Path) -> StudyRecord:
    """Read the record of the study that is kept in `folder`.

    Raises:
        UserError: it is not what `write_record` wrote.
    """
    file, saved = folder / STUDY, read_saved(folder)
    config = placed(saved["config"], folder.parents[1])
    if config["name"] != folder.name:
        allowed = f"it stands in the folder {folder.name}: name both alike"
        raise UserError(
            "is not the name of the folder", file=file, key="config.name", value=config["name"], allowed=allowed
        )
    return StudyRecord(StudyConfig.from_json(json.dumps(config), file), saved["created_ms"])


def read_saved(folder: Path) -> JsonObject:
    """Read the record of the study that is kept in `folder`, as `parse_record` gives it.

    Raises:
        UserError: it is damaged, or a newer regsearch wrote it.
    """
    file = folder / STUDY
    return parse_record(documents.read_text(file, _mend(file)), file)


def parse_record(text: str | bytes, file: str | Path) -> JsonObject:
    """Parse the text of a study's record: its `config`, with the paths that `portable` wrote, and `created_ms`.

    A field that no version has written is refused.

    Raises:
        UserError: it is not what `write_record` wrote, or a newer regsearch wrote it.
    """
    mend = _mend(file)
    saved = documents.parse_object(text, schema.STUDY, mend, file)
    documents.check_form(saved, _RecordForm, mend, file)
    return saved


def _mend(file: str | Path) -> str:
    folder = Path(file).parent
    return f"bring it back from a copy, or remove the folder {folder} and start the study anew"


def write_record(folder: Path, config: StudyConfig, created_ms: int) -> None:
    """Write the record of a study; nobody else may read it where it holds a password."""
    secret = any(password(address or "") for address in (config.tracking.uri, config.search.storage))
    plain = portable(json.loads(config.to_json()), folder.absolute().parents[1])
    text = json.dumps({schema.KEY: schema.STUDY, "config": plain, "created_ms": created_ms}, indent=1)
    write_whole(folder / STUDY, text, 0o600 if secret else 0o644)


def study_names(root: Path) -> list[str]:
    """List the names of all studies begun here, also of those whose record cannot be read."""
    return sorted(file.parent.name for file in (root / "studies").glob(f"[!.]*/{STUDY}"))
