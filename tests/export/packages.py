"""Packages as finals write them, of models that nobody trained; and a study's folder around one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from regsearch.config import load_config
from regsearch.data import columns
from regsearch.data.preprocess import fit
from regsearch.publish.champion import export_rows
from regsearch.tracking.mlflow.package import seal
from regsearch.workspace.folder import write_record
from tests.analysis.finals import summary

TABLE = pd.DataFrame(
    {
        "age": [30.0, np.nan, 55.0, 41.0, 62.0, 29.0],
        "height | cm": [160.0, 180.0, 175.0, 168.0, 171.0, 190.0],
        "colour": ["red", "green", None, "red", "blue", "red"],
    }
)
STUDY = """
name: people
data: {source: 'csv:people.csv', target: group, task: classification}
model: {name: mlp, hidden: [8]}
finalize: {seeds: SEEDS}
"""
FINALS = {**summary(difference=0.032, low=0.01, high=0.05).to_json(), "sentence": "It helps."}
ANSWER = {
    "study": "people",
    "trials": {"complete": 1, "pruned": 0, "failed": 0},
    "best": None,
    "pack": {"width": 2, "workers": 1},
    "finals": FINALS,
    "timing": {},
    "sentence": "It helps.",
    "test_opened": 1,
}


def write_package(folder: Path, module: nn.Module, x: torch.Tensor, more: dict[str, Any], example: Any) -> None:
    """A sealed package of `module`, traced on the rows x [N, F...].

    Args:
        more: what the manifest says besides; `preprocessing` makes it a model of tables.
        example: what is in `example.json`.
    """
    folder.mkdir(parents=True)
    torch.export.save(export_rows(module.eval(), x), folder / "model.pt2")
    about = {"source": "csv:people.csv", "digest": "d" * 64, "sizes": {"train": 60, "validation": 20, "test": 20}}
    dtype = str(x.dtype).removeprefix("torch.")
    manifest = {
        "task": "classification",
        "target": "group",
        "inputs": list(x.shape[1:]),
        "dtype": dtype,
        **about,
        **more,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "example.json").write_text(json.dumps(example))
    shutil.copy(str(columns.__file__), folder / "columns.py")
    seal(folder)


def table_package(folder: Path, module: nn.Module | None = None) -> nn.Module:
    """A classifier of TABLE's columns into a, b and 7; the module that it holds, rows [N, 5] → scores [N, 3]."""
    torch.manual_seed(0)
    module = module or nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    fitted = fit(TABLE)
    x = torch.from_numpy(fitted.apply(TABLE))
    example = {"columns": list(TABLE), "data": json.loads(TABLE.to_json(orient="values"))}
    more = {"classes": ["a", "b", 7], "outputs": 3, "preprocessing": fitted.to_json()}
    write_package(folder, module, x, more, example)
    return module


def array_package(folder: Path, vocabulary: int = 0) -> nn.Module:
    """A classifier of arrays [N, 2, 3], or of rows of three codes below `vocabulary`."""
    torch.manual_seed(0)
    more: dict[str, Any] = {"classes": None, "outputs": 3, "preprocessing": None}
    if vocabulary:
        module = nn.Sequential(nn.Embedding(vocabulary, 4), nn.Flatten(), nn.Linear(12, 3))
        x = torch.randint(0, vocabulary, (4, 3))
        more["vocabulary"] = [vocabulary]
    else:
        module, x = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)), torch.randn(4, 2, 3)
    write_package(folder, module, x, more, {"inputs": x.tolist()})
    return module


def finished_study(home: Path, seeds: int = 3, answer: dict[str, Any] | None = ANSWER, champion: bool = True) -> Path:
    """The folder of the study `people` in `home`, as if it had run; with no answer, as if it were stopped."""
    file = home.parent / "people.yaml"
    file.write_text(STUDY.replace("SEEDS", str(seeds)))
    folder = home / "studies" / "people"
    folder.mkdir(parents=True)
    write_record(folder, load_config(file), 1)
    if answer is not None:
        (folder / "answer.json").write_text(json.dumps(answer if seeds else {**answer, "finals": None}))
    if champion:
        table_package(folder / "finals" / "champion")
    return folder
