"""The folders are the architecture: who may import whom, which packages load early, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "regsearch"

# From the bottom up: a part imports from layers below its own, and from itself.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "collector errors guard space trial",
        "addresses files",
        "databases",
        "config",
        "regularizers models tasks data",
        "core",
        "executors search tracking",
        "analysis",
        "pages",
        "answer books costing description display driver ending entrants export fetch finalizing finals front "
        "importance locks machine packaging refit replay reporting run searching standing stores study tune_driver "
        "tune_lanes verdict",
        "cli commands printing starter testing __main__",
    )
)
# In these layers the parts are single files that also see one another.
OPEN_LAYERS = LAYERS[-2:]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
STRANGERS = frozenset({"core", "search", "tracking"})
"""These never import one another, whatever their layers."""
STANDARD_ONLY = frozenset({"errors", "guard", "space", "trial"})
OWNERS = {
    "optuna": ("search/",),
    "mlflow": ("tracking/",),
    "ray": ("executors/ray.py", "search/ray_tune/"),
}
HEAVY = {"torch", "mlflow", "optuna", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "ray", "sqlalchemy"}
LIGHT = ("cli", "config", "display", "errors", "space", "trial", "tracking.outbox")
MOST_LINES = 350

FILES = sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module that a file imports, in functions and for type checking too, by full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            # `from regsearch import study` names the part only here.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def part_of(path: str) -> str:
    """The part a file of the package belongs to, from its path: `core/step.py` is of `core`, `cli.py` of `cli`."""
    return path.split("/")[0].removesuffix(".py")


def offences(path: str, source: str) -> list[str]:
    """What the file at `path` (within the package) imports and may not."""
    part, found = part_of(path), []
    for name in imported(ast.parse(source)):
        top, _, rest = name.partition(".")
        if top == "regsearch":
            other = rest.split(".")[0]
            # What is no part is a name of the package's own face, which the study's layer gives.
            if not _may_import(part, other if other in RANK else "study"):
                found.append(f"{path} imports regsearch.{rest}")
            continue
        if part in STANDARD_ONLY and top not in sys.stdlib_module_names:
            found.append(f"{path} imports {name}, and is standard library only")
        if top in OWNERS and not path.startswith(OWNERS[top]):
            found.append(f"{path} imports {name}, which is for {', '.join(OWNERS[top])}")
    return found


def _may_import(part: str, other: str) -> bool:
    if part == other or part == "__init__":
        return True
    if {part, other} <= STRANGERS:
        return False
    if RANK[part] == RANK[other]:
        return LAYERS[RANK[part]] in OPEN_LAYERS
    return RANK[other] < RANK[part]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path) -> None:
    path = file.relative_to(PACKAGE).as_posix()
    assert part_of(path) in {*RANK, "__init__"}, f"{path} is of no layer: place it in LAYERS"
    assert offences(path, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/step.py", "import regsearch.search.optuna"),
        ("core/step.py", "from regsearch import driver"),
        ("core/step.py", "from regsearch import Study"),
        ("search/optuna.py", "from regsearch.core.pack import Pack"),
        ("tracking/mlflow.py", "def late():\n    from regsearch.search import protocol"),
        ("models/__init__.py", "from regsearch.tasks import Task"),
        ("space.py", "from regsearch.trial import Trial"),
        ("analysis/gaps.py", "from regsearch.study.study import Study"),
        ("study.py", "from regsearch.cli.app import main"),
        ("trial.py", "import numpy as np"),
        ("driver.py", "import optuna"),
        ("run.py", "import importlib\nimportlib.import_module('mlflow.pyfunc')"),
        ("executors/local.py", "import ray"),
    ],
)
def test_what_points_up_is_found(path: str, source: str) -> None:
    assert len(offences(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/step.py", "import torch\nfrom regsearch.regularizers.base import Context"),
        ("search/optuna.py", "import optuna\nfrom regsearch.space import SearchSpace"),
        ("search/ray_tune/session.py", "from ray import tune"),
        ("executors/ray.py", "import ray\nfrom regsearch.core.pack import Pack"),
        ("study.py", "from regsearch.study.runner import Run"),
        ("trial.py", "import hashlib"),
        ("__init__.py", "from regsearch.study.study import Study"),
    ],
)
def test_what_points_down_is_allowed(path: str, source: str) -> None:
    assert offences(path, source) == []


def test_help_and_refusals_load_nothing_heavy() -> None:
    modules = ", ".join(f"regsearch.{name}" for name in LIGHT)
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("folder", ["regsearch", "tests", "benchmarks"])
def test_files_are_short_or_say_why_not(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= MOST_LINES or "long because" in lines[0].lower(), f"{file.name}: {len(lines)} lines"
