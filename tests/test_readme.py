"""README's examples, run as they stand there; its answer is what the command prints; what it names exists."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.config import load_config
from tests.documents import ROOT, blocks, commands, run, run_both, spoken, write_files
from tests.servers import USER, create_database, execute, mlflow_server, postgres

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs/release.md",
    "benchmarks/results/README.md",
    "regsearch/regularizers/README.md",
    "docker/README.md",
)


STRENGTHS = "Strengths over time and by layer, and how training goes"
DEVICES = "Devices, memory, and workers that are lost"
TUNE = "Ray Tune as the search"
SERVERS = "A study on servers"
OBJECTIVES = "Several objectives"
ELSEWHERE = "Take the model elsewhere"
ENDED = "When a study has its answer"


def patients(path: Path) -> None:
    """120 patients of scikit-learn's breast cancer data as a table from practice: words, a category, missing values."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True)
    table = found.data.iloc[:, :8].head(120).rename(columns=lambda name: name.replace(" ", "_"))
    table["size"] = ["large" if radius > 14 else "small" for radius in table["mean_radius"]]
    table.loc[table.index[::17], "mean_texture"] = None
    table.loc[table.index[::23], "size"] = None
    table["outcome"] = found.target.head(120).map(lambda code: found.target_names[code])
    table.to_csv(path, index=False)


@pytest.mark.sweep
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_your_own_table(tmp_path: Path) -> None:
    patients(tmp_path / "patients.csv")
    init, check, cost, start = commands("README.md", "Your own table")
    run(init, tmp_path)
    plan = run(check, tmp_path)
    assert "classification" in plan
    assert "µs per training step" in run(cost, tmp_path)
    assert not (tmp_path / "mlruns").exists()
    printed = run(start, tmp_path)
    assert re.search(r"^patients: 100 trials ", printed, flags=re.MULTILINE)
    assert re.search(r"On 2\d unseen rows, ", printed)
    found = json.loads(run(["regsearch", "study", "show", "patients", "--json"], tmp_path))
    assert found["trials"]["failed"] == 0
    assert isinstance(found["finals"]["claim"], bool)


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_your_own_model_and_from_python(tmp_path: Path) -> None:
    """It trains packed and nothing is complained of; the Python example goes over that study, as a reader would."""
    write_files("README.md", tmp_path)
    (start,) = commands("README.md", "Your own model")
    answer, said = run_both(start, tmp_path)
    assert "mine: 12 trials" in answer
    assert int(re.search(r"workers? with packs of (\d+)", answer)[1]) > 1  # type: ignore[index]
    assert not re.search("warning|cannot be packed|no champion", said, re.IGNORECASE), said
    found = json.loads(run(["regsearch", "study", "show", "mine", "--json"], tmp_path))
    printed = run(["python", "search.py"], tmp_path)
    assert found["finals"]["sentence"] in printed
    head, *rows = printed.splitlines()[-6:]
    assert head.split() == ["number", "state", "dropout.p", "val_loss", "gap"]
    assert len(rows) == 5
    report, finals, show = commands("README.md", ENDED)
    page = Path(run(report, tmp_path).strip())
    assert found["finals"]["sentence"].partition(" (")[0] in page.read_text(encoding="utf-8")
    assert "test opened once" in run(show, tmp_path)
    assert "test opened 2 times" in run(finals, tmp_path) and "test opened 2 times" in run(show, tmp_path)
    # "Take the model elsewhere" goes on with that study; tests/study/test_deployed.py serves one.
    export, predict, serve = commands("README.md", ELSEWHERE)
    assert "model.onnx" in run(export, tmp_path)
    assert run(predict, tmp_path).count("\n") == 6
    assert serve[1:6] == ["mlflow", "models", "serve", "-m", "models:/mine@champion"]


def test_your_own_model_is_thirty_lines_with_what_people_write() -> None:
    """A residual part, BatchNorm, F.dropout, and a forward pass of its own."""
    (text,) = (block.text for block in blocks("README.md") if block.file == "net.py")
    assert 20 <= len([line for line in text.splitlines() if line.strip()]) <= 30
    for part in ("return h + ", "nn.BatchNorm1d(", "F.dropout(", "def forward(self, x)"):
        assert part in text


