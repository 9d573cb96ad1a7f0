"""A packaged model whose file was damaged on its way is never registered; packaged again, it is."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from mlflow import MlflowClient

from regsearch.errors import UserError
from regsearch.system.sums import SUMS
from regsearch.tracking.log.commands import Commands
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Model
from regsearch.tracking.mlflow.package import DamagedPackage, check, seal
from regsearch.tracking.mlflow.writer import Writer
from tests.tracking.studies import study
from tests.tracking.test_champion import package


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("model.pt2", "manifest.json", "example.json"):
        (folder / name).write_bytes(name.encode() * 40)
    seal(folder)
    return folder


def flip(path: Path, pick: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[pick.randrange(len(content))] ^= 1 << pick.randrange(8)
    path.write_bytes(content)


def test_any_flipped_bit_is_seen(sealed: Path) -> None:
    pick = random.Random(0)
    check(sealed)
    for path in sealed.iterdir():
        whole = path.read_bytes()
        for _ in range(100):
            flip(path, pick)
            with pytest.raises(DamagedPackage, match=str(sealed)):
                check(sealed)
            path.write_bytes(whole)
    check(sealed)


def test_a_file_that_is_missing_cut_or_new_is_seen(sealed: Path) -> None:
    for path in sealed.iterdir():
        whole = path.read_bytes()
        for damage in (path.unlink, lambda at=path, cut=whole[:-1]: at.write_bytes(cut)):
            damage()
            with pytest.raises(DamagedPackage):
                check(sealed)
            path.write_bytes(whole)
    (sealed / "columns.py").write_text("import os")
    with pytest.raises(DamagedPackage, match=r"lack columns\.py"):
        check(sealed)


def test_copies_are_looked_at(sealed: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "model.pt2").write_bytes((sealed / "model.pt2").read_bytes())
    check(sealed, copies)
    flip(copies / "model.pt2", random.Random(1))
    with pytest.raises(DamagedPackage, match=str(copies)):
        check(sealed, copies)


def test_a_damaged_champion_is_not_registered_and_packaged_again_it_is(tmp_path: Path, uri: str) -> None:
    package(tmp_path / "package", "regression")
    whole = (tmp_path / "package" / "model.pt2").read_bytes()
    flip(tmp_path / "package" / "model.pt2", random.Random(2))
    record = Model(str(tmp_path / "package"), "digits", "champion", "final", 1)
    path = tmp_path / "studies" / "digits" / "outbox.jsonl"
    with Outbox(path) as outbox:
        for each in (*study(1, 1, finals=2), record):
            outbox.append(each)

    def drained() -> Writer:
        commands = Commands(())
        commands.draining = commands.flushing = True
        return Writer(path, uri, tmp_path / "artifacts", commands)

    with pytest.raises(UserError, match=r"model\.pt2: the packaged model is damaged"):
        drained().run()
    client = MlflowClient(uri)
    assert not client.search_registered_models()
    (tmp_path / "package" / "model.pt2").write_bytes(whole)
    (tmp_path / "package" / SUMS).unlink()
    seal(tmp_path / "package")
    drained().run()
    assert client.get_model_version_by_alias("digits", "champion").status == "READY"
