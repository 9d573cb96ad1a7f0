"""The folders are the architecture: who may import whom, which packages load early, how long a piece may be."""

from __future__ import annotations

import ast
import re
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
        "errors space trial",
        "system",
        "config",
        "regularizers models tasks data",
        "core",
        "executors search tracking",
        "analysis",
        "pages",
        "workspace",
        "driver",
        "finals",
        "publish",
        "export",
        "study",
        "cli testing",
    )
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
STRANGERS = frozenset({"core", "search", "tracking"})
"""These never import one another, whatever their layers."""
STANDARD_ONLY = frozenset({"errors", "space", "trial"})
OWNERS = {
    "optuna": ("search/",),
    "mlflow": ("tracking/",),
    "ray": ("executors/ray.py", "search/ray_tune/"),
}
HEAVY = {"torch", "mlflow", "optuna", "sklearn", "scipy", "matplotlib", "pandas", "pyarrow", "ray", "sqlalchemy"}
LIGHT = ("cli.app", "cli.display", "config", "errors", "space", "study.study", "trial", "tracking.log.outbox")
MOST_CLASS_LINES, MOST_CODE_LINES = 200, 40
MOST_LINES = 350

FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in FILES} - {
    "regsearch"
}


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
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MODULES:
            yield node.value  # which somebody is to import


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def part_of(path: str) -> str:
    """The part a file of the package belongs to, from its path: `core/step.py` is of `core`, `trial.py` of `trial`."""
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
    return RANK[other] < RANK[part] and not {part, other} <= STRANGERS


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
        ("driver/tune.py", "from regsearch.finals.plan import Contender"),
        ("core/step.py", "from regsearch import Study"),
        ("search/optuna.py", "from regsearch.core.pack import Pack"),
        ("tracking/mlflow.py", "def late():\n    from regsearch.search import protocol"),
        ("models/__init__.py", "from regsearch.tasks import Task"),
        ("space.py", "from regsearch.trial import Trial"),
        ("analysis/gaps.py", "from regsearch.study.study import Study"),
        ("study.py", "from regsearch.cli.app import main"),
        ("trial.py", "import numpy as np"),
        ("driver/rounds.py", "import optuna"),
        ("study/runner.py", "import importlib\nimportlib.import_module('mlflow.pyfunc')"),
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


def modules() -> dict[str, Path]:
    """The files of the package by module name."""
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}


def imports_of(sources: dict[str, str]) -> dict[str, set[str]]:
    """For each module those of them that it imports, in functions and for type checking too."""
    return {
        name: {other for other in imported(ast.parse(source)) if other in sources and other != name}
        | {top for other in imported(ast.parse(source)) if (top := other.rpartition(".")[0]) in sources and top != name}
        for name, source in sources.items()
    }


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import one another in a loop."""
    reached = {name: _reached(graph, name) for name in graph}
    looped = {name for name in graph if name in reached[name]}
    groups = {
        tuple(sorted(other for other in looped if other in reached[name] and name in reached[other])) for name in looped
    }
    return sorted(map(list, groups))


def _reached(graph: dict[str, set[str]], name: str) -> set[str]:
    seen: set[str] = set()
    ahead = list(graph[name])
    while ahead:
        other = ahead.pop()
        if other not in seen:
            seen.add(other)
            ahead += graph[other]
    return seen


def test_no_files_import_one_another_in_a_loop() -> None:
    sources = {name: file.read_text(encoding="utf-8") for name, file in modules().items()}
    # A package's own face hands on what is in it.
    faces = {name for name, file in modules().items() if file.name == "__init__.py"}
    graph = imports_of(sources)
    assert circles({name: others - faces for name, others in graph.items() if name not in faces}) == []


def test_a_loop_is_found_though_an_import_is_late() -> None:
    sources = {
        "regsearch.a": "def late():\n    from regsearch.b import x",
        "regsearch.b": "from regsearch.c import x",
        "regsearch.c": "if TYPE_CHECKING:\n    from regsearch.a import x",
        "regsearch.d": "from regsearch.a import x",
    }
    assert circles(imports_of(sources)) == [["regsearch.a", "regsearch.b", "regsearch.c"]]


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Lines of a function's body but for its docstring, blank lines and comments; those of a long text are lines."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    lines = {line for part in body for line in range(part.lineno, (part.end_lineno or part.lineno) + 1)}
    texts = (each for part in body for each in ast.walk(part) if isinstance(each, ast.Constant | ast.JoinedStr))
    within = {line for each in texts for line in range(each.lineno, (each.end_lineno or each.lineno) + 1)}
    code = {line for line in lines if (text := source[line - 1].strip()) and not text.startswith("#")}
    return len(code | within)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_classes_and_functions_are_short(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_CLASS_LINES, node.name
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert code_lines(node, source.splitlines()) <= MOST_CODE_LINES, node.name


def public_definitions(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Classes, functions and methods whose names have no underscore, by their dotted names."""
    for part in node.body:
        if isinstance(part, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not part.name.startswith("_"):
            yield prefix + part.name, part
            if isinstance(part, ast.ClassDef):
                yield from public_definitions(part, f"{prefix}{part.name}.")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_what_is_public_has_a_docstring(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bare = [name for name, node in public_definitions(tree) if not ast.get_docstring(node)]  # type: ignore[arg-type]
    assert bare == []


NO_NOUNS = {"found", "told", "kept"}
# What was found, beside what was stored.
NOUNS_AFTER_ALL = {"study/replay.py": {"found"}}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_results_have_the_name_of_what_they_hold(file: Path) -> None:
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add((node.id if isinstance(node, ast.Name) else node.attr).lstrip("_"))
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    assert names & NO_NOUNS == NOUNS_AFTER_ALL.get(str(file.relative_to(PACKAGE)), set())


NO_VERBS = re.compile(
    r"(a|about|all|an|as|at|by|each|every|for|how|in|its?|no|nothing|of|on|one|other|so|such|that|the|this|those|two|what|when"
    r"|where|whether|which|while|who|whose|why|with)$",
    re.IGNORECASE,
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_what_does_something_says_so_with_a_verb(file: Path) -> None:
    """Properties and classes are things; a name of the package itself, like `g`, opens no sentence either."""
    openings = {}
    for name, node in public_definitions(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and "property" not in "".join(map(ast.unparse, node.decorator_list)):
            openings[name] = re.split(r"[^\w']", ast.get_docstring(node) or "", maxsplit=1)[0]
    wrong = {name: word for name, word in openings.items() if not word.istitle() or NO_VERBS.match(word)}
    assert wrong == {}


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.name == "__init__.py"], ids=lambda file: file.parent.name
)
def test_a_package_says_what_it_hands_on(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [node.target if isinstance(node, ast.AnnAssign) else node.targets[0] for node in assigned]
    assert "__all__" in [target.id for target in targets if isinstance(target, ast.Name)]
    assert ast.get_docstring(tree)


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
