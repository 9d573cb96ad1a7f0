"""A worker that is lost costs no trial: another trains its trials again, and the answer keeps its bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from regsearch.executors.executor import Executor
from regsearch.executors.local import LocalExecutor
from tests.executors.lanes import PARAMS, Curves, said, sealed, trained


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def executor(folder: Path, body: str | None = None, width: int = 4, workers: int = 2) -> Executor:
    return LocalExecutor(sealed(folder, body, workers=workers, width=width), said.append)


def processes(made: Executor) -> list[int]:
    return [slot.handle.process.pid for slot in made.pool.slots.values()]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Of an MLP whose workers nothing disturbs."""
    return trained(executor(tmp_path_factory.mktemp("peace")))[0]


@pytest.fixture(scope="module")
def peace_alone(tmp_path_factory: pytest.TempPathFactory) -> Curves:
    """Of a model that trains one trial at a time."""
    return trained(executor(tmp_path_factory.mktemp("alone"), ALONE + "return h", width=1))[0]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.sweep)])
def test_a_worker_that_is_killed(here: Path, sign: signal.Signals, peace: Curves) -> None:
    disturbed, reasons = trained(executor(here), lambda made: os.kill(processes(made)[1], sign))
    assert disturbed == peace and not any(reasons.values())
    assert said == [f"a pack worker was ended by {sign.name}: another one trains its trials again"]


@pytest.mark.slow
def test_a_worker_that_is_killed_before_it_began(here: Path) -> None:
    settings = sealed(here, "return h", workers=2)
    end = "if not os.path.exists('killed'):\n    open('killed', 'w').close()\n    os.kill(os.getpid(), 9)\n"
    (here / "net.py").write_text((here / "net.py").read_text().replace("class Net", f"{end}\nclass Net", 1))
    said.clear()
    made = LocalExecutor(settings, said.append)
    assert said == ["a pack worker was ended by SIGKILL before it began: another one starts in its place"]
    curves, reasons = trained(made)
    assert not any(reasons.values()) and curves == trained(LocalExecutor(settings, said.append))[0]
    assert not said


@pytest.mark.slow
def test_the_server_that_workers_are_forked_from_is_killed(here: Path, peace: Curves) -> None:
    """They end with it, and others are forked from another one."""

    def kill(made: Executor) -> None:
        server = psutil.Process(processes(made)[0]).parent()
        assert server is not None and server.pid != os.getpid()
        server.kill()

    disturbed, reasons = trained(executor(here), kill)
    assert disturbed == peace and not any(reasons.values())
    assert len(said) == 2, "both workers were lost"


DRIVER = """
import os, time
from pathlib import Path
from tests.executors.lanes import trained
from tests.executors.test_lost import ALONE, executor, processes

def hang(made):
    Path("hang").touch()
    print(*processes(made), flush=True)
    time.sleep(2)
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    body = ALONE + "while os.path.exists('hang'): pass\\nreturn h"
    trained(executor(Path("."), body, width=1), hang)
"""


@pytest.mark.slow
def test_workers_end_in_the_middle_of_a_step_with_a_driver_that_is_killed(here: Path) -> None:
    (here / "driver.py").write_text(DRIVER)
    with subprocess.Popen([sys.executable, "driver.py"], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in driver.stdout.readline().split()]
        family = [*workers, *workers[0].parents()[:1]]
    _, alive = psutil.wait_procs(family, timeout=5)
    assert len(workers) == 2 and not alive


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


@pytest.mark.sweep
def test_a_worker_that_hangs(here: Path, peace: Curves, monkeypatch: pytest.MonkeyPatch) -> None:
    made = executor(here)
    monkeypatch.setattr(made.pool, "answer_within", lambda: 2.0)
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
"""A step takes at least 120 MB for each slot."""


@pytest.mark.sweep
def test_out_of_memory_halves_the_packs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen slots cannot fit into what the worker may have; two fit seven times, but for what fragments."""

    def greedy(width: int) -> Executor:
        return LocalExecutor(sealed(here, GREEDY, lanes=32, workers=1, width=width), said.append)

    peace, _ = trained(greedy(2), epochs=1)
    monkeypatch.setenv("MAY_ADD", str(1_800_000_000))
    made = greedy(16)
    disturbed, reasons = trained(made, epochs=1)
    assert disturbed == peace and not any(reasons.values())
    assert said[0] == "a pack worker ran out of memory: its packs go on with 8 slots"
    assert all("ran out of memory" in line for line in said) and made.width in (2, 4, 8)


@pytest.mark.slow
def test_out_of_memory_while_packs_are_made_halves_them(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one cohort's packs of eight can be made; what the other is told then is told to nobody."""

    def made(width: int) -> Executor:
        said.clear()
        return LocalExecutor(sealed(here, "return h", lanes=16, workers=1, width=width), said.append)

    peace, _ = trained(made(2), epochs=1)
    monkeypatch.setenv("MOST_SLOTS", "2")
    cramped = made(8)
    assert said == [f"a pack worker ran out of memory: its packs go on with {width} slots" for width in (4, 2)]
    assert cramped.width == 2 and trained(cramped, epochs=1)[0] == peace


ALONE = "if float(h.detach().mean()) > -1e9: pass\n"
"""A model whose author looks at the numbers cannot be packed; one trial at a time it can do anything."""
POISONS = {
    "exception": ("raise ValueError('too large')", "failed in epoch 1: failed: ValueError: too large"),
    "end": ("os._exit(3)", "failed in epoch 1: ended with exit code 3"),
    "memory": ("torch.ones(1 << 50)", "failed in epoch 1: ran out of memory"),
    "signal": ("os.kill(os.getpid(), 11)", "failed in epoch 1: was ended by SIGSEGV"),
    "hang": ("time.sleep(1000)", "failed in epoch 1: gave no answer in 2 seconds"),
}


@pytest.mark.sweep
@pytest.mark.parametrize("name", POISONS)
def test_a_trial_that_ends_its_worker_fails_and_its_neighbours_keep_their_bits(
    here: Path, name: str, peace_alone: Curves, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison, reason = POISONS[name]
    made = executor(here, f"{ALONE}if float(h.detach().abs().max()) > 50: {poison}\nreturn h", width=1)
    monkeypatch.setattr(made.pool, "answer_within", lambda: 2.0)
    disturbed, reasons = trained(made, poison=[5])
    assert reasons == dict.fromkeys(range(len(PARAMS))) | {5: reason}
    assert {**disturbed, 5: None} == {**peace_alone, 5: None}


@pytest.mark.sweep
def test_a_round_of_nothing_but_poison_costs_its_own_trials_alone(here: Path, peace_alone: Curves) -> None:
    """Lanes 5 and 7 are one worker's in the second cohort; a trial of no study tells that the worker is sound."""
    poison, reason = POISONS["end"]
    made = executor(here, f"{ALONE}if float(h.detach().abs().max()) > 50: {poison}\nreturn h", width=1)
    disturbed, reasons = trained(made, poison=[5, 7])
    assert reasons == dict.fromkeys(range(len(PARAMS))) | {5: reason, 7: reason}
    assert {**disturbed, 5: None, 7: None} == {**peace_alone, 5: None, 7: None}


@pytest.mark.sweep
def test_what_ends_every_trial_ends_the_study(here: Path) -> None:
    made = executor(here, ALONE + "if len(h) == 32: raise KeyError('no')\nreturn h", width=1)
    with pytest.raises(KeyError, match="no"):
        trained(made)
