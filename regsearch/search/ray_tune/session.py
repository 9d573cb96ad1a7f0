"""Ray Tune as the search: its searchers, schedulers and Tuner, over trials that train in packs.

`tune.Tuner` runs in a thread of the study's process. Each of its trials is a light proxy that asks over a mailbox for
one epoch after another; the driver trains them in packs and answers. What counts is the study's own memory, an Optuna
journal: a trial's number and setting are in it before it trains, and its end is what the memory says. Tune's saved
state, from which `Tuner.restore` goes on, may be older or newer, and is brought in line with it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from regsearch.config import SearchConfig
from regsearch.errors import UserError
from regsearch.search.optuna import OptunaSearch
from regsearch.search.protocol import Clock, Known
from regsearch.search.ray_tune.adapters import Listener, Numbered
from regsearch.search.ray_tune.choices import decisions, make_scheduler, make_searcher
from regsearch.search.ray_tune.encoding import decode, sampled
from regsearch.search.ray_tune.mailbox import Answer, ProxyRequest
from regsearch.search.ray_tune.tuner import TunerThread
from regsearch.space import Params, SearchSpace, Value
from regsearch.trial import Stage, TrialState, derive_seed


class TuneSearch:
    """A study that Ray Tune searches; this process must be in a Ray cluster by then.

    Args:
        memory: the trials' settings and how they ended; also asks, where the algorithm is one of its own.
        space: what it draws from, a number for each layer where asked for.
        folder: of the study: Tune's state goes to `tune` in it.
        metric: the objective.
        maximize: whether more of it is better.
        epochs: how long a trial trains at most.
        total: trials, the baseline included, which Tune has no part in.
        parallel: at most so many proxies at once.
    """

    def __init__(
        self,
        memory: OptunaSearch,
        space: SearchSpace,
        folder: Path,
        *,
        metric: str,
        maximize: bool,
        epochs: int,
        total: int,
        parallel: int,
    ) -> None:
        self.config = memory.config
        self.population = self.config.is_population
        self._memory, self._space, self._folder, self._parallel = memory, space, folder, parallel
        self._metric, self._mode = metric, "max" if maximize else "min"
        self._lock = threading.RLock()
        self._searcher = make_searcher(self.config, space, metric, self._mode)
        self._scheduler = make_scheduler(self.config, space, epochs)
        self._decisions = decisions(self.config, epochs)
        self._numbered = Numbered(self._issue, total - 1, self._searcher)
        self._listener = Listener()
        self._tuner: TunerThread | None = None

    # --- the study's memory, from both threads ------------------------------------------------------------------------

    def trials(self) -> list[Known]:
        """List all trials by number, as they are remembered."""
        with self._lock:
            return self._memory.trials()

    def clock(self) -> Clock | None:
        """Read the clock of the last commit, None before the first."""
        return self._memory.clock()

    def commit(self, clock: Clock) -> None:
        """Make everything since the last commit durable, with the clock."""
        with self._lock:
            self._memory.commit(clock)

    def tell(
        self,
        number: int,
        state: TrialState,
        value: float | Sequence[float] | None,
        reason: str | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Remember how a trial ended."""
        with self._lock:
            self._memory.tell(number, state, value, reason, constraints)
        if state is TrialState.FAIL and number in self._listener.trials:
            self._listener.trials[number].max_failures = 0  # it is no proxy that was lost

    def note(self, number: int, epoch: int, value: float) -> None:
        """Remember a value of a trial under way."""
        with self._lock:
            self._memory.report(number, epoch, value)

    def keep_stages(self, number: int, stages: Sequence[Stage]) -> None:
        """Remember how a population has a trial train."""
        with self._lock:
            self._memory.keep_stages(number, stages)

    def setting(self, number: int) -> Params:
        """Look up the active knobs of a trial as it was issued."""
        with self._lock:
            return self._memory.setting(number)

    def decides(self, epoch: int) -> int:
        """Find the next epoch after this one at which Tune may decide something over a trial, else the last one."""
        return next((each for each in self._decisions if each > epoch), self._decisions[-1])

    def decode(self, flat: Mapping[str, Value]) -> Params:
        """Decode a flat setting, as a population changes it, to its active knobs."""
        return decode(self._space, flat)

    def baseline(self) -> Params:
        """Suggest the setting of trial 0, in which Tune has no part; it is remembered as asked for."""
        with self._lock:
            return self._memory.setting(0) if len(self._memory) else dict(self._memory.ask().params)

    def _issue(self) -> tuple[int, Mapping[str, Value]] | None:
        """The next setting that Tune has none of: one that is remembered, else a new one."""
        with self._lock:
            number = 1 + len(self._numbered.issued)
            if number >= len(self._memory) and not self._draw(number):
                return None
            return number, self._space.answers(self._memory.setting(number))

    def _draw(self, number: int) -> bool:
        """Remember one more setting; False where the searcher has none left."""
        if self.population:
            seed = derive_seed(self.config.seed, "population", number) % 2**32
            self._memory.enlist(decode(self._space, sampled(self._space, seed)))
        elif self._searcher is None:
            self._memory.ask()
        else:
            flat = self._searcher.suggest(f"{number:05d}")
            if not isinstance(flat, dict):
                return False
            self._memory.enlist(decode(self._space, flat))
        return True

    # --- what Tune does meanwhile -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start Tune, or go on from where it was last saved."""
        buffered = len(self._decisions) < self._decisions[-1]
        self._tuner = TunerThread(self._folder, self._parallel, self._listener, buffered)
        self._tuner.open(self._numbered, self._scheduler, self._metric, self._mode)
        for number in sorted(self._numbered.issued):
            if number >= len(self._memory):  # Tune was saved after the memory
                self._memory.enlist(decode(self._space, self._numbered.issued[number]))
        self._tuner.start()

    def requests(self, seconds: float) -> list[ProxyRequest]:
        """Take what proxies ask, after waiting at most this long for something.

        Raises:
            RuntimeError: Tune came to grief.
        """
        assert self._tuner is not None, "Tune was started"
        return self._tuner.requests(seconds)

    def answer(self, answers: Mapping[int, Answer]) -> None:
        """Give proxies their answers, by number of their trials."""
        assert self._tuner is not None, "Tune was started"
        self._tuner.answer(answers)

    def ended(self) -> list[tuple[int, str | None]]:
        """Take the trials that Tune ended since: number, and why if it failed."""
        ended = []
        with contextlib.suppress(queue.Empty):
            while True:
                ended.append(self._listener.ended.get_nowait())
        return ended

    @property
    def proxies(self) -> int:
        """How many proxies there will be at first."""
        with self._lock:
            ended = sum(known.state.ended for known in self._memory.trials() if known.number)
        return min(self._parallel, self._numbered.total_samples - ended)

    @property
    def over(self) -> bool:
        """Whether Tune has come to its end."""
        return self._tuner is not None and self._tuner.over

    def stop(self) -> None:
        """End Tune where it stands."""
        self._listener.stop = True
        if self._tuner is not None:
            self._tuner.stop()


def check(config: SearchConfig, space: SearchSpace, epochs: int) -> None:
    """Refuse an algorithm or a scheduler that cannot be used.

    Raises:
        UserError: says which and why.
    """
    if len(config.objectives) > 1:
        objectives = list(config.objectives)
        raise UserError(
            "Ray Tune searches one objective", key="search.objective", value=objectives, allowed="one, or engine optuna"
        )
    make_searcher(config, space, config.objectives[0], "min")
    make_scheduler(config, space, epochs)
