"""One whole study of null.py in this process, from its rows to its answer.

Everything between data and answer is regsearch's own: the sealing, the search (with Optuna's storage in memory), the
driver, the packs, the finals, the ledger and the statistics. Left out is what has no say in the answer: MLflow, the
worker processes, compiling and measuring the width of the packs.

Legend: N rows, F features, C outputs, S seeds.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import null_rules  # noqa: F401  (declares the rules that do nothing)
import numpy as np
import optuna
import torch
from null_arms import ARMS, FRESH_ROWS, FRESH_SEEDS, STUDY, TRAIN, VALIDATION, Arm, rows, seed_of
from null_page import plain_test
from null_worker import InProcess, Kept

from regsearch.analysis.finals_summary import summarize
from regsearch.config import StudyConfig, study_space
from regsearch.core.build import load_data
from regsearch.core.knob_rows import Knobs
from regsearch.core.pack import Load
from regsearch.core.program import Program
from regsearch.data import Manifest, decisions, open_test
from regsearch.data.sealing import main as seal_as_ordered
from regsearch.driver.plan import SearchPlan, SearchResult
from regsearch.driver.rounds import RoundDriver
from regsearch.executors.executor import COHORTS, Executor
from regsearch.executors.messages import WorkerSpec
from regsearch.finals.decide import decide, mean_validation
from regsearch.finals.finalists import BASELINE, WINNER, Finalist, choose_finalists
from regsearch.finals.plan import Contender, FinalNumbers, baseline_of, plan_finals
from regsearch.finals.sealed_test import open_sealed_test, stacked
from regsearch.finals.train import train_finals
from regsearch.regularizers import knobs, strength_knobs
from regsearch.search.optuna import OptunaSearch
from regsearch.tracking.log.memory import MemoryTracker
from regsearch.trial import Trial, TrialState, derive_seed
from regsearch.workspace.folder import StudyFolder

Array = np.ndarray[Any, Any]
Rows = tuple[torch.Tensor, ...]


def config_of(name: str, index: int, trials: int = 24, seeds: int = 10) -> StudyConfig:
    arm, seed = ARMS[name], seed_of(name, index)
    less = {"area_under_curve": False} if arm.task == "classification" else {}
    split = {"train": TRAIN, "validation": VALIDATION, "test": arm.test, "seed": seed}
    return StudyConfig.model_validate(
        {
            "name": f"{name}-{index}",
            "data": {"source": "python:null_arms:made", "task": arm.task, "split": split, **less},
            "model": {"name": "mlp", "hidden": [16]},
            "train": {"epochs": arm.epochs, "batch_size": 40, "learning_rate": 1e-2, "compile": False},
            "space": dict(arm.space),
            "search": {"trials": trials, "parallel": 12, "seed": seed, "width": 32, "workers": 1},
            "finalize": {"top": arm.top, "seeds": seeds},
            "folder": str(Path(__file__).parent),
        }
    )


_KEPT: dict[str, Kept] = {}
_SEALERS: list[Pool] = []


def sealed(config: StudyConfig, study: str, out: Path) -> Manifest:
    """The study's rows, cut and sealed in `out` by a process of their own, which lives on and seals the next ones, too:
    to start one for each study costs more than the study.
    """
    if not _SEALERS:
        _SEALERS.append(multiprocessing.get_context("spawn").Pool(1))
    data = config.data.model_dump(mode="json")
    order = {"config": data, "folder": config.folder, "out": str(out), "test": True, "parent": os.getpid()}
    if _SEALERS[0].apply(_seal, (json.dumps(order), study)):
        raise RuntimeError(f"{study} could not be sealed")
    return Manifest.load(out)


def _seal(order: str, study: str) -> int:
    os.environ[STUDY], sys.stdin = study, io.StringIO(order)
    return seal_as_ordered()


class _InMemory:
    """Optuna's storage in memory, which nothing outlives."""

    def __init__(self) -> None:
        self.optuna = optuna.storages.InMemoryStorage()

    def commit(self, study: optuna.Study, clock: Mapping[str, Any]) -> None:
        """Nothing is resumed."""

    def keep(self) -> None:
        """There is nowhere to keep it."""

    def close(self) -> None:
        """Nothing is held."""


