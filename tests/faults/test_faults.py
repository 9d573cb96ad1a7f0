"""A short form of `python -m tests.faults`: each fault strikes once, and every study ends as undisturbed."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import disks
from tests.faults.campaign import Strike, campaign, plan, table
from tests.faults.contents import Contents
from tests.faults.drivers import FAULTS as DRIVER_FAULTS
from tests.faults.fault import Fault
from tests.faults.invariant import Ended, judge
from tests.faults.matrix import FAULTS
from tests.faults.setups import WHOLE

QUICK = ("disk: one bit of a saved trial flipped", "store: eight processes open a fresh one, Optuna's journal")
SLOW = ("driver: kill -9 while searching",)


def _marks(name: str) -> list[pytest.MarkDecorator]:
    if name in QUICK:
        return []
    return [pytest.mark.slow if name in SLOW else pytest.mark.faults]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "fault",
    [pytest.param(each, id=each.name, marks=_marks(each.name)) for each in FAULTS],
)
def test_it_strikes_and_nothing_is_lost(fault: Strike, tmp_path: Path) -> None:
    outcomes = campaign(tmp_path, [fault], each=1, seed=5, jobs=1)
    told = [line for outcome in outcomes for line in outcome.told()]
    assert not told, f"{table([fault], outcomes)}\n{told}"
    assert sum(outcome.landed[fault.name] for outcome in outcomes) >= 1


def test_names_are_told_apart() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names)


def test_faults_of_the_driver_strike_one_study_after_the_other() -> None:
    plans = plan(dict.fromkeys(DRIVER_FAULTS, 2), together=True)
    assert plans == [list(DRIVER_FAULTS)] * 2
    one = DRIVER_FAULTS[0]
    assert isinstance(one, Fault)
    assert (
        plan({replace(one, chained=False, times=3): 10}, together=True)
        == [[replace(one, chained=False, times=3)] * 3] * 4
    )


def ended(folder: Path, trials: int = WHOLE.trials) -> Ended:
    """A study of which everything is there."""
    outbox = folder / "mlruns" / "studies" / "small" / "outbox.jsonl"
    outbox.parent.mkdir(parents=True)
    outbox.write_text('{"type":"metrics","kind":"trial","number":0,"epoch":1,"values":{"gap":0.5},"time_ms":1}\n')
    (folder / "history").mkdir()
    runs = {"trial 0": {"metrics": {"gap 1": ("000000000000e03f", False, 1)}}}
    return Ended(
        folder, WHOLE, "small", {"best": {"number": 0}}, Contents(runs), {n: ("COMPLETE", 1.0) for n in range(trials)}
    )


def test_the_invariant_notices_each_breach(tmp_path: Path) -> None:
    """A judge that never found anything would prove nothing."""
    whole = ended(tmp_path)
    fine = judge(whole, whole)
    assert fine.equal and not fine.told()
    assert judge(replace(whole, store=Contents()), whole).lost == ["trial 0 of the outbox is not in the store"]
    other = {"trial 0": {"metrics": {"gap 1": ("000000000000e13f", False, 1)}}}
    assert judge(replace(whole, store=Contents(other)), whole).lost == ["trial 0: gap of epoch 1"]
    twice = Contents(whole.store.runs, doubled=["trial 3"], running=["trial 4"])
    verdict = judge(replace(whole, store=twice), whole)
    assert (verdict.doubled, verdict.running) == (["trial 3"], ["trial 4"])
    assert judge(replace(whole, trials=whole.trials | {5: ("RUNNING", None)}), whole).running == ["Optuna's trial 5"]
    assert not judge(replace(whole, trials=dict(list(whole.trials.items())[1:])), whole).equal
    assert not judge(replace(whole, answer={"best": {"number": 1}}), whole).equal
    history = tmp_path / "history"
    (history / "ended").write_text('\n{"number": 2, "sta\n{"number": 3, "state": "PRUNED", "value": 1.0}\n')
    assert judge(whole, whole).lost == ["trial 3 had ended PRUNED and is ('COMPLETE', 1.0)"]
    (history / "ended").unlink()
    (history / "outbox").write_text("\n" + json.dumps({"offset": 7, "data": "AAAA"}) + "\n")
    assert judge(whole, whole).lost == ["a commit of 3 bytes at 7 of the outbox"]


def test_torn_lines_are_parts_of_lines(tmp_path: Path) -> None:
    path, pick = tmp_path / "lines", random.Random(0)
    path.write_bytes(b"")
    assert not disks.tear(path, pick)
    path.write_bytes(b"first\nsecond\n")
    for _ in range(20):
        before = path.read_bytes()
        assert disks.tear(path, pick)
        torn = path.read_bytes().removeprefix(before)
        assert torn and not torn.endswith(b"\n") and (b"first".startswith(torn) or b"second".startswith(torn))
        path.write_bytes(before)
