"""The properties that every rule must keep, each a check that raises AssertionError with the rule and the property."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from regsearch.core.pack import Load
from regsearch.core.products import products_agree
from regsearch.regularizers import SITES, Paper, Parameter, all_regularizers
from regsearch.regularizers.base import snake_case
from regsearch.regularizers.penalties import ElementwisePenalty
from regsearch.testing.cases import Case, Reference, Rule, Setting, case_for, program_of, settings, start_of, train
from regsearch.testing.effects import FixedNumbers, pairs

RTOL, ATOL = 1e-4, 1e-6
"""How far a few float32 steps may lie from a reference that adds in another order: stated here, once."""


@contextmanager
def _must(rule: Rule, case: Case | None, keeps: str) -> Iterator[None]:
    """Whatever goes wrong inside is reported as the rule's failure to keep a property.

    Raises:
        RuntimeError: no rule could keep it in this process.
    """
    if not products_agree():
        raise RuntimeError(
            "products of matrices differ from slot to slot here, because torch multiplied before regsearch was "
            "imported: import regsearch first (in conftest.py), or start Python with MKL_CBWR=AVX2"
        )
    where = f" on {case.name}" if case else ""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{rule.name} ({rule.__qualname__}){where}: {keeps}: {error}") from error


def _loads(rule: Rule, some: Sequence[Setting] | None) -> list[Load]:
    """Trial 0 is the baseline; seeds differ, so that numbers of the wrong trial show."""
    chosen = settings(rule) if some is None else some
    return [Load(n, params, 31 * n + 5) for n, params in enumerate([{}, *chosen])]


def check_declaration(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that a declaration is complete and consistent: name, site, docstring, source, knobs with usable bounds."""
    with _must(rule, None, "the declaration is complete, its bounds and off usable"):
        assert rule.site in SITES, f"site {rule.site!r} is none of the ten"
        assert rule.name == snake_case(rule.name), "the name is not in snake case"
        assert inspect.getdoc(rule) and rule.summary(), "there is no docstring"
        source = getattr(rule, "source", None)
        assert isinstance(source, Paper) and source.url.startswith("https://"), (
            "there is no source = Paper(authors, year, url)"
        )
        assert [knob for knob in rule.knobs if knob.is_strength] == [rule.strength_knob]
        for knob in rule.knobs:
            assert knob.name.startswith(f"{rule.name}."), f"{knob.name} does not begin with {rule.name}."
            for text in ("unit", "doc"):
                assert getattr(knob, text), f"{knob.name} has no {text}: knob(..., {text}=...)"
            assert math.isfinite(knob.low) and math.isfinite(knob.high) and knob.low < knob.high, knob.name
            assert not knob.log or knob.low > 0, f"{knob.name} is on a log scale from {knob.low}"
            for value in (knob.low, knob.high, knob.default):
                assert knob.refuse(value) is None, f"{knob.name} = {value} is refused: {knob.refuse(value)}"
            assert knob.off is None or knob.default == knob.off, f"{knob.name} is on by default"
        for params in settings(rule):
            rule.at(dict(params))


