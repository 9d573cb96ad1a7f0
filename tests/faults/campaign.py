"""Lives until every fault has struck often enough, and the table of what came of them."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.drill import Drill
from tests.faults.fault import Fault, Peace
from tests.faults.life import Outcome, live

Strike = Fault | Drill
LIVES = 3
"""How often lives are added for faults that landed too rarely."""


def campaign(root: Path, faults: Sequence[Strike], each: int, seed: int, jobs: int) -> list[Outcome]:
    """Let studies live through these faults, each at least `each` times."""
    peace, outcomes = Peace(root / "undisturbed"), list[Outcome]()
    for turn in range(LIVES):
        landed = sum((outcome.landed for outcome in outcomes), Counter[str]())
        lacking = {fault: each - landed[fault.name] for fault in faults if landed[fault.name] < each}
        if not lacking:
            break
        plans = plan(lacking, together=turn == 0)
        random.Random(f"{seed}/{turn}").shuffle(plans)  # so that two long ones are seldom at work at once
        with ThreadPoolExecutor(jobs) as pool:
            numbers = range(len(outcomes), len(outcomes) + len(plans))
            for outcome in pool.map(lambda k, p: _one(p, root / f"life-{k:03d}", f"{seed}/{k}", peace), numbers, plans):
                outcomes.append(outcome)
    return outcomes


def plan(lacking: dict[Strike, int], together: bool) -> list[list[Strike]]:
    """What each life goes through, so that every fault strikes as often as is lacking.

    Args:
        together: faults of one setup that strike a study once each strike the same study, one after the other.
    """
    plans: list[list[Strike]] = []
    chains: dict[str, list[Strike]] = {}
    for fault, count in lacking.items():
        if isinstance(fault, Fault) and together and fault.chained:
            chains.setdefault(f"{fault.setup.key} {fault.around.__name__}", []).extend([fault] * count)
            continue
        per_life = fault.times * (fault.studies * fault.worth if isinstance(fault, Fault) else 1)
        plans += [[fault] * fault.times for _ in range(-(-count // per_life))]
    for chain in chains.values():
        counts = Counter(chain)
        for k in range(max(counts.values())):
            plans.append([fault for fault, count in counts.items() if k < count])
    return plans


def _one(faults: list[Strike], folder: Path, seed: str, peace: Peace) -> Outcome:
    first = faults[0]
    if isinstance(first, Drill):
        outcome = first.live(folder, seed)
    else:
        outcome = live([fault for fault in faults if isinstance(fault, Fault)], folder, seed, peace)
    told = "; ".join(outcome.told()[:4]) or "as undisturbed"
    print(f"{folder.name}: {', '.join(outcome.faults)}: {told}", file=sys.stderr, flush=True)
    return outcome


def table(faults: Sequence[Strike], outcomes: list[Outcome]) -> str:
    """One row for each fault; a study that lived through several counts for each."""
    rows = [("fault", "strikes", "studies", "lost", "doubled", "running", "answer equal", "seconds")]
    for fault in faults:
        rows.append((fault.name, *_row(fault.name, [each for each in outcomes if fault.name in each.faults])))
    strikes = str(sum(sum(outcome.landed.values()) for outcome in outcomes))
    rows.append(("all", strikes, *_row("", outcomes)[1:]))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{row[0]:{width}}" + "".join(f"{cell:>14}" for cell in row[1:]) for row in rows)


def _row(name: str, mine: list[Outcome]) -> tuple[str, ...]:
    verdicts = [verdict for outcome in mine for verdict in outcome.verdicts]
    studies = sum(outcome.studies for outcome in mine)
    equal = sum(verdict.equal for verdict in verdicts)
    counts = [sum(len(getattr(v, word)) for v in verdicts) for word in ("lost", "doubled", "running")]
    landed, seconds = sum(outcome.landed[name] for outcome in mine), sum(outcome.seconds for outcome in mine)
    said = f"{equal} of {studies}" if studies else "-"
    wrong = sum(bool(outcome.told()) for outcome in mine)
    return str(landed), str(studies), *map(str, counts), said + (f", {wrong} WRONG" if wrong else ""), f"{seconds:.0f}"
