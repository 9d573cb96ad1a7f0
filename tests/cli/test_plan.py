"""What the dry run and the start of a study say of its rows and columns."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.study.create import create_study
from regsearch.study.progress import Snapshot
from regsearch.study.study import Study


def planned(*options: str) -> str:
    """What a dry run of the study file in the working directory prints."""
    result = CliRunner().invoke(app, ["study", "start", "t.yaml", "--dry-run", *options], prog_name="regsearch")
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_dry_run_shows_the_split_and_what_columns_become() -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 22)), columns=[f"n{place}" for place in range(22)])
    frame["when"] = pd.date_range("2024-01-01", periods=60).strftime("%Y-%m-%d")
    frame["dose"], frame["y"] = np.arange(60) % 3, np.arange(60) % 2
    frame["dose"] = frame["dose"].map({0: "low", 1: "mid", 2: "high"})
    frame.to_csv("t.csv", index=False)
    text = 'name: t\ndata: {source: "csv:t.csv", task: classification, target: y, drop: [n0], split: SPLIT}\n'
    file = Path("t.yaml")
    file.write_text(text.replace("SPLIT", "{by: {time: when}}") + "model: {name: mlp}\n")
    printed = planned()
    split, _, table = printed.partition("\ncolumn  becomes\n")
    assert (
        "data.split  " in split and " by time, the latest in the test (column when): 36 train, 12 validation" in split
    )
    assert table.splitlines()[:3] == [
        "n0      no feature: dropped",
        "when    no feature: the split goes by it",
        "n1      1 number",
    ]
    assert table.splitlines()[20:] == ["and 4 more"] and "left out" not in split
    file.write_text(text.replace("SPLIT", "{}") + "model: {name: mlp}\n")
    plan = json.loads(planned("--json"))
    assert plan["data"]["split"] == "at random, stratified by class: 36 train, 12 validation, 12 test"
    assert plan["features"]["dose"] == "3 categories, a feature each: high, low, mid"
    assert plan["features"]["when"].startswith("36 categories, a feature each: 2024-01-")
    said = plan["data"]["dates as words"]
    assert said.startswith("column when (60 values) holds dates and becomes words, ") and "\n" not in said
    assert "write data.split: {by: {time: when}} so" in said and "data.drop: [when]" in said


def test_the_start_says_what_the_dry_run_says_of_rows_and_dates() -> None:
    lines: list[str] = []

    class Lines:
        def due(self) -> bool:
            return True

        def show(self, snapshot: Snapshot) -> None:
            pass

        def say(self, message: str) -> None:
            lines.append(message)

    days = pd.date_range("2024-01-01", periods=60)
    pd.DataFrame({"a": range(60), "day": days, "y": [0, 1] * 30}).to_csv("t.csv", index=False)
    text = 'name: t\ndata: {source: "csv:t.csv", task: classification, target: y, split: {train: 20}}\n'
    Path("t.yaml").write_text(text + "model: {name: mlp}\n")
    create_study(Study.from_file("t.yaml").spec, time.time(), False, Lines())
    assert lines[0] == "rows left out: 16 of 60 (the sizes in data.split add up to less)"
    assert lines[1].startswith("dates as words: column day (60 values) holds dates and becomes words")
    assert len(lines) == 2


def test_a_dry_run_says_how_many_training_rows_lack_a_value_and_what_they_get() -> None:
    """Counted here among the first rows of time, which are the training rows."""
    rows = pd.DataFrame({"when": range(60), "age": np.arange(60.0), "dose": ["low", "mid", "mid"] * 20})
    rows["y"] = np.arange(60) % 2
    rows.loc[[1, 5, 50], "age"], rows.loc[[0], "dose"] = None, None
    rows.to_csv("t.csv", index=False)
    text = 'name: t\ndata: {source: "csv:t.csv", task: classification, target: y, split: {by: {time: when}}}\n'
    Path("t.yaml").write_text(text + "model: {name: mlp}\n")
    features = json.loads(planned("--json"))["features"]
    median = np.median([age for age in range(36) if age not in (1, 5)])
    assert features["age"] == f"1 number; 2 of 36 training rows lack it and get the median, {median:.6g}"
    assert features["dose"].endswith("low, mid; 1 of 36 training rows lack it and get the most frequent, mid")
    text = 'name: t\ndata: {source: "csv:t.csv", task: forecasting, target: y, window: 4, split: {by: {time: when}}}\n'
    Path("t.yaml").write_text(text + "model: {name: mlp}\n")
    features = json.loads(planned("--json"))["features"]
    assert re.fullmatch(r"1 number; 2 training rows lack it and get the median, \d+", features["age"])


def test_a_dry_run_names_markers_that_no_rule_acts_at() -> None:
    pd.DataFrame({"a": range(60), "y": [0, 1] * 30}).to_csv("t.csv", index=False)
    text = 'name: t\ndata: {source: "csv:t.csv", task: classification, target: y}\n'
    text += "model: {name: mlp, hidden: [8, 8], residual: true}\n"
    Path("t.yaml").write_text(text + "space: {dropout: search}\n")
    assert json.loads(planned("--json"))["model"] == {"markers": "no rule of the study acts at residual"}
    Path("t.yaml").write_text(text + "space: {dropout: search, stochastic_depth: search}\n")
    assert "model" not in json.loads(planned("--json"))


def test_names_of_columns_are_shown_as_they_are_and_on_a_line() -> None:
    names = ["[red]x[/red]", ":smile:", "two\nlines", "long" * 99]
    pd.DataFrame({**{name: range(60) for name in names}, "y": [0, 1] * 30}).to_csv("t.csv", index=False)
    text = 'name: t\ndata: {source: "csv:t.csv", task: classification, target: y}\nmodel: {name: mlp}\n'
    Path("t.yaml").write_text(text)
    rows = planned().partition("becomes\n")[2].splitlines()
    begins = ["[red]x[/red] ", ":smile: ", "two\\nlines ", "long" * 9 + "l... "]
    assert len(rows) == 4 and all(row.startswith(begin) for row, begin in zip(rows, begins, strict=True))
    assert all(row.endswith(" 1 number") for row in rows)
