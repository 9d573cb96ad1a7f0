"""A column that a study file names and its table does not offer: the line says what the table has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regsearch.config import DataConfig
from regsearch.data.parts import make_parts
from regsearch.data.sources import load_table
from regsearch.errors import UserError

HAS = "the columns are when, who, load, note, hours"
BY = [
    ({"split": {"by": {"time": "wenn"}}}, "data.split.by: no such column (got 'wenn'); {has} (did you mean when?)"),
    ({"split": {"by": {"group": "city"}}}, "data.split.by: no such column (got 'city'); {has}"),
    ({"split": {"by": {"column": "part"}}}, "data.split.by: no such column (got 'part'); {has}"),
    (
        {"split": {"by": {"time": "hours"}}},
        "data.split.by: is the target, which cannot serve here too (got 'hours'); {has}",
    ),
    (
        {"split": {"by": {"group": "who"}}, "drop": ["who"]},
        "data.split.by: is left out by data.drop (got 'who'); take it out of drop; {has}",
    ),
    ({"text": {"column": "notes"}}, "data.text.column: no such column (got 'notes'); {has} (did you mean note?)"),
]


@pytest.mark.parametrize(("keys", "line"), BY, ids=[line.partition("(")[0] for _, line in BY])
def test_all_columns_of_the_table_are_listed(keys: dict[str, Any], line: str, tmp_path: Path) -> None:
    rows = pd.DataFrame({"when": np.arange(12.0), "who": list("abc") * 4, "load": np.arange(12.0) ** 2})
    rows["note"], rows["hours"] = "a word", np.arange(12.0) / 7
    rows.to_csv(tmp_path / "t.csv", index=False)
    given = {"source": "csv:t.csv", "task": "regression", "target": "hours", **keys}
    config = DataConfig.model_validate(given)
    with pytest.raises(UserError) as refused:
        make_parts(load_table(config, str(tmp_path)), config)
    assert str(refused.value) == line.format(has=HAS)
