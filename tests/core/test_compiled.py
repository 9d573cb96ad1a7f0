"""A compiled program: the same independence, close to the uncompiled one, and a fall back where it cannot be."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from regsearch.core import pack_function
from regsearch.core.compiling import compile_program, pays
from regsearch.core.pack import Load
from regsearch.core.pack_function import PackFunction, compiler
from regsearch.core.program import Program
from regsearch.models import mlp
from regsearch.tasks import Classification
from regsearch.testing import mlp_case, train
from tests.core.packs import RULES, curves, digits, program, setting

LOADS = {n: Load(n, setting(n) if n else {}, 17 * n + 5) for n in range(8)}


@pytest.fixture(
    scope="module", params=[("adamw", "none"), pytest.param(("sgd", "batch"), marks=pytest.mark.sweep)], ids="-".join
)
def compiled(request: pytest.FixtureRequest) -> Program:
    """Rules that draw numbers, reduce or compare; odd layers and an odd last batch.

    Not AdamW with BatchNorm: the biases before it have no gradient but rounding, which Adam blows up to a whole step.
    """
    optimizer, norm = request.param
    names = ("input_noise", "label_smoothing", "dropout", "l1", "l2", "clip_by_norm", "clip_by_value", "weight_decay")
    training = dataclasses.replace(program((), optimizer).training, batch_size=27)

    def build() -> torch.nn.Module:
        return mlp((64,), 10, hidden=(33, 19), activation="tanh", norm=norm)

    made = Program(build, Classification(10), tuple(RULES[n] for n in (*names, "max_norm", "early_stopping")), training)
    assert compile_program(made, digits(), trials=10**6) is None
    return made


def test_bits_depend_on_neither_width_nor_slot_nor_neighbours(compiled: Program) -> None:
    traced = compiled.traces
    whole = curves(compiled, LOADS, 8)
    assert curves(compiled, {7 - slot: load for slot, load in LOADS.items()}, 8) == whole
    for width, slot, number in ((2, 0, 5), (3, 2, 6), (16, 15, 7), (33, 32, 1)):
        assert curves(compiled, {slot: LOADS[number]}, width)[number] == whole[number]
    assert len({str(curve) for curve in whole.values()}) == 8
    assert compiled.traces == traced + 2, "only the metrics are traced besides, at two widths"


def test_the_uncompiled_program_computes_the_same_up_to_rounding(compiled: Program) -> None:
    plain = Program(compiled.build, compiled.task, compiled.rules, compiled.training)
    ours, theirs = (curves(made, {0: LOADS[3]}, 2, epochs=1)[3][0] for made in (compiled, plain))
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def test_a_neighbour_that_diverges_changes_no_bit(compiled: Program) -> None:
    alone = curves(compiled, {0: LOADS[4]}, 2)[4]
    wild = Load(99, {"train.learning_rate": 1e30}, 1)
    assert curves(compiled, {0: LOADS[4], 1: wild}, 2)[4] == alone


def test_rows_that_the_trials_share_are_found_where_they_lie() -> None:
    """Evaluation hands the same pictures to every trial, without a copy for each."""
    shared = torch.randn(6, 1, 5, 5)

    def arguments(width: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones(width, 25), shared.expand(width, *shared.shape)

    function = PackFunction(lambda w, x: (w * x.flatten(1)).sin())
    function.compile(*arguments(2))
    for width in (2, 33):
        torch.testing.assert_close(function(*arguments(width)), shared.flatten(1).sin().expand(width, 6, 25))


def test_without_a_compiler_the_program_says_so_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiler() is not None, "these tests need a C++ compiler"
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    case = mlp_case((11,))
    made = Program(case.build, case.task, (), case.training)
    assert compile_program(made, case.data, 10) == "there is no C++ compiler"
    assert train(made, case.data, {0: Load(0, {}, 0)}, 2)[0]


def test_a_compiled_graph_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.compile_fx as inductor

    monkeypatch.setattr(inductor, "compile_fx", lambda made, inputs, decompositions: lambda *leaves: [2 * leaves[0]])
    with pytest.raises(pack_function.CannotCompile, match="something else"):
        PackFunction(lambda x: 3 * x).compile(torch.ones(4, 5))


def test_compiling_pays_for_long_studies_alone() -> None:
    assert pays(training_rows=300, batch_size=16, epochs=30, trials=200)
    assert not pays(training_rows=300, batch_size=16, epochs=30, trials=20)