def check_off_is_identity(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that at `off`, whatever the other knobs, the effect returns what it was given, exactly."""
    with _must(rule, None, "off is exactly the identity"):
        for params in settings(rule):
            off = params | {rule.strength_knob.name: rule.strength_knob.off}
            at = rule.at({name: torch.tensor(value, dtype=torch.float32) for name, value in off.items()})
            for what, got, expected in pairs(at):
                assert torch.equal(got, expected), f"{what} is not what went in, at {off}"


def check_baseline(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that a trial with the rule off trains to the bit as in a program that does not hold the rule."""
    case = case or case_for(rule)
    with _must(rule, case, "a baseline with the rule off equals a program without it"):
        plain = train(program_of((), case), case.data, {0: Load(0, {}, 5)}, 2)[0]
        shaped = settings(rule)[1] | {rule.strength_knob.name: float(rule.strength_knob.off or 0.0)}
        loads = {0: Load(0, {}, 5), 1: Load(1, shaped, 5)}
        for number, trial in train(program_of((rule,), case), case.data, loads, 2).items():
            assert trial.reason is None, trial.reason
            assert trial.same(plain), f"trial {number} differs from the program without the rule"


def check_it_acts(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that some setting of the searched range changes the training; else there is nothing to search."""
    case = case or case_for(rule)
    with _must(rule, case, "it acts when it is on"):
        program, plain = program_of((rule,), case), Load(0, {}, 5)
        chosen = settings(rule) if some is None else some
        loads = {0: plain} | {n: Load(n, dict(params), 5) for n, params in enumerate(chosen, 1)}
        trained = train(program, case.data, loads, len(loads))
        assert any(trained[n].losses() != trained[0].losses() for n in loads), "no setting changes the training"


def check_slope(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that the slope of an elementwise penalty is the derivative of its penalty; other rules pass."""
    if not issubclass(rule, ElementwisePenalty):
        return
    with _must(rule, None, "the slope is the derivative of the penalty"):
        w = torch.linspace(-1.5, 2.0, 40)
        for params in settings(rule) if some is None else some:
            at = rule.at({name: torch.tensor(float(value)) for name, value in params.items()})
            slope = torch.func.grad(lambda w, at=at: at.penalty([Parameter("w", w, "weight")], FixedNumbers()))(w)
            torch.testing.assert_close(at.slope(w), slope, rtol=RTOL, atol=ATOL)


def check_packed_equals_alone(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that a pack equals the same trials, each in the smallest program, bit for bit on a CPU."""
    case = case or case_for(rule)
    with _must(rule, case, "a pack equals the same trials alone"):
        program, loads = program_of((rule,), case), _loads(rule, some)
        packed = train(program, case.data, dict(enumerate(loads)), len(loads))
        for load in loads:
            alone = train(program, case.data, {load.number % 2: load}, 2)[load.number]
            assert packed[load.number].same(alone), f"differs alone at {load.params}"


def check_slots_permute(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that permuting the slots of a pack permutes the results and changes nothing else."""
    case = case or case_for(rule)
    with _must(rule, case, "permuting slots permutes results"):
        program, loads = program_of((rule,), case), _loads(rule, some)
        straight = train(program, case.data, dict(enumerate(loads)), len(loads))
        turned = train(program, case.data, dict(enumerate(reversed(loads))), len(loads))
        for load in loads:
            assert straight[load.number].same(turned[load.number]), f"differs in another slot at {load.params}"


def check_nan_neighbour(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that a neighbour whose weights and strength are NaN changes no bit."""
    case = case or case_for(rule)
    with _must(rule, case, "a NaN neighbour changes no bit"):
        program, loads = program_of((rule,), case), _loads(rule, some)
        straight = train(program, case.data, dict(enumerate(loads)), len(loads))
        sick = Load(99, {"train.learning_rate": math.nan, rule.strength_knob.name: math.nan}, 1)
        for place in (0, len(loads) - 1):
            beside = train(program, case.data, dict(enumerate(loads)) | {place: sick}, len(loads))
            assert beside[99].reason is not None, "the neighbour was to diverge and did not"
            for load in loads[:place] + loads[place + 1 :]:
                assert straight[load.number].same(beside[load.number]), f"differs beside a NaN at {load.params}"


def check_nothing_retraces(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check that new strengths, off among them, trace and compile nothing anew."""
    case = case or case_for(rule)
    with _must(rule, case, "new strengths retrace nothing"):
        program, loads = program_of((rule,), case), _loads(rule, some)
        train(program, case.data, {0: loads[0]}, 2)
        before = program.traces
        for load in loads:
            train(program, case.data, {0: load}, 2)
        assert program.traces == before, f"{program.traces - before} traces more"


def check_agreement(
    rules: Rule | tuple[Rule, ...],
    reference: Reference,
    case: Case | None = None,
    some: Sequence[Setting] | None = None,
) -> None:
    """Check that packed training agrees with a slow reference of one trial, to float32 rounding."""
    together = rules if isinstance(rules, tuple) else (rules,)
    case = case or case_for(together[0])
    with _must(together[0], case, "agreement with the reference"):
        program, loads = program_of(together, case), _loads(together[0], some)
        packed = train(program, case.data, dict(enumerate(loads)), len(loads))
        for load in loads:
            weights, losses = reference(start_of(program, case, load))
            trial = packed[load.number]
            assert len(losses) == len(trial.curve), f"{len(trial.curve)} epochs, not {len(losses)} at {load.params}"
            for what, got, expected in [
                ("losses", torch.tensor(trial.losses()), torch.tensor(losses)),
                *((name, trial.weights[name], value) for name, value in weights.items() if name in trial.weights),
            ]:
                try:
                    torch.testing.assert_close(got, expected, rtol=RTOL, atol=ATOL)
                except AssertionError as error:
                    raise AssertionError(f"{what} at {load.params}: {error}") from None


Check = Callable[..., None]
PROPERTIES: dict[str, Check] = {
    "declaration": check_declaration,
    "off": check_off_is_identity,
    "baseline": check_baseline,
    "acts": check_it_acts,
    "slope": check_slope,
    "alone": check_packed_equals_alone,
    "permuted": check_slots_permute,
    "nan_neighbour": check_nan_neighbour,
    "retraces": check_nothing_retraces,
}
"""Every property that needs no reference, by a short name; each is called as check(rule, case, settings)."""


def check_all(rule: Rule, case: Case | None = None, some: Sequence[Setting] | None = None) -> None:
    """Check all of `PROPERTIES`, and that the registry knows the rule by its name."""
    assert all_regularizers().get(rule.name) is rule, f"{rule.name} is not in the registry under its name"
    for check in PROPERTIES.values():
        check(rule, case, some)
