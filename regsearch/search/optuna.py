"""Optuna as the search: samplers, pruners and a journal, driven by ask, report, tell.

The sampler is reseeded for each trial from (study seed, trial number), so a resumed study asks what the undisturbed
one would have asked. Where the draws make up one grid or one sequence over the whole study, the trial takes the one of
its number. Trial 0 is the baseline; it draws nothing and is never pruned.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState as OptunaState

from regsearch.config import SearchConfig
from regsearch.config.fields import Options
from regsearch.errors import UserError
from regsearch.search.clock import CLOCK, PARAMS
from regsearch.search.grid import Grid
from regsearch.search.protocol import Clock, Known, Proposal
from regsearch.search.samplers import CONSTRAINED, STARTUP, Answering, by_chance, make_sampler
from regsearch.search.sequences import Sequence as Points
from regsearch.search.storage import Storage
from regsearch.space import Params, Range, SearchSpace, Value
from regsearch.system.files import JsonObject
from regsearch.trial import Stage, TrialState, derive_seed

_REASON = "regsearch:reason"
_STAGES = "regsearch:stages"
optuna.logging.set_verbosity(optuna.logging.WARNING)


class _Suggest:
    """Draws a space's parameters from an Optuna trial."""

    def __init__(self, trial: OptunaTrial) -> None:
        self._trial = trial

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        choice = self._trial.suggest_categorical(name, choices)
        return choice  # type: ignore[return-value]

    def number(self, of: Range) -> float:
        if of.integer:
            return float(self._trial.suggest_int(of.name, int(of.low), int(of.high), log=of.log))
        return float(self._trial.suggest_float(of.name, of.low, of.high, log=of.log))


class _Recall:
    """Gives the answers that are there, as a sampler would.

    Raises:
        ValueError: an answer is missing, or is none that a sampler may give.
    """

    def __init__(self, answers: Mapping[str, Value]) -> None:
        self._answers = answers

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        if self._answers.get(name) not in choices:
            raise ValueError(f"{name} is {self._answers.get(name)!r}; allowed are {choices}")
        return self._answers[name]

    def number(self, of: Range) -> float:
        value = self._answers.get(of.name)
        if not isinstance(value, float | int) or not of.low <= value <= of.high:
            raise ValueError(f"{of.name} is {value!r}; allowed are numbers from {of.low} to {of.high}")
        return float(value)


