"""The examples of the pages run as they stand there."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regsearch.config import load_config
from tests.documents import blocks, commands, run, run_both, write_files
from tests.servers import USER, create_database, execute, mlflow_server, model_server, postgres

SERVING = "docs/howto/export-and-serve.md"
OWN_MODEL, OWN_DATA, IN_PYTHON = "docs/start/own-model.md", "docs/howto/own-data.md", "docs/howto/notebooks.md"
SAMPLERS, OBJECTIVES = "docs/howto/samplers-and-pruners.md", "docs/howto/several-objectives.md"


def patients(path: Path) -> None:
    """120 patients of scikit-learn's breast cancer data as a table from practice: words, a category, missing values."""
    from sklearn.datasets import load_breast_cancer

    cancer = load_breast_cancer(as_frame=True)
    table = cancer.data.iloc[:, :8].head(120).rename(columns=lambda name: name.replace(" ", "_"))
    table["size"] = ["large" if radius > 14 else "small" for radius in table["mean_radius"]]
    table.loc[table.index[::17], "mean_texture"] = None
    table.loc[table.index[::23], "size"] = None
    table["outcome"] = cancer.target.head(120).map(lambda code: cancer.target_names[code])
    table.to_csv(path, index=False)


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_what_a_study_costs(tmp_path: Path) -> None:
    patients(tmp_path / "patients.csv")
    init, _, cost, _ = commands("docs/start/own-table.md", "Your own table")
    run(init, tmp_path)
    assert "µs per training step" in run(cost, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_your_own_model_and_from_python(tmp_path: Path) -> None:
    """It trains packed and nothing is complained of; other pages go over that study, as a reader would."""
    write_files(OWN_MODEL, tmp_path)
    write_files(IN_PYTHON, tmp_path)
    start, *_ = commands(OWN_MODEL, "Your own model")
    answer, said = run_both(start, tmp_path)
    assert "mine: 12 trials" in answer
    assert int(re.search(r"workers? with packs of (\d+)", answer)[1]) > 1  # type: ignore[index]
    assert not re.search("warning|cannot be packed|no champion", said, re.IGNORECASE), said
    shown = json.loads(run(["regsearch", "study", "show", "mine", "--json"], tmp_path))
    printed = run(["python", "search.py"], tmp_path)
    assert shown["finals"]["sentence"] in printed
    head, *rows = printed.splitlines()[-6:]
    assert head.split() == ["number", "state", "dropout.p", "val_loss", "gap"]
    assert len(rows) == 5
    report, finals, show = commands("docs/howto/finals.md", "Finals again, and the report")
    page = Path(run(report, tmp_path).strip())
    assert shown["finals"]["sentence"].partition(" (")[0] in page.read_text(encoding="utf-8")
    assert "test opened once" in run(show, tmp_path)
    again = run(finals, tmp_path)
    assert "mine: 12 trials (" in again and "trial-steps" not in again, "nothing was searched this time"
    assert "test opened 2 times" in again and "test opened 2 times" in run(show, tmp_path)
    (replay,) = commands("docs/howto/resume-and-move.md", "Train a trial again")
    assert "every one to the last bit" in run(replay, tmp_path)
    # The champion of that study; tests/study/test_deployed.py serves one.
    export, predict = commands(SERVING, "As a folder")
    assert "model.onnx" in run(export, tmp_path)
    assert run(predict, tmp_path).count("\n") == 6
    the_server_answers_as_the_page_shows(tmp_path)


def the_server_answers_as_the_page_shows(folder: Path) -> None:
    """Serve the champion of `mine`, send what the page sends, and hold the answer against that of the folder."""
    (setting, *serve), (program, address, *options) = commands(SERVING, "As a server")
    assert serve[:-1] == [
        "mlflow",
        "models",
        "serve",
        "-m",
        "models:/mine@champion",
        "--env-manager",
        "local",
        "--port",
    ]
    assert program == "curl" and address == f"http://127.0.0.1:{serve[-1]}/invocations"
    assert options == ["-H", "Content-Type: application/json", "--data", "@request.json"]
    request, answer = (block.text for block in blocks(SERVING) if block.language == "json")
    store = setting.removeprefix("MLFLOW_TRACKING_URI=").replace("mlruns", str(folder / "mlruns"))
    with model_server(serve[4], store, folder) as server:
        kind = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{server}/invocations", data=request.encode(), headers=kind)
        with urllib.request.urlopen(asked, timeout=60) as reply:
            predictions = pd.DataFrame(json.loads(reply.read())["predictions"])
    shown = pd.DataFrame(json.loads(answer)["predictions"])
    assert list(predictions) == list(shown) and len(predictions) == len(shown)
    np.testing.assert_allclose(predictions.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(shown.sum(axis=1), 1.0, atol=1e-3)
    table = json.loads(request)["dataframe_split"]
    pd.DataFrame(table["data"], columns=table["columns"]).to_csv(folder / "asked.csv", index=False)
    alone = run(["python", "champion/predict.py", "asked.csv"], folder)
    np.testing.assert_allclose(predictions, pd.read_csv(io.StringIO(alone)), rtol=1e-4)


def test_your_own_model_is_thirty_lines_with_what_people_write() -> None:
    """A residual part, BatchNorm, F.dropout, and a forward pass of its own."""
    (text,) = (block.text for block in blocks(OWN_MODEL) if block.file == "net.py")
    assert 20 <= len([line for line in text.splitlines() if line.strip()]) <= 30
    for part in ("return h + ", "nn.BatchNorm1d(", "F.dropout(", "def forward(self, x)"):
        assert part in text


@pytest.mark.parametrize(
    ("page", "section", "searched"),
    [
        ("docs/howto/strengths.md", None, {"l2.strength.schedule", "l2.strength.warmup", "train.momentum"}),
        ("docs/howto/own-model.md", "Where regularizers act", {"dropout.p", "stochastic_depth.p"}),
        (OWN_DATA, "A function of your own", {"dropout.p"}),
        (OWN_DATA, "Rows with a date", {"dropout.p"}),
    ],
)
def test_plans_are_made_as_the_pages_say(page: str, section: str | None, searched: set[str], tmp_path: Path) -> None:
    write_files(page, tmp_path)
    line, *_ = commands(page, section or "Strengths over time and by layer")
    plan = json.loads(run([*line, "--json"], tmp_path))
    assert "--dry-run" in line and searched <= set(plan["searched"])


def test_rows_with_a_date_are_judged_by_later_ones(tmp_path: Path) -> None:
    write_files(OWN_DATA, tmp_path)
    plan, _ = commands(OWN_DATA, "Rows with a date")
    printed = run(plan, tmp_path)
    assert re.search(r"^data\.split +by time, the latest in the test \(column day\): 3\d\d train, 12\d ", printed, re.M)
    assert re.search(r"^data\.rows left out +14 of 600 \(data\.split\.embargo\)$", printed, re.M)
    assert re.search(r"^day +no feature: the split goes by it$", printed, re.M)
    assert re.search(r"^month +1 number$", printed, re.M) and "dates as words" not in printed
    file = tmp_path / "visits.yaml"
    file.write_text(
        file.read_text(encoding="utf-8").replace("by: {time: day}, embargo: 7", "seed: 0"), encoding="utf-8"
    )
    assert "data.dates as words" in run(plan, tmp_path), "as the page says of a split that does not name it"


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("section", "name"), [("A function of your own", "services"), ("Rows with a date", "visits")])
def test_rows_of_a_function(section: str, name: str, tmp_path: Path) -> None:
    write_files(OWN_DATA, tmp_path)
    _, start = commands(OWN_DATA, section)
    assert f"{name}: 8 trials" in run(start, tmp_path)


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_a_space_that_is_filled_evenly(tmp_path: Path) -> None:
    write_files(SAMPLERS, tmp_path)
    (line,) = commands(SAMPLERS, "How settings are drawn")
    assert "even: 16 trials" in run(line, tmp_path)


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_studies_are_compared(tmp_path: Path) -> None:
    page = "docs/howto/compare.md"
    write_files(page, tmp_path)
    *starts, compare = commands(page, "Compare studies and methods")
    for start in starts:
        run(start, tmp_path)
    assert "with_dropout" in run(compare, tmp_path)
    assert (tmp_path / "comparison.html").exists() and (tmp_path / "comparison.csv").exists()


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_a_study_on_a_ray_cluster(tmp_path: Path) -> None:
    write_files(OWN_MODEL, tmp_path)
    somewhere, here = commands("docs/howto/ray-cluster.md", "A Ray cluster")
    assert somewhere[:-1] == here[:-1] and here[-2:] == ["--ray", "local"]
    assert "mine: 12 trials" in run(here, tmp_path)


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_ray_tune_as_the_search(tmp_path: Path) -> None:
    write_files(SAMPLERS, tmp_path)
    (line,) = commands(SAMPLERS, "Ray Tune as the search")
    answer, said = run_both(line, tmp_path)
    assert "tuned: 24 trials" in answer and "0 failed" in answer
    assert int(re.search(r"(\d+) pruned", answer)[1]) > 0  # type: ignore[index]
    assert not re.search("warning|traceback", said, re.IGNORECASE), said


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_a_study_on_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(OWN_MODEL, tmp_path)
    ((*words, option, address),) = commands("docs/howto/servers.md", "Stores on servers")
    assert words[-2] == "--storage" and option == "--tracking-uri" and address.startswith("http://")
    with postgres() as database, mlflow_server(create_database(database, "mlflow")) as tracking:
        monkeypatch.setenv("DB_PASSWORD", database.uri.split(":")[2].split("@")[0])
        storage = words[-1].replace("me:", f"{USER}:").replace("db.example/studies", database.uri.rpartition("@")[2])
        assert "mine: 12 trials" in run([*words[:-1], storage, option, tracking.uri], tmp_path)
        assert execute(database.uri, "SELECT count(*) FROM trials") == [(12,)]


@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_several_objectives(tmp_path: Path) -> None:
    write_files(OBJECTIVES, tmp_path)
    search = load_config(tmp_path / "front.yaml").search
    assert search.measures == ("val_loss", "gap", "sparsity") and len(search.constraints) == 1
    start, importance = commands(OBJECTIVES, "Several objectives, and constraints")
    answer, said = run_both(start, tmp_path)
    assert "front: 60 trials" in answer and "0 pruned" in answer and "Pareto front: " in answer
    assert "keep to sparsity >= 0.2" in answer and "nothing is pruned" in said
    assert "early_stopping.patience" in run(importance, tmp_path)
