"""A worker that is lost costs no trial: another trains its trials again, and the answer keeps its bits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from regsearch.config import load_config
from regsearch.core.pack import Load
from regsearch.data import seal
from regsearch.driver import train_all
from regsearch.executors.base import Executor
from regsearch.executors.local import LocalExecutor
from regsearch.trial import Report, Trial

STUDY = """
name: small
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: MODEL
train: {epochs: 4, batch_size: 32, learning_rate: 5.0e-3}
space: {dropout: search, l2: search}
"""
# What a model does in the worker, at import or in a step, is up to its author. `act` is called in training on hidden
# activations; those of a trial with a learning rate of 1000 are huge.
MODEL = """
import os, resource, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.dropout, self.out = nn.Linear(inputs, 16), nn.Dropout(0.0), nn.Linear(16, outputs)

    def forward(self, x):
        h = self.dropout(self.hidden(x).relu())
        if self.training:
            h = act(h)
        return self.out(h)

def build(inputs, outputs):
    if "MAY_ADD" in os.environ and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + int(os.environ["MAY_ADD"]), resource.RLIM_INFINITY))
    return Net(inputs[0], outputs)

def act(h):
    BODY
"""
PARAMS: list[Mapping[str, float]] = [{}, {"dropout.p": 0.4}, {"l2.strength": 0.01}, {"dropout.p": 0.2}] * 2
POISON = {"train.learning_rate": 1000.0}

Curves = dict[int, list[Report]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executor(folder: Path, body: str | None = None, width: int = 4, workers: int = 2) -> Executor:
    """Workers for the digits, whose model does `body` to its hidden activations; without, it is an MLP."""
    model = "{name: mlp, hidden: [16]}" if body is None else '{factory: "net:build"}'
    (folder / "small.yaml").write_text(STUDY.replace("MODEL", model))
    (folder / "net.py").write_text(MODEL.replace("BODY", (body or "return h").replace("\n", "\n    ")))
    config = load_config(folder / "small.yaml")
    if not (folder / "data").exists():
        seal(config.data, config.folder, folder / "data")
    names = ("dropout", "l2")
    return LocalExecutor(config.to_json(), str(folder / "data"), names, len(PARAMS), workers, width, False, said.append)


said: list[str] = []


def trained(
    made: Executor, disturb: Callable[[Executor], None] | None = None, poison: int | None = None
) -> tuple[Curves, dict[int, str | None]]:
    """The curve of each trial, and why it failed; `disturb` is called once, in the second round."""
    said.clear()
    params = [dict(each) for each in PARAMS]
    if poison is not None:
        params[poison] = dict(POISON)
    trials = [Trial(number, each, 31 * number + 5) for number, each in enumerate(params)]
    rounds, original = 0, made.dispatch

    def dispatch(cohort: int, loads: list[tuple[int, Load, int]], lanes: list[int], waited_for: bool = False) -> None:
        nonlocal rounds
        rounds += 1
        original(cohort, loads, lanes, waited_for)
        if rounds == 4 and disturb is not None:
            disturb(made)

    made.dispatch = dispatch  # type: ignore[method-assign]
    weights: dict[int, str] = {}
    try:
        train_all(made, trials, 4, lambda trial, found: weights.update({trial.number: str(found)}))
    finally:
        made.close()
    assert set(weights) == set(range(len(PARAMS))) and (poison is None) == ("{}" not in weights.values())
    return {trial.number: trial.reports for trial in trials}, {trial.number: trial.reason for trial in trials}


def processes(made: Executor) -> list[int]:
    return [post.member.process.pid for post in made._crew.values()]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Of an MLP whose workers nothing disturbs."""
    return trained(executor(tmp_path_factory.mktemp("peace")))[0]