def make_pruner(config: SearchConfig, epochs: int) -> optuna.pruners.BasePruner:
    """Build a pruner by its name in the study file; options go to Optuna's class of that name.

    Raises:
        UserError: an option that the pruner does not take.
    """
    first = max(1, round(epochs / 10))
    known: dict[str, tuple[Callable[..., optuna.pruners.BasePruner], Options]] = {
        "asha": (optuna.pruners.SuccessiveHalvingPruner, {"min_resource": first, "reduction_factor": 3}),
        "hyperband": (
            optuna.pruners.HyperbandPruner,
            {"min_resource": first, "max_resource": epochs, "reduction_factor": 3},
        ),
        "median": (optuna.pruners.MedianPruner, {"n_startup_trials": STARTUP, "n_warmup_steps": first}),
        "patient": (optuna.pruners.PatientPruner, {"wrapped_pruner": None, "patience": max(1, epochs // 5)}),
        "none": (optuna.pruners.NopPruner, {}),
    }
    name = config.pruner_name
    maker, defaults = known[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            pruner: optuna.pruners.BasePruner = maker(**{**defaults, **config.pruner_options})
    except (TypeError, ValueError) as error:
        allowed = ", ".join(defaults) or "none"
        raise UserError(str(error), key="search.pruner", value=name, allowed=f"options are {allowed}") from error
    return pruner


class OptunaSearch:
    """A study in one of Optuna's storages; made where that holds no committed turn of it.

    Args:
        name: of the study.
        space: what it draws from.
        config: sampler, pruner and seed.
        storage: where its turns are kept.
        directions: `minimize` or `maximize` for each objective.
        epochs: how long a trial trains at most.
    """

    def __init__(
        self,
        name: str,
        space: SearchSpace,
        config: SearchConfig,
        storage: Storage,
        directions: Sequence[str],
        epochs: int,
    ) -> None:
        self.space, self.config = space, config
        self.several = len(directions) > 1
        self._settled = _settled(config, space)
        self.notes = _notes(config, space)
        self._file, self._storage = storage, storage.optuna
        pruner = optuna.pruners.NopPruner() if self.several else make_pruner(config, epochs)
        self.study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            sampler=self._sampler(0),
            pruner=pruner,
            directions=list(directions),  # type: ignore[arg-type]
            load_if_exists=True,
        )
        self._ids = {t.number: t._trial_id for t in self.study.get_trials(deepcopy=False)}

    def ask(self) -> Proposal:
        """Suggest the next setting; trial 0 is the baseline.

        Raises:
            IndexError: the grid has no more.
        """
        number = len(self._ids)
        return self._begin(number, self._sampler(number))

    def _sampler(self, number: int) -> BaseSampler:
        if self._settled is not None:
            return Answering(self._settled.answers(number) if number else {})
        seed = derive_seed(self.config.seed, "sampler", number) % 2**32
        return make_sampler(self.config.sampler, seed, self.space)

    def enlist(self, params: Params, number: int | None = None) -> Proposal:
        """Take a setting that was chosen elsewhere, recorded as if the sampler had drawn it. Trial 0 is the baseline.

        Args:
            params: the active knobs by flat name.
            number: the trial's, checked; the next one by default.

        Raises:
            ValueError: another number is due, or the space has no such setting.
        """
        due = len(self._ids)
        if number not in (None, due):
            raise ValueError(f"trial {due} is due, not {number}")
        if due:
            answers = self.space.answers(params)
            if self.space.sample(_Recall(answers)) != params:
                raise ValueError(f"the space has no setting {params}")
            self.study.enqueue_trial(answers)
        elif params != self.space.baseline():
            raise ValueError(f"trial 0 is the baseline, not {params}")
        return self._begin(due, optuna.samplers.RandomSampler(seed=0))

    def _begin(self, number: int, sampler: BaseSampler) -> Proposal:
        self.study.sampler = sampler
        trial = self.study.ask()
        if trial.number != number:
            raise RuntimeError(f"the storage holds trial {trial.number} where {number} was due")
        self._ids[number] = trial._trial_id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            params = self.space.baseline() if number == 0 else self.space.sample(_Suggest(trial))
        trial.set_user_attr(PARAMS, params)
        return Proposal(number, params)

    def report(self, number: int, epoch: int, value: float) -> bool:
        """Take one value; False where the trial should be pruned. A value that is not finite prunes."""
        if not math.isfinite(value):
            return False
        if self.several:
            return True
        identifier = self._ids[number]
        self._storage.set_trial_intermediate_value(identifier, epoch, value)
        if number == 0:
            return True
        return not self.study.pruner.prune(self.study, self._storage.get_trial(identifier))

    def tell(
        self,
        number: int,
        state: TrialState,
        value: float | Sequence[float] | None,
        reason: str | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """Tell Optuna how a trial ended."""
        identifier = self._ids[number]
        values = None if value is None else [float(v) for v in (value if isinstance(value, Sequence) else [value])]
        if state is TrialState.COMPLETE and (values is None or not all(map(math.isfinite, values))):
            state, values, reason = TrialState.FAIL, None, reason or "its value is not finite"
        if reason:
            self._storage.set_trial_user_attr(identifier, _REASON, reason)
        for key, attribute in _constraints(constraints or {}).items():
            self._storage.set_trial_system_attr(identifier, key, attribute)
        if state is TrialState.PRUNED and not self.several:
            last = self._storage.get_trial(identifier).intermediate_values
            values = [last[max(last)]] if last else None
        self._storage.set_trial_state_values(identifier, OptunaState[state.value], values)

    def keep_stages(self, number: int, stages: Sequence[Stage]) -> None:
        """Remember how a trial's weights came about, see `regsearch.trial.Trial.stages`."""
        self._storage.set_trial_user_attr(self._ids[number], _STAGES, [stage.to_json() for stage in stages])

    def __len__(self) -> int:
        return len(self._ids)

    def setting(self, number: int) -> Params:
        """Look up the active knobs of a trial as it was asked for."""
        return _plain(self._storage.get_trial(self._ids[number]).user_attrs[PARAMS])

    def commit(self, clock: Clock) -> None:
        """Make everything since the last commit durable, with the clock."""
        self._file.commit(self.study, clock)

    def clock(self) -> Clock | None:
        """Read the clock of the last commit, None before the first."""
        clock: Clock | None = self.study.user_attrs.get(CLOCK)
        return clock

    def trials(self) -> list[Known]:
        """List all trials by number, as they are remembered."""
        known_trials = []
        for trial in self.study.get_trials(deepcopy=False):
            values = tuple(trial.values or ())
            params = _plain(trial.user_attrs.get(PARAMS, {}))
            stages = tuple(Stage(**each) for each in trial.user_attrs.get(_STAGES, ()))
            state, reason = TrialState[trial.state.name], trial.user_attrs.get(_REASON)
            now, value = dict(stages[-1].params) if stages else params, values[0] if values else None
            violation = math.fsum(max(0.0, each) for each in trial.constraints.values())
            known_trials.append(Known(trial.number, now, state, value, reason, stages, values, violation))
        return known_trials


def _settled(config: SearchConfig, space: SearchSpace) -> Grid | Points | None:
    """What each trial draws, where that is settled beforehand."""
    if config.sampler == "grid":
        return Grid(space, config.seed)
    if config.sampler in ("qmc", "sobol", "halton"):
        return Points("halton" if config.sampler == "halton" else "sobol", space, config.seed)
    return None


def _notes(config: SearchConfig, space: SearchSpace) -> list[str]:
    """What a user may not expect of this search."""
    notes = []
    if len(config.objectives) > 1 and config.pruner_name != "none":
        notes.append("several objectives: nothing is pruned")
    if config.constraints and config.sampler not in CONSTRAINED:
        notes.append(f"the sampler {config.sampler} draws without regard to constraints: they decide what is best")
    chance = by_chance(config.sampler, space)
    if chance:
        more = f" and {len(chance) - 3} more" if chance[3:] else ""
        names = f"{', '.join(chance[:3])}{more}"
        notes.append(f"the sampler {config.sampler} draws {names} at random: its model has no place for them")
    return notes


def _constraints(violations: Mapping[str, float]) -> JsonObject:
    """Constraints as Optuna keeps them with a trial."""
    made = optuna.trial.create_trial(state=OptunaState.RUNNING, constraints=dict(violations))
    return dict(made.system_attrs)


def _plain(knobs: Mapping[str, Value]) -> Params:
    return {key: each if isinstance(each, str) else float(each) for key, each in knobs.items()}
