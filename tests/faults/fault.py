"""What a fault is: a declaration of how and when it strikes a study, how it is undone, and what must hold after it."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import contents, invariant
from tests.faults.invariant import Ended
from tests.faults.setups import NAME, Setup
from tests.faults.watched import Command, Place


@dataclass
class Surroundings:
    """What a study finds around it: more of its environment and words, and how its stores are read from outside."""

    env: dict[str, str] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    database: Callable[[], str | None] = lambda: None
    artifacts: Path | None = None
    search: str = ""
    parts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def alone(folder: Path) -> Any:
    """Nothing but the machine."""
    yield Surroundings()


@dataclass
class Scene:
    """One study in the course of its faults."""

    folder: Path
    setup: Setup
    seed: int
    pick: random.Random
    around: Surroundings
    peace: Undisturbed
    name: str = NAME
    commands: list[Command] = field(default_factory=list)
    opened: list[int] = field(default_factory=lambda: [0, 0])
    """Processes that surely, and perhaps, opened the sealed test."""
    wrong: list[str] = field(default_factory=list)
    codes: set[int] = field(default_factory=set)
    """Exit codes that a fault allows."""

    @property
    def command(self) -> Command:
        return self.commands[-1]

    @property
    def place(self) -> Place:
        return Place(self.folder, self.name, self.setup.trials)

    def begin(self) -> None:
        """See to it that the study is under way: start it, or resume it."""
        if self.commands and self.command.running():
            return
        if self.commands:
            self.finish()
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.setup, self.folder, self.name, self.around.search)
        words = (
            ("resume", self.name) if self.place.begun() else ("start", f"{self.name}.yaml", "--seed", str(self.seed))
        )
        self.commands.append(Command(self.folder, self.setup, *words, *self.around.words, env=self.around.env))

    def finish(self) -> int:
        """Wait for the process under way, look at how it ended, and give its exit code."""
        command = self.command
        if command.code is not None:
            return command.code
        code = command.end()
        # Without finals the best trial is registered, and nothing is opened.
        self.opened[0] += {"finals", "registering"} <= command.times.keys()
        self.opened[1] += "finals" in command.times
        if left := command.left():
            self.wrong.append(f"processes {left} outlive the driver")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        # One that is asked to stop when it has given its answer, and is about to end anyway, ends by the signal.
        late = code in (-signal.SIGINT, -signal.SIGTERM) and self.place.answered()
        if code not in self.codes | {0} and not late:
            self.wrong.append(f"exit code {code}: {' / '.join(command.lines[-3:])}")
        if any("Traceback" in line for line in command.lines):
            self.wrong.append(" / ".join(command.lines[-12:]))
        return code

    def to_the_end(self) -> Ended | None:
        """Go on until the study has its answer; what it left then."""
        for _ in range(6):
            if not self.commands or self.finish() != 0:
                self.begin()
            if self.finish() == 0:
                around = self.around
                return invariant.read(
                    self.folder, self.setup, self.name, around.database(), around.artifacts, around.search
                )
        self.wrong.append(f"no answer after six resumes: {' / '.join(self.command.lines[-3:])}")
        return None


def write(setup: Setup, folder: Path, name: str, storage: str = "", calm: bool = False) -> None:
    """Write the study file, and the module beside it."""
    text = setup.text if storage else setup.text.replace("storage: STORAGE, ", "")
    (folder / f"{name}.yaml").write_text(text.replace("NAME", name).replace("STORAGE", f'"{storage}"'))
    module = setup.calm if calm and setup.calm is not None else setup.module
    if module:
        (folder / "net.py").write_text(module)


@dataclass
class Undisturbed:
    """The run that all of a setup and seed are held against."""

    command: Command
    ended: Ended
    openings: list[dict[str, Any]]

    def lasts(self, first: str, last: str) -> float:
        """Seconds from one phase to another, `end` being the last."""
        return self.command.times[last] - self.command.times[first]


class Peace:
    """The undisturbed runs, each made when it is first asked for, in a folder below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made: dict[tuple[str, int], Undisturbed] = {}
        self._locks: dict[tuple[str, int], threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, setup: Setup, seed: int) -> Undisturbed:
        with self._lock:
            lock = self._locks.setdefault((setup.key, seed), threading.Lock())
        with lock:
            if (setup.key, seed) not in self._made:
                self._made[setup.key, seed] = self._run(setup, seed)
            return self._made[setup.key, seed]

    def _run(self, setup: Setup, seed: int) -> Undisturbed:
        folder = self.root / f"{setup.key}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        write(setup, folder, NAME, calm=True)
        command, place = Command(folder, setup, "start", f"{NAME}.yaml", "--seed", str(seed)), None
        place = Place(folder, NAME, setup.trials)
        for word, until in (("lock", place.making_store), ("store", place.database.exists)):
            command.wait(until)
            command.times[word] = time.monotonic()
        code = command.end()
        command.times["end"] = time.monotonic()
        if code:
            raise RuntimeError("\n".join([f"the undisturbed run of {setup.key} failed:", *command.lines]))
        ended = invariant.read(folder, setup, NAME)
        return Undisturbed(command, ended, contents.openings(ended.home))


