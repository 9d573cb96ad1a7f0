"""Writes a commented study file for a table of one's own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.config import check_name
from regsearch.config.words import one_of
from regsearch.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# A numeric target with at most so many different whole numbers, each this often, is taken for class codes.
_CLASSES, _ROWS_PER_CLASS = 20, 3
_KINDS = {".csv": "csv", ".parquet": "parquet"}


def write_study_file(table: Path, target: str, name: str | None = None) -> Path:
    """Write `NAME.yaml` in the working directory for the table, and return its path.

    Args:
        table: a `.csv` or `.parquet` file.
        target: the column that is to be predicted.
        name: of the study; that of the table by default.

    Raises:
        UserError: the table cannot be read, has no such column, or the study file exists already.
    """
    kind = _KINDS.get(table.suffix.lower())
    if kind is None:
        raise UserError(
            "not a table", key="TABLE", value=str(table), allowed=f"allowed are files ending in {', '.join(_KINDS)}"
        )
    if not table.is_file():
        raise UserError("no such file", key="TABLE", value=str(table), allowed="name a .csv or .parquet file")
    frame = _read(table, kind)
    if target not in frame.columns:
        raise UserError(
            "no such column", file=table, key="--target", value=target, allowed=one_of(map(str, frame.columns), target)
        )
    study = name or re.sub(r"[^A-Za-z0-9._-]+", "-", table.stem).strip("-.") or "study"
    try:
        check_name(study)
    except UserError as error:
        raise UserError(error.what, key="--name", value=study, allowed=error.allowed) from None
    path = Path(f"{study}.yaml")
    text = study_text(study, f"{kind}:{os.path.relpath(table)}", target, task_of(frame[target]), len(frame))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError("exists already", file=path, allowed="delete it, or give another --name") from None
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror}", file=path) from None
    return path


def task_of(target: pd.Series) -> str:
    """Choose `regression` for numbers, `classification` for words, booleans and a few whole numbers that recur."""
    import pandas as pd

    present = target.dropna()
    if not pd.api.types.is_numeric_dtype(present) or pd.api.types.is_bool_dtype(present):
        return "classification"
    counts = present.value_counts()
    codes = len(counts) <= _CLASSES and bool((present % 1 == 0).all()) and bool(counts.min() >= _ROWS_PER_CLASS)
    return "classification" if codes and len(counts) > 1 else "regression"


def study_text(name: str, source: str, target: str, task: str, rows: int) -> str:
    """Render the study file itself, as YAML that explains each choice."""
    metric = "balanced accuracy" if task == "classification" else "root mean square error"
    other = "regression" if task == "classification" else "classification"
    words = {"name": name, "source": _quoted(source), "target": _quoted(target), "task": task, "rows": rows}
    return _STUDY.format(**words, metric=metric, other=other, batch=min(64, max(8, rows // 20)))


_STUDY = """\
# Which regularization does a model of this table need, and does it help on rows that nobody has looked at?
# Start it:  regsearch study start {name}.yaml

name: {name}

data:
  source: {source}
  target: {target}
  # {task}: judged by {metric}. If the target is meant otherwise, write {other}.
  task: {task}
  # Shares of the {rows} rows (numbers above 1 are row counts). The test rows stay sealed until the finals.
  split:
    train: 0.6
    validation: 0.2
    test: 0.2
    seed: 0
    # Rows of one patient, user or site belong on one side:    by: {{group: COLUMN}}
    # Rows in the order of time, the newest to be predicted:    by: {{time: COLUMN}}
    # Dates that could be read in two ways, like 1/2/2022:      time_format: "%m/%d/%Y"
    by: random

model:
  name: mlp            # or linear; or your own:  factory: MODULE:CALLABLE
  hidden: [128, 128]

train:
  epochs: 30
  batch_size: {batch}
  learning_rate: 1e-3

# One of these penalties or none; dropout and gradient clipping beside it, in every trial.
# `regsearch regularizers` lists all there are, `regsearch regularizers l1` shows one and its knobs.
space:
  choose: one
  from: [l1, l2, elastic_net, weight_decay]
  dropout: search
  clip_by_norm: search

search:
  trials: 100
  seed: 0

# The best setting against none at all and against common ones, trained again on fresh seeds, then tested once on the
# sealed rows. top: 3 lets three of the best enter, splits: 5 cuts training and validation anew for each.
finalize:
  seeds: 10
"""


def _read(table: Path, kind: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(table) if kind == "csv" else pd.read_parquet(table)
    except Exception as error:  # pandas and pyarrow raise many kinds for a file that is no table
        reason = " ".join(str(error).split())
        raise UserError(f"cannot be read: {reason}", file=table, allowed=f"a {kind} table is needed") from None


def _quoted(text: str) -> str:
    """`text` as a YAML scalar that is text whatever it looks like."""
    return (
        text
        if re.fullmatch(r"[A-Za-z_][\w./:-]*(?<!:)", text) and not _a_word_of_yaml(text)
        else "'" + text.replace("'", "''") + "'"
    )


def _a_word_of_yaml(text: str) -> bool:
    return text.lower() in ("true", "false", "null")
