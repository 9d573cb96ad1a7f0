"""Kills a study at random moments of every phase, goes on, and holds the end against the undisturbed run.

`python -m tests.study.kills [--each 10] [--seed 0] [--jobs 1] [--keep FOLDER]` prints a table and exits 1 on any
violation. A phase is recognised from outside: by files under the study's home and by the lines on standard error. A
kill counts for a phase only if what it left behind says that the phase was under way.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.study import contents
from tests.study.watched import NAME, Command, Place


@dataclass(frozen=True)
class Phase:
    """Where to kill: what to wait for, how long the phase lasts undisturbed, and how to know that it was hit."""

    name: str
    begins: Callable[[Command, Place], bool]
    lasts: Callable[[Command], float]
    hit: Callable[[Command, Place], bool]
    signal: int = signal.SIGKILL


def _said(phase: str) -> Callable[[Command, Place], bool]:
    return lambda command, place: phase in command.times


def _between(first: str, last: str) -> Callable[[Command], float]:
    return lambda undisturbed: undisturbed.times[last] - undisturbed.times[first]


def _whole(command: Command) -> float:
    return command.times["end"] - command.times["starting"]


PHASES = (
    Phase("sealing", lambda c, p: True, lambda c: c.times["starting"] - c.began, lambda c, p: not p.begun()),
    Phase("making the store", lambda c, p: p.making_store(), _between("lock", "store"), lambda c, p: p.making_store()),
    Phase("searching", lambda c, p: p.searching(), _between("search", "finals"), lambda c, p: p.searching()),
    Phase("in finals", _said("finals"), _between("finals", "registering"), lambda c, p: c.phase == "finals"),
    Phase(
        "delivering",
        lambda c, p: (p.writing_store() or c.phase == "delivering") and p.undelivered(),
        lambda c: 0.1,
        lambda c, p: p.undelivered() and not p.answered(),
    ),
    Phase(
        "registering",
        _said("registering"),
        _between("registering", "registered"),
        lambda c, p: c.phase in ("registering", "delivering") and not p.registered(),
    ),
    # Asked to stop, not killed: at any time once the study is there.
    Phase("Ctrl-C", _said("starting"), _whole, lambda c, p: not p.answered(), signal.SIGINT),
    Phase("SIGTERM", _said("starting"), _whole, lambda c, p: not p.answered(), signal.SIGTERM),
)


@dataclass
class Undisturbed:
    """The run that every other is held against."""

    command: Command

    def __post_init__(self) -> None:
        self.answer = contents.answer(self.command.home, NAME)
        self.store = contents.store(self.command.home, NAME)
        self.openings = contents.openings(self.command.home)


def undisturbed(folder: Path) -> Undisturbed:
    """Run the study once in peace, noting when each phase began."""
    command, place = Command(folder, "start", "small.yaml"), Place(folder)
    for word, until in (
        ("lock", place.making_store),
        ("store", place.database.exists),
        ("registered", lambda: "delivering" in command.times and place.registered()),
    ):
        command.wait(until)
        command.times[word] = time.monotonic()
    code = command.end()
    command.times["end"] = time.monotonic()
    if code:
        raise RuntimeError("\n".join(["the undisturbed run failed:", *command.lines]))
    return Undisturbed(command)


@dataclass
class Life:
    """One study, killed in `phases` one after the other, then brought to its end and looked at."""

    folder: Path
    phases: list[Phase]
    seed: str
    hits: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    resumes: int = 0
    opened: list[int] = field(default_factory=lambda: [0, 0])  # processes that surely, and perhaps, opened the test
    wrong: list[str] = field(default_factory=list)

    def live(self, peace: Undisturbed) -> Life:
        try:
            self._live(peace)
        except Exception as error:  # a violation like any other, to be told with the rest
            self.wrong.append(f"{type(error).__name__}: {error}")
        return self

    def _live(self, peace: Undisturbed) -> None:
        pick, place = random.Random(self.seed), Place(self.folder)
        for phase in self.phases:
            command = self._begin(place)
            begun = command.wait(lambda c=command, p=phase: p.begins(c, place))  # type: ignore[misc]
            if begun:
                command.wait(_clock(pick.uniform(0, 1.05 * phase.lasts(peace.command))))
            self._kill(command, phase, place)
        last = self._begin(place)
        code = last.end()
        if code:
            self.wrong.append(f"the last resume ended with {code}: {' / '.join(last.lines[-3:])}")
            return
        self._count(last)
        self._compare(peace)

    def _begin(self, place: Place) -> Command:
        if not place.begun():
            return Command(self.folder, "start", "small.yaml")
        self.resumes += 1
        return Command(self.folder, "resume", NAME)

    def _kill(self, command: Command, phase: Phase, place: Place) -> None:
        if phase.signal == signal.SIGKILL:
            command.process.kill()
        else:
            with suppress(ProcessLookupError):
                (os.killpg if phase.signal == signal.SIGINT else os.kill)(command.process.pid, phase.signal)
        code = command.end()
        self._count(command)
        left = command.left()
        if left:
            self.wrong.append(f"{phase.name}: processes {left} outlive the driver")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if code == 0:
            return
        self.kills += 1
        self.hits[phase.name] += phase.hit(command, place)
        if code != (-9 if phase.signal == signal.SIGKILL else 130):
            self.wrong.append(f"{phase.name}: exit code {code}: {' / '.join(command.lines[-3:])}")
        if any("Traceback" in line for line in command.lines):
            self.wrong.append(f"{phase.name}: {' / '.join(command.lines[-12:])}")

    def _count(self, command: Command) -> None:
        self.opened[0] += "registering" in command.times
        self.opened[1] += "finals" in command.times

    def _compare(self, peace: Undisturbed) -> None:
        home = self.folder / "mlruns"
        self.wrong += contents.differences(contents.answer(home, NAME), peace.answer, "answer")
        self.wrong += contents.differences(contents.store(home, NAME), peace.store, "store")
        openings = contents.openings(home)
        if any(each != peace.openings[0] for each in openings):
            self.wrong.append(f"ledger: another decision: {openings}")
        if not self.opened[0] <= len(openings) <= self.opened[1]:
            self.wrong.append(f"ledger: {len(openings)} openings, {self.opened[0]} to {self.opened[1]} were made")
        rubbish = [path.name for path in home.glob("mlflow.db*") if path.name not in ("mlflow.db", "mlflow.db.lock")]
        rubbish += [path.name for path in (home / "studies").iterdir() if path.name != NAME]
        rubbish += [path.name for path in (home / "studies" / NAME).rglob("*") if path.suffix in (".part", ".check")]
        if rubbish:
            self.wrong.append(f"left lying about: {rubbish}")


def _clock(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def campaign(root: Path, each: int, seed: int, jobs: int, phases: Sequence[Phase] = PHASES) -> list[Life]:
    """Lives until every phase was hit `each` times: in turn one life through all phases, and one life for each."""
    peace = undisturbed(root / "undisturbed")
    lives: list[Life] = []
    for turn in range(3 * each):
        hits = sum((life.hits for life in lives), Counter[str]())
        lacking = [phase for phase in phases if hits[phase.name] < each]
        if not lacking:
            break
        plans = [[phase] for phase in lacking] if turn % 2 else [lacking]
        rounds = max(1, min(jobs, each - min(hits[phase.name] for phase in lacking))) if not turn % 2 else 1
        fresh = [
            Life(root / f"life-{len(lives) + k:03d}", plan, f"{seed}/{len(lives) + k}")
            for k, plan in enumerate(plans * rounds)
        ]
        with ThreadPoolExecutor(jobs) as pool:
            for life in pool.map(lambda life: life.live(peace), fresh):
                lives.append(life)
                if not life.wrong:
                    shutil.rmtree(life.folder, ignore_errors=True)
                told = "; ".join(life.wrong[:4]) or "as undisturbed"
                print(f"{life.folder.name}: {', '.join(p.name for p in life.phases)}: {told}", file=sys.stderr)
    return lives


def table(lives: list[Life]) -> str:
    """Phase, kills that landed in it, resumes of the studies concerned, and whether all ended as undisturbed."""
    rows = [("phase", "landed", "resumes", "verdict")]
    for phase in PHASES:
        mine = [life for life in lives if phase in life.phases]
        wrong = sum(bool(life.wrong) for life in mine)
        verdict = f"{wrong} of {len(mine)} studies WRONG" if wrong else f"{len(mine)} studies as undisturbed"
        landed, resumes = sum(life.hits[phase.name] for life in mine), sum(life.resumes for life in mine)
        rows.append((phase.name, str(landed), str(resumes), verdict))
    kills = sum(life.kills for life in lives)
    rows.append(("all", str(kills), str(sum(life.resumes for life in lives)), f"{len(lives)} studies"))
    return "\n".join(f"{a:18}{b:>8}{c:>9}  {d}" for a, b, c, d in rows)


def main(words: list[str]) -> int:
    """Run the campaign that `words` ask for; 1 where anything was violated or a phase was never hit often enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where studies that went wrong stay")
    given = parser.parse_args(words)
    root = given.keep or Path(tempfile.mkdtemp(prefix="regsearch-kills-"))
    lives = campaign(root, given.each, given.seed, given.jobs)
    print(table(lives))
    hits = sum((life.hits for life in lives), Counter[str]())
    wrong = [life for life in lives if life.wrong]
    for life in wrong:
        print(f"{life.folder}: {'; '.join(life.wrong[:20])}")
    if not given.keep and not wrong:
        shutil.rmtree(root, ignore_errors=True)
    return int(bool(wrong) or any(hits[phase.name] < given.each for phase in PHASES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
