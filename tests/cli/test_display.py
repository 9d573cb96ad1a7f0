"""The display: a panel on a real terminal, plain lines in a pipe, and little work for either."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from rich.console import Console

from regsearch.cli.display import Display, clock, line, panel
from regsearch.study.progress import Snapshot

SEARCH = Snapshot(
    study="digits",
    phase="search",
    total=200,
    complete=40,
    pruned=71,
    failed=1,
    running=32,
    waiting=56,
    best_value=0.18342,
    best_number=87,
    best_params={
        "l2.strength": 0.0031,
        "dropout.p": 0.31,
        "clip_by_norm.max_norm": 2.12,
        "early_stopping.patience": float("inf"),
    },
    baseline_value=0.2517,
    width=32,
    workers=2,
    occupancy=0.96,
    trial_steps_per_second=41_200.4,
    elapsed=12.3,
    eta=9.6,
)

# A study of three phases as a driver tells it, in a process of its own, so that standard error is what it is given.
PROGRAM = """
import time
from dataclasses import replace
from regsearch.study.progress import Snapshot
from regsearch.cli.display import Display
from tests.cli.test_display import SEARCH
print("the answer")
with Display("digits") as display:
    display.show(Snapshot(phase="sealing", message="1797 rows", elapsed=1.0))
    for pruned in range(72):
        display.show(replace(SEARCH, pruned=pruned))
    display.later("Ctrl-C: the running round ends")
    time.sleep(0.4)
    display.show(SEARCH)
    display.show(Snapshot(phase="finals", total=20, complete=3, running=17, elapsed=14.0))
"""


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more}


def in_terminal(program: str, **more: str) -> tuple[str, str]:
    """Standard error, a terminal of 80 columns, and standard output, a pipe."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=theirs, env=environment(**more), text=True
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return shown.decode(), out


def test_a_terminal_gets_a_panel_and_keeps_one_line_per_phase() -> None:
    shown, out = in_terminal(PROGRAM, TERM="xterm-256color")
    assert out == "the answer\n"
    text = plain(shown)
    assert "digits · search" in text
    assert "2 × 32 slots, 96 % busy   41,200 trial-steps per second" in text
    assert "Ctrl-C: the running round ends" in text
    closing = re.findall(r"(?:sealing|search|finals): [^\n]*", text)
    assert closing == [
        "sealing: 1797 rows; 0:01",
        "search: 112/200, 71 pruned, 1 failed; best 0.1834 (trial 87); 41,200 steps/s; 0:12",
        "finals: 3/20; 0:14",
    ]
    assert shown.endswith("\n")
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1


@pytest.mark.parametrize("more", [{}, {"FORCE_COLOR": "1"}])
def test_a_pipe_gets_few_plain_lines(more: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment(**more), timeout=30, check=True
    )
    assert done.stdout == "the answer\n"
    assert "\x1b" not in done.stderr
    assert done.stderr.splitlines() == [
        "sealing: 1797 rows; 0:01",
        "search: 41/200, 1 failed; best 0.1834 (trial 87); 41,200 steps/s; 0:10 left",
        "Ctrl-C: the running round ends",
        "search: 112/200, 71 pruned, 1 failed; best 0.1834 (trial 87); 41,200 steps/s; 0:12",
        "finals: 3/20; 0:14",
    ]


def test_a_dumb_terminal_gets_plain_lines() -> None:
    shown, _ = in_terminal(PROGRAM, TERM="dumb")
    assert "\x1b" not in shown
    assert "╭" not in shown


def test_plain_lines_come_at_most_every_two_seconds() -> None:
    now = [0.0]
    stream = io.StringIO()
    with Display("digits", stream, clock=lambda: now[0]) as display:
        for tick in range(100):
            now[0] = tick / 10
            if display.due():
                display.show(SEARCH)
    assert len(stream.getvalue().splitlines()) == 5


def test_the_last_state_of_a_phase_is_told_though_none_was_due() -> None:
    stream = io.StringIO()
    with Display("digits", stream, clock=lambda: 0.0) as display:
        display.show(Snapshot(phase="search", total=10, complete=1, elapsed=1))
        display.show(Snapshot(phase="search", total=10, complete=10, elapsed=2))
    assert stream.getvalue().splitlines() == ["search: 1/10; 0:01", "search: 10/10; 0:02"]


def drawn(snapshot: Snapshot, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(panel(snapshot))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_panel_at_80_columns() -> None:
    assert drawn(SEARCH) == [
        "╭─ digits · search ────────────────────────────────────────────────────────────╮",
        "│ ━━━━━━━━━━━━━━━━━━━───────────────  112 of 200 trials                        │",
        "│ 40 complete   71 pruned   1 failed   32 running   56 waiting                 │",
        "│ best   trial 87, val_loss 0.1834 (baseline 0.2517)                           │",
        "│        l2.strength 0.0031 · dropout.p 0.31 · clip_by_norm.max_norm 2.12      │",
        "│ packs  2 × 32 slots, 96 % busy   41,200 trial-steps per second               │",
        "╰───────────────────────────────────────────────────────── 0:12 of about 0:22 ─╯",
    ]


def test_the_panel_before_anything_is_known() -> None:
    lines = drawn(Snapshot(study="digits", phase="sealing", message="cutting the data", total=200, elapsed=1))
    assert "cutting the data" in lines[1]
    assert len(lines) == 3


def test_the_best_may_be_the_baseline() -> None:
    assert any(
        "every searched regularizer off" in each for each in drawn(Snapshot(total=1, complete=1, best_value=1.0))
    )


def test_times() -> None:
    assert [clock(seconds) for seconds in (0, 5.4, 65, 3600, 7205)] == ["0:00", "0:05", "1:05", "1:00:00", "2:00:05"]
    assert line(Snapshot(phase="sealing")) == "sealing; 0:00"


def test_thirty_seconds_of_panels_cost_little() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    now = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm-256color")
        display = Display("digits", Terminal(), clock=lambda: now[0])
    with display:
        display.show(SEARCH)  # imports rich
        start, drawings = time.process_time(), 0
        for tick in range(1200):
            now[0] = tick * 0.025
            if display.due():
                display.show(SEARCH)
                drawings += 1
        spent = time.process_time() - start
    assert 80 <= drawings <= 120
    assert spent <= 0.3