def searched(config: StudyConfig, executor: Executor, tracker: MemoryTracker) -> SearchResult:
    """The study's search, carried out to its end."""
    space, plan = study_space(config, knobs()), SearchPlan.of(config, set(), 0)
    search = OptunaSearch(config.name, space, config.search, _InMemory(), list(plan.directions), plan.epochs)
    driver = RoundDriver(search, tracker, executor, plan)
    driver.run()
    return driver.result()


def whole(name: str, index: int, folder: Path, **sizes: int) -> dict[str, Any]:
    """One study from its rows to its answer in an empty folder; what it claims, and what others would have."""
    start = time.perf_counter()
    config, arm = config_of(name, index, **sizes), ARMS[name]
    place, space = StudyFolder(folder, config.name), study_space(config, knobs())
    manifest = sealed(config, f"{name}:{index}", place.data)
    spec = WorkerSpec(0, config.to_json(), str(place.data), space, 0, config.search.width, False)
    kept = _KEPT.get(name) or _KEPT.setdefault(name, Kept(spec))
    kept.take(place.data)
    tracker, program = MemoryTracker(), kept.program
    result = searched(config, InProcess(kept, spec, config.search.parallel), tracker)
    base, ranked = result.baseline, [trial for trial in result.ranked if trial.number]
    if base.state is not TrialState.COMPLETE or not ranked:
        raise RuntimeError(f"{config.name}: the baseline is {base.state}, {len(ranked)} trials are complete")
    entering = choose_finalists(result.ranked, base, space, config.finalize.top, strength_knobs()).finalists
    # In lanes for all of them at once: which lane a trial is in has no say in its curve.
    wide = InProcess(kept, spec, len(entering) * config.finalize.seeds)
    contenders = trained(config, entering, wide, tracker, place)
    best, other = decide(contenders), baseline_of(contenders)
    tested = open_sealed_test(place, program, contenders, best)
    one, zero = tested.of(best).measured, tested.of(other).measured
    assert one is not None and zero is not None, "neither diverged at every seed, or `decide` had refused"
    summary = summarize(one, zero, tested.truth, program.task.metric, seed=config.search.seed)
    found: dict[str, Any] = {
        "arm": name,
        "index": index,
        "claim": summary.claim,
        "same": summary.same,
        "p_better": summary.p_better,
        "gain": list(vars(summary.contrast.gain).values()),
        "winner": summary.winner.label,
        "decisions": decisions(place.ledger, manifest.test_digest),
    }
    # From here on others look at the rows that the study has opened.
    test = tuple(map(torch.from_numpy, open_test(place.data, place.ledger, config.name, "benchmark", {})))
    found["finals"] = {"best": _honest(program, best, test), "baseline": _honest(program, other, test)}
    seen = load_data(place.data)
    parts = {"validation": (seen.validation_x, seen.validation_y), "test": test}
    found["naive"] = _naive(config, program, InProcess(kept, spec, 2 * COHORTS), result, parts)
    if arm.fresh:
        wide = InProcess(kept, spec, 2 * FRESH_SEEDS)
        found["truth"] = _truth(config, arm, program, wide, [best.finalist.trial, base], manifest, place)
    return found | {"seconds": time.perf_counter() - start}


def trained(
    config: StudyConfig, finalists: Sequence[Finalist], executor: Executor, tracker: MemoryTracker, place: StudyFolder
) -> list[Contender]:
    """The finals of these candidates."""
    place.outbox.touch()  # nothing was held before
    contenders = plan_finals(config, finalists, FinalNumbers(place.outbox))
    train_finals(config, contenders, lambda split: nullcontext(executor), tracker, 0, lambda trial: {})
    return contenders


def _outputs(program: Program, trials: list[Trial], weights: list[Any], x: torch.Tensor) -> torch.Tensor:
    """What trained trials give for x [N, F]: [S, N, C]."""
    w, buffers = stacked(program, weights)
    knobs = Knobs(program, len(trials))
    for slot, trial in enumerate(trials):
        knobs.load(slot, trial.params)
    return program.evaluation.outputs(w, buffers, x, knobs.values)


