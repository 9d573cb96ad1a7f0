"""One or more studies that live through faults, one after the other, and are then held against the undisturbed run."""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import contents, invariant
from tests.faults.fault import Fault, Peace, Scene
from tests.faults.invariant import Verdict
from tests.faults.setups import NAME

SEEDS = 4
"""How many undisturbed runs a fault with seeds takes at most."""


@dataclass
class Outcome:
    """What came of a life: strikes that landed by fault, and what is wrong with each of its studies."""

    faults: list[str]
    landed: Counter[str] = field(default_factory=Counter)
    studies: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        return [line for verdict in self.verdicts for line in verdict.told()] + self.wrong


def live(plan: list[Fault], folder: Path, seed: str, peace: Peace) -> Outcome:
    """Strike studies with the faults of a plan, all of the same setup and surroundings, and judge them."""
    outcome, begin = Outcome(list(dict.fromkeys(fault.name for fault in plan))), time.monotonic()
    try:
        _live(plan, folder, seed, peace, outcome)
    except Exception as error:  # a violation like any other, to be told with the rest
        outcome.wrong.append(f"{type(error).__name__}: {error}")
    outcome.seconds = time.monotonic() - begin
    if not outcome.told():
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _live(plan: list[Fault], folder: Path, seed: str, peace: Peace, outcome: Outcome) -> None:
    first, pick = plan[0], random.Random(seed)
    study_seed = pick.randrange(SEEDS) if first.seeds else 0
    undisturbed = peace.of(first.setup, study_seed)
    folder.mkdir(parents=True, exist_ok=True)
    with first.around(folder) as around:
        scenes = [
            Scene(
                folder / str(k) if first.studies > 1 else folder,
                first.setup,
                study_seed,
                random.Random(f"{seed}/{k}"),
                around,
                undisturbed,
                f"{NAME}-{k}" if first.studies > 1 else NAME,
            )
            for k in range(first.studies)
        ]
        try:
            for fault in plan:
                _strike(fault, scenes, outcome)
            for scene in scenes:
                _judge(plan, scene, outcome)
        finally:
            for scene in scenes:
                if scene.commands and scene.command.running():
                    scene.command.process.kill()
                    scene.command.end()


def _strike(fault: Fault, scenes: list[Scene], outcome: Outcome) -> None:
    if all(scene.place.answered() for scene in scenes):
        return
    for number, scene in enumerate(scenes):
        scene.codes |= set(fault.codes)
        if number:  # they are not all at the same point of their lives
            time.sleep(scene.pick.uniform(0, 3))
        scene.begin()
    lead = scenes[0]
    if not fault.moment(lead):
        return
    under_way = [scene for scene in scenes if scene.command.running() and not scene.place.answered()]
    landed = fault.strike(lead)
    outcome.landed[fault.name] += landed * len(under_way)
    fault.undo(lead)


def _judge(plan: list[Fault], scene: Scene, outcome: Outcome) -> None:
    ended, peace = scene.to_the_end(), scene.peace
    outcome.studies += 1
    outcome.wrong += scene.wrong
    if ended is None:
        return
    verdict = invariant.judge(ended, peace.ended, fail=any(fault.fails for fault in plan))
    outcome.verdicts.append(verdict)
    for fault in dict.fromkeys(plan):
        outcome.wrong += [f"{fault.name}: {line}" for line in fault.holds(scene, ended, peace)]
    openings = contents.openings(ended.home)
    if any(each != peace.openings[0] for each in openings):
        outcome.wrong.append(f"ledger: another decision: {openings}")
    if not scene.opened[0] <= len(openings) <= scene.opened[1]:
        outcome.wrong.append(f"ledger: {len(openings)} openings, {scene.opened} were made")
    outcome.wrong += _rubbish(scene)


def _rubbish(scene: Scene) -> list[str]:
    home = scene.folder / "mlruns"
    rubbish = [path.name for path in home.glob("mlflow.db*") if path.name not in ("mlflow.db", "mlflow.db.lock")]
    rubbish += [path.name for path in (home / "studies").iterdir() if path.name != scene.name]
    rubbish += [path.name for path in (home / "studies" / scene.name).rglob("*") if path.suffix in (".part", ".check")]
    return [f"left lying about: {rubbish}"] if rubbish else []
