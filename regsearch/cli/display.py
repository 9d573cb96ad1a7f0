"""Shows a study while it runs, on standard error: a live panel on a terminal, plain lines elsewhere.

Drawing is work done beside the training, so a panel is drawn at most three times a second, and a driver asks `due`
before it even gathers what would be shown.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from regsearch.study.progress import Snapshot

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

PANEL_SECONDS = 1 / 3
LINE_SECONDS = 2.0
_BAR = 34


class Display:
    """A `Progress` for people; use it as a context, so that the terminal is left as it was found.

    Args:
        study: the study's name, shown where a snapshot has none.
        stream: where to write, standard error by default.
        clock: seconds, for what is due.
    """

    def __init__(
        self, study: str = "", stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._study = study
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
        self._seconds = PANEL_SECONDS if self._terminal else LINE_SECONDS
        self._start = self._next = clock()
        self._last: Snapshot | None = None
        self._shown = False
        self._later: list[str] = []
        self._live: Live | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        self._say_later()
        self._close_phase()

    def leave(self) -> None:
        """Give the terminal back as it was."""
        if self._live:
            self._live.stop()
            self._live = None

    @property
    def phase(self) -> str:
        """The phase last told of."""
        return self._last.phase if self._last else ""

    def due(self) -> bool:
        """Tell whether anything would be shown now; a new phase is shown in any case."""
        return self._clock() >= self._next or bool(self._later)

    def show(self, snapshot: Snapshot) -> None:
        """Show `snapshot` if one is due or its phase is new."""
        self._say_later()
        elapsed = snapshot.elapsed or self._clock() - self._start
        snapshot = replace(snapshot, study=snapshot.study or self._study, elapsed=elapsed)
        turned = self._last is None or snapshot.phase != self._last.phase
        if not turned and not self.due():
            self._last, self._shown = snapshot, False  # the line that closes the phase will tell it
            return
        if turned:
            self._close_phase()
        self._last, self._shown = snapshot, not self._terminal
        self._next = self._clock() + self._seconds
        if self._terminal:
            self._panel(snapshot)
        else:
            self._write(line(snapshot))

    def later(self, message: str) -> None:
        """Show one line that stays, but not now: a signal may have come in the middle of drawing."""
        self._later.append(message)

    def _say_later(self) -> None:
        while self._later:
            self.say(self._later.pop(0))

    def _close_phase(self) -> None:
        if self._last and not self._shown:
            self.say(line(self._last, last=True))

    def say(self, message: str) -> None:
        """Show one line that stays."""
        if self._live:
            self._live.console.print(message, markup=False, highlight=False, soft_wrap=True)
        else:
            self._write(message)

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _panel(self, snapshot: Snapshot) -> None:
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            # Standard output stays as it is: with --json it belongs to the answer.
            console = Console(file=self._stream, force_terminal=True)
            self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
        self._live.update(panel(snapshot), refresh=True)


def panel(snapshot: Snapshot) -> RenderableType:
    """Render the live panel: seven lines, made for 80 columns."""
    from rich.panel import Panel
    from rich.text import Text

    left = f" of about {clock(snapshot.elapsed + snapshot.eta)}" if snapshot.eta is not None else ""
    body = Text(overflow="fold")
    if _counted(snapshot):
        done = round(_BAR * min(1.0, snapshot.ended / snapshot.total))
        body.append("━" * done, "green").append("─" * (_BAR - done), "bright_black")
        body.append(f"  {snapshot.ended} of {snapshot.total} {_things(snapshot)}\n")
        shown = [f"{count} {word}" for word, count in _counts(snapshot) if count or word == "complete"]
        body.append("   ".join(shown)).append("\n")
    elif snapshot.message:
        body.append(snapshot.message).append("\n")
    if snapshot.best_value is not None:
        body.append("best   ", "bold").append(f"trial {snapshot.best_number}, {_best(snapshot)}\n")
        body.append(f"       {_knobs(snapshot.best_params)}\n", "cyan")
    if snapshot.width:
        body.append("packs  ", "bold").append(_packs(snapshot))
    body.rstrip()
    title = " · ".join(part for part in (snapshot.study, snapshot.phase) if part)
    timer = f"{clock(snapshot.elapsed)}{left}"
    return Panel(body, title=Text(title, "bold"), title_align="left", subtitle=timer, subtitle_align="right")


def line(snapshot: Snapshot, last: bool = False) -> str:
    """Format the snapshot as one plain line; `last` of its phase it tells the time taken, not the time left."""
    parts = [f"{snapshot.phase}: {snapshot.message}" if snapshot.message else snapshot.phase]
    if _counted(snapshot):
        parts[0] += f": {snapshot.ended}/{snapshot.total}"
        parts[0] += "".join(f", {count} {word}" for word, count in _counts(snapshot)[1:3] if count)
    if snapshot.best_value is not None:
        parts.append(f"best {snapshot.best_value:.4g} (trial {snapshot.best_number})")
    if snapshot.trial_steps_per_second:
        parts.append(f"{snapshot.trial_steps_per_second:,.0f} steps/s")
    parts.append(clock(snapshot.elapsed) if last or snapshot.eta is None else f"{clock(snapshot.eta)} left")
    return "; ".join(parts)


def clock(seconds: float) -> str:
    """Format seconds as `1:05`, or `2:00:05` from an hour up."""
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def _counted(snapshot: Snapshot) -> bool:
    """Whether the phase counts anything: one that only says what it does has a message and no trial of its own."""
    return bool(snapshot.total) and bool(snapshot.ended or snapshot.running or not snapshot.message)


def _things(snapshot: Snapshot) -> str:
    return "finals" if snapshot.phase == "finals" else "trials"


def _counts(snapshot: Snapshot) -> list[tuple[str, int]]:
    return [(word, getattr(snapshot, word)) for word in ("complete", "pruned", "failed", "running", "waiting")]


def _best(snapshot: Snapshot) -> str:
    text = f"{snapshot.objective} {snapshot.best_value:.4g}"
    if snapshot.baseline_value is None:
        return text
    return f"{text} (baseline {snapshot.baseline_value:.4g})"


def _knobs(params: Mapping[str, float | str]) -> str:
    on = [f"{n} {v if isinstance(v, str) else f'{v:.3g}'}" for n, v in params.items() if v not in (math.inf, -math.inf)]
    return " · ".join(on) or "every searched regularizer off"


def _packs(snapshot: Snapshot) -> str:
    slots = f"{snapshot.width} slots" if snapshot.width > 1 else "one trial at a time"
    packs = f"{snapshot.workers} × {slots}" if snapshot.workers > 1 else slots
    text = f"{packs}, {100 * snapshot.occupancy:.0f} % busy"
    return f"{text}   {snapshot.trial_steps_per_second:,.0f} trial-steps per second"