def _loss(program: Program, out: torch.Tensor, y: torch.Tensor) -> float:
    return float(torch.stack([program.task.loss(each, program.task.encode(y)).mean() for each in out]).mean())


def _honest(program: Program, contender: Contender, test: Rows) -> dict[str, float]:
    """The losses of a candidate's finals: the mean one on validation rows, by which it was chosen, and on test rows."""
    x, y = test
    out = _outputs(program, [run.trial for run in contender.runs], [run.weights for run in contender.runs], x)
    return {"validation": mean_validation(contender), "test": _loss(program, out, y)}


def _naive(
    config: StudyConfig, program: Program, executor: Executor, result: SearchResult, parts: Mapping[str, Rows]
) -> dict[str, Any]:
    """What the search's best trial of all and its trial 0 say by themselves, without finals.

    `p`: of a plain two-sided test over the rows, one model against the other: McNemar's exact one for right and wrong,
    Student's paired one for squared errors. `better`: the best one is right more often, or has the smaller errors.
    """
    best, base = result.ranked[0], result.baseline
    weights: dict[int, Any] = {}
    # Trained again: a trial's curve is the same whatever trains beside it, and the search keeps no weights.
    pair = {each.number: each for each in (best, base)}
    again = [Trial(each.number, dict(each.params), each.seed) for each in pair.values()]
    lanes = [COHORTS * k for k in range(len(again))]
    for lane, trial in zip(lanes, again, strict=True):
        executor.hold(lane, Load(trial.number, trial.params, trial.seed), 0)
    for _ in range(config.train.epochs):
        executor.dispatch(0, [], lanes)
        reports = dict(executor.wait(0))
    for lane, trial, before in zip(lanes, again, pair.values(), strict=True):
        weights[trial.number] = executor.weights(lane)
        if reports[lane].metrics["val_loss"] != before.value:
            raise RuntimeError(f"{config.name}: trial {trial.number} is not the same when it is trained again")
    found: dict[str, Any] = {"same": best is base, "best": best.value, "baseline": base.value}
    for part, (x, y) in parts.items():
        out = _outputs(program, again, [weights[each.number] for each in again], x)[[0, -1]]
        predicted, truth = program.task.judged(out.numpy(), y.numpy())
        better, p = plain_test(predicted, truth, counts=config.data.task == "classification")
        found[part] = {"better": better, "p": p, "loss": [_loss(program, each[None], y) for each in out]}
    return found


def _truth(
    config: StudyConfig,
    arm: Arm,
    program: Program,
    executor: Executor,
    pair: list[Trial],
    manifest: Manifest,
    place: StudyFolder,
) -> dict[str, float]:
    """By how much the winner really is better: on fresh rows, by fresh seeds, in the task's metric."""
    x, y = rows(arm, config.search.seed, "fresh", FRESH_ROWS)
    if manifest.target_scale is not None:
        y = ((y - (manifest.target_mean or 0.0)) / manifest.target_scale).astype(np.float32)
    seed = derive_seed(config.search.seed, "fresh")
    other = config.model_copy(
        update={
            "search": config.search.model_copy(update={"seed": seed}),
            "finalize": config.finalize.model_copy(update={"seeds": FRESH_SEEDS}),
        }
    )
    both = [Finalist(trial, (role,)) for trial, role in zip(pair, (WINNER, BASELINE), strict=True)]
    contenders = trained(other, both, executor, MemoryTracker(), place)
    measured = []
    for contender in contenders:
        runs = contender.runs
        out = _outputs(program, [run.trial for run in runs], [run.weights for run in runs], torch.from_numpy(x))
        predicted, truth = program.task.judged(out.numpy(), y)
        if config.data.task == "classification":
            right = predicted == truth
            measured.append(float(np.mean([right[:, truth == label].mean() for label in np.unique(truth)])))
        else:
            measured.append(-float(np.sqrt(((predicted - truth) ** 2).mean(axis=1)).mean()))
    return {"gain": measured[0] - measured[1]}
