"""The disk: full for a while, torn lines at the end of files, one flipped bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

from regsearch.core import snapshot
from regsearch.core.pack import Load, Saved
from tests.faults.drill import Drill
from tests.faults.fault import Fault, Scene, Surroundings, Undisturbed, between, said, wait_for, within
from tests.faults.invariant import Ended
from tests.faults.setups import WHOLE

DISK = "24m"
BALLAST = "ballast"


@contextmanager
def small_disk(folder: Path) -> Iterator[Surroundings]:
    """The study's home is a file system of its own; making one takes the right to mount."""
    home = folder / "mlruns"
    home.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "faults", str(home)], check=True, capture_output=True)
    try:
        yield Surroundings()
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


def _fill(scene: Scene) -> bool:
    """Leave not one byte; the driver meets it, or its writer, or neither before there is room again."""
    with open(scene.place.home / BALLAST, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    command = scene.command
    wait_for(lambda: not command.running(), scene.pick.uniform(1, 6))
    return True


def _make_room(scene: Scene) -> None:
    (scene.place.home / BALLAST).unlink()


def one_line(scene: Scene, ended: Ended, peace: Undisturbed) -> list[str]:
    """A driver that could not go on said so in a line."""
    stopped = [command for command in scene.commands if command.code == 2]
    silent = [command for command in stopped if not command.lines or not command.lines[-1].startswith("regsearch: ")]
    return [f"it ended with {' / '.join(command.lines[-3:])}" for command in silent]


def _killed_and_torn(*names: str) -> Callable[[Scene], bool]:
    """Kill the driver, and let the last write to these files have been cut short."""

    def strike(scene: Scene) -> bool:
        command, place = scene.command, scene.place
        command.process.kill()
        scene.finish()
        torn = [tear(place.folder / name, scene.pick) for name in names if (place.folder / name).exists()]
        return not place.answered() and all(torn) and len(torn) == len(names)

    return strike


def tear(path: Path, pick: random.Random) -> bool:
    """Append the first part of a line like those that are there; False where there is none yet."""
    lines = path.read_bytes().splitlines(keepends=True)
    if not lines:
        return False
    line = pick.choice(lines)
    with open(path, "ab") as file:
        file.write(line[: pick.randrange(1, len(line))])
    return True


def flip(path: Path, pick: random.Random) -> int:
    """Flip one bit of a file; which."""
    content = bytearray(path.read_bytes())
    bit = pick.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    return bit


def _flip_snapshot(folder: Path, pick: random.Random) -> list[str]:
    """Every bit that is flipped in a trial saved on disk, or in its digest, is noticed."""
    made = Saved(Load(3, {"l1.strength": 1e-3}, 5), 2, tuple(torch.randn(pick.randrange(1, 500)) for _ in range(4)))
    path = folder / "3.pt"
    snapshot.write(path, made)
    file = pick.choice([path, path, path, folder / "3.pt.sha256"])
    bit = flip(file, pick)
    try:
        snapshot.read(path)
    except snapshot.SnapshotError as error:
        return [] if str(path) in str(error) and "\n" not in str(error) else [f"it said {error}"]
    return [f"bit {bit} of {file.name} was taken for sound"]


def _packaged(scene: Scene) -> bool:
    """Wait for the champion's package, with the writer held so that it is not yet delivered."""
    command, package = scene.command, scene.place.folder / "finals" / "champion"
    if not command.wait(lambda: "registering" in command.times):
        return False
    writer = command.writer()
    if writer is None:
        return False
    scene.around.parts["writer"] = writer
    with suppress(psutil.NoSuchProcess):
        writer.suspend()
    return command.wait(lambda: command.phase == "delivering" and package.exists())


def _flip_package(scene: Scene) -> bool:
    """Flip a bit of what the writer is about to log; the weights are most of it."""
    package = scene.place.folder / "finals" / "champion"
    name = scene.pick.choice(["model.pt2"] * 4 + sorted(path.name for path in package.iterdir()))
    flip(package / name, scene.pick)
    with suppress(ProcessLookupError):
        os.kill(scene.around.parts["writer"].pid, signal.SIGCONT)
    return scene.finish() != 0 and any("packaged model" in line for line in scene.command.lines)


_whole_time = between("starting", "end")
FAULTS = (
    Fault(
        "disk: full for a while",
        WHOLE,
        within(said("starting"), _whole_time),
        _fill,
        _make_room,
        one_line,
        codes=(2,),
        around=small_disk,
    ),
    *(
        Fault(
            f"disk: torn last line of the {name}",
            WHOLE,
            within(said("search"), between("search", "end")),
            _killed_and_torn(*files),
            codes=(-9,),
            chained=True,
        )
        for name, files in {
            "journal": ("search.journal",),
            "outbox": ("outbox.jsonl",),
            "journal and outbox": ("search.journal", "outbox.jsonl"),
        }.items()
    ),
    Fault(
        "disk: one bit of the packaged champion flipped", WHOLE, _packaged, _flip_package, holds=one_line, codes=(2,)
    ),
    Drill("disk: one bit of a saved trial flipped", _flip_snapshot),
)
