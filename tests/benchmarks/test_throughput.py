"""The throughput benchmark: what it counts is what is done, and its figures fit one another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from torch.utils.flop_counter import FlopCounterMode

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = {path.stem for path in SCRIPTS.glob("*.py")}
WIDTH = 3


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts see one another by their bare names, as when they are run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in NAMES & set(sys.modules):
        del sys.modules[name]


def stock(case: Any, rows: Any) -> Iterator[int]:
    from peers import stock

    return stock(case, rows, fused=True)


def plain_vmap(case: Any, rows: Any) -> Iterator[int]:
    from peers import plain_vmap

    return plain_vmap(case, rows, WIDTH)


def pack(case: Any, rows: Any) -> Iterator[int]:
    from packs import Packs

    return Packs(case, rows, dropout=False, compiled=False).steps(WIDTH)


def pack_without_independence(case: Any, rows: Any) -> Iterator[int]:
    from packs import Packs, dependent

    with dependent(own_streams=False):
        steps = Packs(case, rows, dropout=True, compiled=False).steps(WIDTH)
        next(steps)
    return steps


def products(case: Any, rows: Any) -> Iterator[int]:
    from products import batched, layers, useful

    sizes = layers(case)
    assert sizes is not None
    return (done // useful(sizes, case.batch) for done in batched(case, WIDTH, padded=False))


@pytest.mark.parametrize(
    ("begin", "trials"),
    [(stock, 1), (plain_vmap, WIDTH), (pack, WIDTH), (pack_without_independence, WIDTH), (products, WIDTH)],
)
def test_a_step_does_the_products_of_as_many_trials_as_it_says(
    begin: Callable[[Any, Any], Iterator[int]], trials: int
) -> None:
    from models import CASES
    from products import layers, useful

    case = CASES["mlp-32"]
    steps = begin(case, case.rows(2 * case.batch))
    next(steps)
    with FlopCounterMode(display=False) as counter:
        assert next(steps) == trials
    assert counter.get_total_flops() == trials * useful(layers(case) or [], case.batch)


def test_padded_products_count_no_more_than_the_useful_part() -> None:
    from models import CASES
    from products import batched

    case = CASES["mlp-32"]
    padded, plain = (batched(case, WIDTH, padded=each) for each in (True, False))
    with FlopCounterMode(display=False) as counter:
        assert next(padded) == next(plain)
    assert counter.get_total_flops() > 2 * next(plain)


def test_independence_is_given_up_in_its_context_alone() -> None:
    from models import CASES
    from packs import Packs, dependent

    case = CASES["mlp-32"]
    rows = case.rows(2 * case.batch)
    parameters = sum(each.numel() for each in case.build().parameters())
    with dependent(own_streams=True):
        without = Packs(case, rows, dropout=True, compiled=False, width=4).calibration.packed.layout.width
    assert (
        without == parameters < Packs(case, rows, dropout=True, compiled=False, width=4).calibration.packed.layout.width
    )


@pytest.mark.sweep
def test_the_script_writes_figures_that_fit_one_another(tmp_path: Path) -> None:
    few = [
        "--repeats",
        "1",
        "--seconds",
        "0.01",
        "--widths",
        "2",
        "--cores",
        "1",
        "--uncompiled",
        "--without-modelbatch",
    ]
    command = [sys.executable, str(SCRIPTS / "throughput.py"), "mlp-32", *few, "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from archive import latest

    file = latest(tmp_path / "out", "throughput")
    result = json.loads(file.read_text())
    model, independence = result["models"]["mlp-32"], result["independence"]["mlp-32"]

    rates = {name: each["median"] for name, each in model["trial_steps_per_second"].items()}
    assert min(rates.values()) > 0
    stock = {name: rate for name, rate in rates.items() if name.startswith("stock")}
    assert len(stock) == 4 and stock[model["best_stock"]] == max(stock.values())
    assert any(name.startswith("plain vmap") for name in rates) and model["failed"] == {"modelbatch": "left out"}
    ours = rates[f"regsearch T={model['width']}"]
    for width, ratio in model["curve"].items():
        assert ratio["median"] == pytest.approx(rates[f"regsearch T={width}"] / max(stock.values()))
    assert set(model["curve"]) == {"2", str(model["width"])} and model["uncompiled"] == "the study file says so"
    assert sum(model["profile"].values()) == pytest.approx(1, abs=1e-3) and min(model["profile"].values()) >= 0
    assert any(operation.startswith("aten::") for operation in model["profile"])

    products = model["products"]
    assert products["step"]["median"] == pytest.approx(ours * products["operations_per_trial_step"] / 1e9)
    for name, share in products["share"].items():
        assert share["median"] == pytest.approx(products["step"]["median"] / products["batched"][name]["median"])

    without = {name: each["median"] for name, each in independence["trial_steps_per_second"].items()}
    rate = without.pop("independent")
    assert independence["ratio"]["median"] == pytest.approx(rate / max(without.values())) and len(without) == 2

    figures = {each["aim"]: each["figure"] for each in result["aims"]}
    assert list(figures.values()) == [model["ratio"]["median"]] * 2 + [independence["ratio"]["median"]]
    assert all(each["met"] == (each["figure"] >= each["wanted"]) for each in result["aims"])
    page = file.with_suffix(".md").read_text()
    assert all(f"| {aim} |" in page and f"{figure:.2f} [" in page for aim, figure in figures.items())
    assert imread(file.with_suffix(".png")).std() > 0.01
