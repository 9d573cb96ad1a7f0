"""Saved trials on disk: they go on to the bit, no flipped bit and no cut passes, a kill or a full disk loses none."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regsearch.core import snapshot
from regsearch.core.pack import Load, Pack, Saved
from regsearch.core.snapshot import SnapshotError
from regsearch.trial import Stage
from tests.core.packs import digits, program

ROOT = Path(__file__).parents[2]
SMALL = Saved(Load(7, {"l1.strength": 1e-4, "regularizer": "l1"}, 2**62 + 1), 3, (torch.arange(5.0), torch.tensor(9)))
OTHER = Saved(Load(8, {}, 5), 1, (torch.zeros(5), torch.tensor(1)))


def assert_equal(ours: Saved, theirs: Saved) -> None:
    assert (ours.load, ours.epoch) == (theirs.load, theirs.epoch)
    assert [row.dtype for row in ours.rows] == [row.dtype for row in theirs.rows]
    assert all(torch.equal(one, other) for one, other in zip(ours.rows, theirs.rows, strict=True))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_trial_read_back_goes_on_to_the_bit_in_another_pack(tmp_path: Path) -> None:
    made = program(("dropout", "l1", "early_stopping", "ema"), norm="batch")
    pack = Pack(made, digits(), 2)
    pack.load(0, Load(4, {"dropout.p": 0.3, "l1.strength": 1e-3, "early_stopping.patience": 2.0, "ema.decay": 0.9}, 73))
    pack.train_epoch([0])
    stages = (Stage(0, {"dropout.p": 0.1}, 2, 2**62 + 1), Stage(1, pack.save(0).load.params, 4, 73))
    snapshot.write(tmp_path / "4.pt", pack.save(0), stages)
    expected = pack.train_epoch([0])
    other = Pack(made, digits(), 3)
    saved, found = snapshot.read(tmp_path / "4.pt")
    other.put(2, saved)
    assert found == stages
    assert other.train_epoch([2]) == expected
    assert files(tmp_path) == ["4.pt", "4.pt.sha256"]


def test_any_flipped_bit_and_any_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "7.pt"
    snapshot.write(path, SMALL)
    for file in (path, tmp_path / "7.pt.sha256"):
        whole = file.read_bytes()
        bits = range(8 * len(whole))
        for bit in bits if len(whole) < 200 else random.Random(0).sample(bits, 150):
            broken = bytearray(whole)
            broken[bit // 8] ^= 1 << bit % 8
            file.write_bytes(broken)
            with pytest.raises(SnapshotError, match=str(path)):
                snapshot.read(path)
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:size])
            with pytest.raises(SnapshotError, match=str(path)):
                snapshot.read(path)
        file.unlink()
        with pytest.raises(SnapshotError) as caught:
            snapshot.read(path)
        assert "\n" not in str(caught.value)
        file.write_bytes(whole)
    assert_equal(snapshot.read(path)[0], SMALL)


def test_torch_alone_would_take_flipped_bits_for_sound(tmp_path: Path) -> None:
    """Else the digest proved nothing."""
    snapshot.write(tmp_path / "7.pt", SMALL)
    content = bytearray((tmp_path / "7.pt").read_bytes())
    content[content.index(torch.arange(5.0).numpy().tobytes()) + 6] ^= 64
    (tmp_path / "7.pt").write_bytes(content)
    found = torch.load(tmp_path / "7.pt", weights_only=True)
    assert not torch.equal(found["rows"][0], SMALL.rows[0])


KILLED = """
import os, signal, sys, torch
from regsearch.core import snapshot
from tests.core.test_snapshot import OTHER, SMALL

def killing(name):
    real = getattr(os, name)
    def count(*given):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given)
    setattr(os, name, count)

for steps in range(7):
    snapshot.write(sys.argv[1], SMALL)
    child = os.fork()
    if child == 0:
        left = steps
        killing("fsync")
        killing("replace")
        snapshot.write(sys.argv[1], OTHER)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found, _ = snapshot.read(sys.argv[1])
    whole = all(map(torch.equal, found.rows, {7: SMALL, 8: OTHER}[found.load.number].rows))
    print(code, found.load.number, whole)
"""


def test_a_kill_at_any_step_of_a_write_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """Just before each of its fsyncs and renames; the last time it is not killed."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "7.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    lines = done.stdout.splitlines()
    assert lines == ["-9 7 True"] * 3 + ["-9 8 True"] * 2 + ["0 8 True"] * 2


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "7.pt"
    snapshot.write(path, SMALL)
    large = Saved(OTHER.load, 2, (torch.zeros(100_000),))
    old, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, old[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            snapshot.write(path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)
    assert_equal(snapshot.read(path)[0], SMALL)
    assert files(tmp_path) == ["7.pt", "7.pt.sha256"]
    snapshot.write(path, large)
    assert_equal(snapshot.read(path)[0], large)
    snapshot.delete(path)
    snapshot.delete(path)
    assert files(tmp_path) == []
