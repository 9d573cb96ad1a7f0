"""A model's answer to a row is the same alone and among others: as a program, by MLflow, and over its server's JSON."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.pyfunc.scoring_server import invocations
from torch import nn

from regsearch.config import DataConfig
from regsearch.data.parts import make_parts
from regsearch.data.sources import load_table
from regsearch.tracking.mlflow import champion
from regsearch.tracking.mlflow.package import PREDICT
from regsearch.tracking.mlflow.predict import load
from tests.export.packages import array_package, write_package

EXAMPLE = "package/example.json"


@dataclass(frozen=True)
class Packaged:
    """A packaged model with `predict.py` in it, the same one from MLflow, and what it says to the training rows."""

    folder: Path
    served: Any
    example: pd.DataFrame
    wanted: np.ndarray

    def program(self, text: str) -> subprocess.CompletedProcess[str]:
        """What `predict.py` says to a CSV table on standard input."""
        command = [sys.executable, str(self.folder / "predict.py"), "-"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def printed(self, text: str) -> list[list[float]]:
        """What its `main` prints of a CSV table, without a process for each."""
        model, file = load(self.folder), self.folder.parent / "rows.csv"
        file.write_text(text)
        rows: list[list[float]] = model(model.read(file)).to_numpy().tolist()
        return rows

    def json(self, kind: str, rows: Any) -> list[list[float]]:
        schema = self.served.metadata.get_input_schema()
        reply = invocations(json.dumps({kind: rows}), "application/json", self.served, schema)  # type: ignore[no-untyped-call]
        answers: list[list[float]] = pd.DataFrame(json.loads(reply.response)["predictions"]).to_numpy().tolist()
        return answers


def packaged(folder: Path, table: pd.DataFrame, source: str) -> Packaged:
    """A classifier of a table whose target is `y`, read from a CSV or Parquet file; nobody trained it."""
    if source == "csv":
        table.to_csv(folder / "t.csv", index=False)
    else:
        table.to_parquet(folder / "t.parquet")
    config = DataConfig.model_validate({"source": f"{source}:t.{source}", "target": "y", "task": "classification"})
    parts = make_parts(load_table(config, str(folder)), config)
    torch.manual_seed(0)
    x = torch.from_numpy(parts.x["train"])
    module = nn.Linear(x.shape[1], 2).eval()
    more = {"classes": [0, 1], "outputs": 2, "preprocessing": parts.preprocessing}
    write_package(folder / "package", module, x, more, parts.example)
    champion.save_model(folder / "package", folder / "model")
    (folder / "package" / "predict.py").write_bytes(PREDICT.read_bytes())
    with torch.no_grad():
        wanted = module(x).double().softmax(1).numpy()
    served, example = mlflow.pyfunc.load_model(str(folder / "model")), champion.read_example(folder / EXAMPLE)
    assert isinstance(example, pd.DataFrame)
    return Packaged(folder / "package", served, example, wanted)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    draw = np.random.default_rng(0)
    plan = draw.choice(["1", "2", "3", "X"], 120)
    table = pd.DataFrame({"plan": plan, "age": draw.integers(20, 90, 120), "y": np.isin(plan, ["1", "3"]).astype(int)})
    return packaged(tmp_path_factory.mktemp("plans"), table, "csv")


def test_a_row_of_an_empty_plan_changes_no_other_answer(plans: Packaged) -> None:
    three = ["1,50", "2,50", "3,50"]
    alone = [plans.printed(f"plan,age\n{row}\n")[0] for row in three]
    for more in ([], [",50"], ["X,50"], ["X,50", ",50"], [","]):
        text = "\n".join(["plan,age", *three, *more]) + "\n"
        np.testing.assert_allclose(plans.printed(text)[:3], alone, rtol=1e-6)
    done = plans.program("\n".join(["plan,age", *three, ",50"]) + "\n")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(pd.read_csv(io.StringIO(done.stdout))[:3], alone, rtol=1e-6)
    assert np.ptp([first for first, _ in alone]) > 0.01
    for empty in ([], [[None, 50]], [["X", 50]], [[None, None]]):
        rows = [[1, 50], [2, 50.0], [3.0, "50"], *empty]
        split = {"columns": ["plan", "age"], "data": rows}
        records = [dict(zip(("plan", "age"), row, strict=True)) for row in rows]
        np.testing.assert_allclose(plans.json("dataframe_split", split)[:3], alone, rtol=1e-6)
        np.testing.assert_allclose(plans.json("dataframe_records", records)[:3], alone, rtol=1e-6)
        table = pd.DataFrame(rows, columns=["plan", "age"])
        for typed in (table, table.astype({"plan": object}), table[:3].astype({"plan": "int8", "age": "float32"})):
            np.testing.assert_allclose(plans.served.predict(typed)[:3], alone, rtol=1e-6)


def test_a_number_among_words_is_refused_alone_and_among_others(plans: Packaged) -> None:
    line = "column plan must hold what it held in training: row {} holds 'true', a truth value where training had none"
    for row, rows in enumerate(("true,50\n", "1,50\ntrue,50\n"), 1):
        with pytest.raises(ValueError, match=f"^{line.format(row)}$"):
            plans.printed(f"plan,age\n{rows}")
    done = plans.program("plan,age\n1,50\ntrue,50\n")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"predict.py: -: {line.format(2)}\n")
    for rows in ("1,True\n", "1,50\n1,True\n"):
        with pytest.raises(ValueError, match=r"^column age must hold numbers: row"):
            plans.printed(f"plan,age\n{rows}")


def test_the_example_of_every_type_of_column_is_answered_as_its_rows_were_in_training(tmp_path: Path) -> None:
    draw, rows = np.random.default_rng(1), 120
    days = pd.Series(pd.Timestamp("2021-10-23") + pd.to_timedelta(draw.integers(0, 3, rows) * 12, unit="h"))
    table = pd.DataFrame(
        {
            "number": draw.normal(size=rows) / 3,
            "time": days,
            "zone": days.dt.tz_localize("Europe/Berlin"),
            "day": days.dt.date,
            "flag": draw.choice(np.array([True, False, None]), rows),
            "truth": draw.choice([True, False], rows),
            "lasting": pd.to_timedelta(draw.integers(1, 4, rows), unit="h"),
            "zip": draw.choice(["007", "7", "012"], rows),
            "word": draw.choice(np.array(["NA", "red", None]), rows),
            "kind": pd.Categorical(draw.choice(["a", "b"], rows)),
            "fee": [None if row % 9 == 0 else Decimal(row) / 8 for row in range(rows)],
            "paid": [f"${value:,.2f}" for value in draw.uniform(1, 5000, rows)],
            "share": np.where(
                np.arange(rows) % 7 == 3, "?", [f"{value:.1f}".replace(".", ",") for value in days.dt.hour]
            ),
            "y": draw.integers(0, 2, rows),
        }
    )
    made = packaged(tmp_path, table, "parquet")
    head, wanted = made.example, made.wanted[:5]
    assert np.ptp(wanted[:, 0]) > 0.01
    np.testing.assert_allclose(made.served.predict(head), wanted, rtol=1e-6)
    np.testing.assert_allclose(made.served.predict(made.served.input_example), wanted, rtol=1e-6)
    saved = json.loads((made.folder / "example.json").read_text())
    np.testing.assert_allclose(made.json("dataframe_split", saved), wanted, rtol=1e-6)
    np.testing.assert_allclose(made.printed(head.to_csv(index=False)), wanted, rtol=1e-6)
    typed = pd.read_parquet(tmp_path / "t.parquet").drop(columns="y")
    everything = made.served.predict(typed).to_numpy()
    answers = [made.served.predict(typed[row : row + 1]).to_numpy()[0] for row in range(0, rows, 7)]
    np.testing.assert_allclose(answers, everything[::7], rtol=1e-6)
    np.testing.assert_allclose(made.printed(typed.to_csv(index=False)), everything, rtol=1e-6)


def test_money_is_read_alone_and_among_others_in_every_form(tmp_path: Path) -> None:
    """By `predict.py` from a CSV file, over JSON as text and as the number that it is, and by MLflow from a table."""
    draw, rows = np.random.default_rng(2), 120
    income = draw.uniform(100, 5000, rows)
    table = pd.DataFrame({"income": [f"${value:,.2f}" for value in income], "y": (income > 2000).astype(int)})
    table["age"] = np.where(np.arange(rows) % 5 == 0, "?", draw.integers(20, 90, rows).astype(str))
    made = packaged(tmp_path, table, "csv")
    done = made.program('income,age\n"$1,003.29",50\n"($12.50)",?\n$7,\n')
    assert done.returncode == 0, done.stderr
    answers = pd.read_csv(io.StringIO(done.stdout)).to_numpy()
    assert np.ptp(answers[:, 0]) > 0.01
    texts = [["$1,003.29", "50"], ["($12.50)", "?"], ["$7", None]]
    plain = [[1003.29, 50], [-12.5, None], [7, None]]
    for cells in (texts, plain, [texts[0], *plain[1:]]):
        np.testing.assert_allclose(made.json("dataframe_split", {"columns": ["income", "age"], "data": cells}), answers)
        alone = [made.json("dataframe_split", {"columns": ["income", "age"], "data": [row]})[0] for row in cells]
        np.testing.assert_allclose(alone, answers)
        frame = pd.DataFrame(cells, columns=["income", "age"])
        np.testing.assert_allclose(made.served.predict(frame).to_numpy(), answers)
    line = "column income must hold numbers: row 2 holds '1.003,29 €', which is no number with '.' before its decimals"
    done = made.program('income,age\n$7,50\n"1.003,29 €",50\n')
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"predict.py: -: {line}\n")


def test_a_truth_value_is_no_number_of_an_array_alone_or_among_others(tmp_path: Path) -> None:
    array_package(tmp_path / "package")
    model = load(tmp_path / "package")
    (tmp_path / "a.csv").write_text("1,2,3,4,5,6\n1,0,0,0,0,0.5\n")
    assert model(model.read(tmp_path / "a.csv")).shape == (2, 3)
    for text in ("1,0,0,0,0,True\n", "1,0,0,0,0,True\n1,2,3,4,5,6\n"):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(ValueError, match=r"^the model takes an array of the shape \(N, 2, 3\) of numbers$"):
            model(model.read(tmp_path / "a.csv"))
    (tmp_path / "a.csv").write_text("1,0,0,0,0,\n")
    with pytest.raises(ValueError, match=r"^row 0 of the array holds a number that is missing"):
        model(model.read(tmp_path / "a.csv"))