def nothing(scene: Scene) -> None:
    """There is nothing to be undone."""


def no_more(scene: Scene, ended: Ended, peace: Undisturbed) -> list[str]:
    """Nothing must hold besides the invariant."""
    return []


Moment = Callable[[Scene], bool]


@dataclass(frozen=True)
class Fault:
    """A fault of studies.

    Args:
        name: as the table has it.
        setup: what is struck.
        moment: waits for a random moment; False where the study ended before.
        strike: does it; how often it landed, as far as can be told from what is left: mostly once or not.
        undo: mends what does not mend itself, before the study goes on.
        holds: what is wrong besides the invariant.
        codes: exit codes that the struck process may have besides 0.
        times: how often one study is struck.
        worth: of how many strikes a study is good otherwise.
        around: what the study finds around it, for as long as it goes.
        studies: how many are under way at once around the same; a strike strikes all that are.
        fails: trials may fail, and alone may differ then.
        seeds: from study to study the seed of the search differs as well.
        chained: a study that lives through it lives through others of its setup as well, one after the other.
    """

    name: str
    setup: Setup
    moment: Moment
    strike: Callable[[Scene], int]
    undo: Callable[[Scene], None] = nothing
    holds: Callable[[Scene, Ended, Undisturbed], list[str]] = no_more
    codes: tuple[int, ...] = ()
    times: int = 1
    worth: int = 1
    around: Callable[[Path], AbstractContextManager[Surroundings]] = alone
    studies: int = 1
    fails: bool = False
    seeds: bool = False
    chained: bool = False


def within(begins: Callable[[Scene], bool], lasts: Callable[[Undisturbed], float]) -> Moment:
    """A moment of a stretch: what to wait for, and how long it lasts undisturbed."""

    def moment(scene: Scene) -> bool:
        command = scene.command
        if not command.wait(lambda: begins(scene)):
            return False
        until = time.monotonic() + scene.pick.uniform(0, 1.05 * max(0.05, lasts(scene.peace)))
        return command.wait(lambda: time.monotonic() >= until)

    return moment


def said(phase: str) -> Callable[[Scene], bool]:
    return lambda scene: phase in scene.command.times


def between(first: str, last: str) -> Callable[[Undisturbed], float]:
    return lambda peace: peace.lasts(first, last)


def in_search(times: int) -> Moment:
    """While trials are trained, early enough for so many strikes. Without finals the search fills a study's time."""
    return within(lambda scene: scene.place.searching(), lambda peace: 0.8 * peace.lasts("search", "end") / times)


def wait_for(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so; False if it takes too long."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


__all__ = ["Fault", "Peace", "Scene", "Surroundings", "Undisturbed", "alone", "between", "in_search"]