def test_strengths_over_time_and_by_layer(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    plan = json.loads(run(["regsearch", "study", "start", "strengths.yaml", "--dry-run", "--json"], tmp_path))
    assert {"l2.strength.schedule", "l2.strength.warmup", "train.momentum"} <= set(plan["searched"])


@pytest.mark.sweep
def test_a_study_on_a_ray_cluster(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    somewhere, here = commands("README.md", DEVICES)
    assert somewhere[:-1] == here[:-1] and here[-2:] == ["--ray", "local"]
    assert "mine: 12 trials" in run(here, tmp_path)


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_ray_tune_as_the_search(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    (line,) = commands("README.md", TUNE)
    answer, said = run_both(line, tmp_path)
    assert "tuned: 24 trials" in answer and "0 failed" in answer
    assert int(re.search(r"(\d+) pruned", answer)[1]) > 0  # type: ignore[index]
    assert not re.search("warning|traceback", said, re.IGNORECASE), said


@pytest.mark.sweep
def test_a_study_on_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files("README.md", tmp_path)
    ((*words, option, address),) = commands("README.md", SERVERS)
    assert words[-2] == "--storage" and option == "--tracking-uri" and address.startswith("http://")
    with postgres() as database, mlflow_server(create_database(database, "mlflow")) as tracking:
        monkeypatch.setenv("DB_PASSWORD", database.uri.split(":")[2].split("@")[0])
        storage = words[-1].replace("me:", f"{USER}:").replace("db.example/studies", database.uri.rpartition("@")[2])
        assert "mine: 12 trials" in run([*words[:-1], storage, option, tracking.uri], tmp_path)
        assert execute(database.uri, "SELECT count(*) FROM trials") == [(12,)]


def test_several_objectives_are_read_as_written(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    search = load_config(tmp_path / "front.yaml").search
    assert search.measures == ("val_loss", "gap", "sparsity") and len(search.constraints) == 1


@pytest.mark.sweep
def test_several_objectives(tmp_path: Path) -> None:
    write_files("README.md", tmp_path)
    start, importance = commands("README.md", OBJECTIVES)
    answer, said = run_both(start, tmp_path)
    assert "front: 60 trials" in answer and "0 pruned" in answer and "Pareto front: " in answer
    assert "keep to sparsity >= 0.2" in answer and "nothing is pruned" in said
    assert "early_stopping.patience" in run(importance, tmp_path)


def test_the_printed_answer_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    spec = importlib.util.spec_from_file_location("refresh", ROOT / "docs" / "refresh.py")
    assert spec is not None and spec.loader is not None
    refresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(refresh)
    (shown,) = (block.text for block in blocks("README.md") if block.language == "text")
    assert shown == refresh.printed(), "write it anew: make docs"
    assert max(map(len, shown.splitlines())) <= 80


def test_every_block_is_run_or_shown_for_a_reason() -> None:
    run_here = {"Your own table", "Your own model", "From Python", STRENGTHS, DEVICES, TUNE, SERVERS}
    run_here |= {OBJECTIVES, ENDED, ELSEWHERE}
    assert {block.section for block in blocks("README.md")} - run_here == {"Two commands", "How to read the answer"}
    for block in blocks("README.md"):
        assert block.language in ("sh", "text") or block.file is not None, block.text


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / document).parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    """Every `make` target, every script and every `regsearch` command that a document names."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in spoken(document):
        program, *words = line.removeprefix(".venv/bin/").split() or [""]
        if program == "make" and words:
            assert re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE), line
        elif program == "python" and words[-1].endswith(".py"):
            assert (ROOT / words[-1]).exists(), line
        elif program == "regsearch" and words and not words[0].startswith("-"):
            named = words[: 2 if words[0] == "study" else 1]
            assert CliRunner().invoke(app, [*named, "--help"], prog_name="regsearch").exit_code == 0, line


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("`make tea`", test_commands_exist),
        ("```sh\nmake tea    # or coffee\n```\n", test_commands_exist),
        ("`.venv/bin/python -m pytest tests/test_tea.py`", test_commands_exist),
        ("`.venv/bin/regsearch brew`", test_commands_exist),
        ("```sh\nregsearch study brew mine.yaml\n```\n", test_commands_exist),
        ("[there](not/there.md)", test_links_lead_somewhere),
    ],
)
def test_what_does_not_exist_is_found(
    text: str, check: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Makefile").write_text("demo:\n")
    (tmp_path / "README.md").write_text(text)
    for module in ("test_readme", "documents"):
        monkeypatch.setattr(f"tests.{module}.ROOT", tmp_path)
    with pytest.raises(AssertionError):
        check("README.md")