@pytest.fixture(scope="module")
def peace_alone(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Of a model that trains one trial at a time."""
    return trained(executor(tmp_path_factory.mktemp("alone"), ALONE + "return h", width=1))[0]


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.sweep)])
def test_a_worker_that_is_killed(here: Path, sign: signal.Signals, peace: Curves) -> None:
    disturbed, reasons = trained(executor(here), lambda made: os.kill(processes(made)[1], sign))
    assert disturbed == peace and not any(reasons.values())
    assert said == [f"a pack worker was ended by {sign.name}: another one trains its trials again"]


@pytest.mark.sweep
def test_every_worker_is_killed_again_and_again(here: Path, peace: Curves) -> None:

    def kill(made: Executor) -> None:
        stopped.clear()

        def often() -> None:
            for _ in range(4):
                for process in processes(made):
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                stopped.wait(1.5)

        thread = threading.Thread(target=often)
        thread.start()
        threads.append(thread)

    stopped, threads = threading.Event(), list[threading.Thread]()
    disturbed, _ = trained(executor(here), kill)
    threads[0].join()
    assert disturbed == peace and len(said) >= 2


@pytest.mark.slow
def test_a_worker_that_hangs(here: Path, peace: Curves) -> None:
    made = executor(here)
    made._lease = lambda: 2.0  # type: ignore[method-assign]
    stopped: list[int] = []

    def stop(made: Executor) -> None:
        stopped.append(processes(made)[0])
        os.kill(stopped[0], signal.SIGSTOP)

    disturbed, _ = trained(made, stop)
    assert disturbed == peace
    assert said == ["a pack worker gave no answer in 2 seconds: another one trains its trials again"]
    with pytest.raises(ProcessLookupError):
        os.kill(stopped[0], signal.SIGCONT)


GREEDY = "return h + 0 * (h.unsqueeze(-1) * torch.ones(60_000)).mean(-1)"
"""A step takes 250 MB and more for each slot."""


@pytest.mark.slow
def test_out_of_memory_halves_the_packs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peace, _ = trained(executor(here, GREEDY, width=2, workers=1))
    monkeypatch.setenv("MAY_ADD", str(1_700_000_000))
    made = executor(here, GREEDY, width=4, workers=1)
    disturbed, reasons = trained(made)
    assert disturbed == peace and not any(reasons.values())
    assert said == ["a pack worker ran out of memory: its packs go on with 2 slots"]
    assert made.width == 2


ALONE = "if float(h.detach().mean()) > -1e9: pass\n"
"""A model whose author looks at the numbers cannot be packed; one trial at a time it can do anything."""
POISONS = {
    "exception": ("raise ValueError('too large')", "failed in epoch 1: failed: ValueError: too large"),
    "end": ("os._exit(3)", "failed in epoch 1: ended with exit code 3"),
    "memory": ("torch.ones(1 << 50)", "failed in epoch 1: ran out of memory"),
    "signal": ("os.kill(os.getpid(), 11)", "failed in epoch 1: was ended by SIGSEGV"),
    "hang": ("time.sleep(1000)", "failed in epoch 1: gave no answer in 2 seconds"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=pytest.mark.slow if each == "end" else pytest.mark.sweep) for each in POISONS]
)
def test_a_trial_that_ends_its_worker_fails_and_its_neighbours_keep_their_bits(
    here: Path, name: str, peace_alone: Curves
) -> None:
    poison, reason = POISONS[name]
    made = executor(here, f"{ALONE}if float(h.detach().abs().max()) > 50: {poison}\nreturn h", width=1)
    made._lease = lambda: 2.0  # type: ignore[method-assign]
    disturbed, reasons = trained(made, poison=5)
    assert reasons == dict.fromkeys(range(len(PARAMS))) | {5: reason}
    assert {**disturbed, 5: None} == {**peace_alone, 5: None}


def test_what_ends_every_trial_ends_the_study(here: Path) -> None:
    made = executor(here, ALONE + "if len(h) == 32: raise KeyError('no')\nreturn h", width=1)
    with pytest.raises(KeyError, match="no"):
        trained(made)
