"""How numbers are scaled: what training has not seen is bounded, everything else is what it was to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.preprocessing import QuantileTransformer

from regsearch.config import DataConfig, StudyConfig, load_config
from regsearch.data import Manifest, remarks
from regsearch.data.columns import Preprocessing
from regsearch.data.parts import Parts, make_parts
from regsearch.data.preprocess import REACH, fit
from regsearch.data.sealing import _cut
from regsearch.data.sources import load_table
from regsearch.errors import UserError

ROWS = 300


def table() -> pd.DataFrame:
    """Words that hardly ever stand in a text, as counts; ordinary numbers, some missing; a long tail."""
    draw = np.random.default_rng(0)
    part = np.repeat(["train", "validation", "test"], ROWS // 3)
    rare, never = np.zeros(ROWS), np.zeros(ROWS)
    rare[7], rare[150], rare[151], rare[250] = 0.01, 33.7, -8.0, 0.01
    never[160], never[161], never[260] = 4000.0, 3.0, -11.0
    frame = pd.DataFrame({"rare": rare, "never": never, "plain": draw.normal(5, 2, ROWS), "part": part})
    frame = frame.assign(plain=frame["plain"].where(draw.random(ROWS) > 0.1), tail=np.exp(draw.normal(0, 2, ROWS)))
    return frame.assign(whole=draw.integers(0, 9, ROWS), y=draw.integers(0, 2, ROWS))


def cut(folder: Path, frame: pd.DataFrame, **data: Any) -> Parts:
    frame.to_csv(folder / "t.csv", index=False)
    plain = {"source": "csv:t.csv", "task": "classification", "target": "y", "split": {"by": {"column": "part"}}}
    config = DataConfig.model_validate({**plain, **data})
    return make_parts(load_table(config, str(folder)), config)


def test_what_training_has_not_seen_is_held_at_a_bound(tmp_path: Path) -> None:
    frame = table()
    parts, free = cut(tmp_path, frame), cut(tmp_path, frame, scaling="unbounded")
    reach = float(free.x["train"][7, 0])
    x, before = parts.x["validation"], free.x["validation"]
    assert before[50, 0] > 30_000 and x[50, 0] == np.float32(max(reach, REACH))
    assert before[51, 0] < -7000 and x[51, 0] == np.float32(-REACH)
    assert (before[60, 1], x[60, 1], x[61, 1]) == (4000, REACH, 3), "constant in training: as it is, within the reach"
    assert parts.x["test"][60, 1] == -REACH
    held = [(50, 0), (51, 0), (60, 1)]
    others = np.ones(x.shape, dtype=bool)
    others[tuple(zip(*held, strict=True))] = False
    np.testing.assert_array_equal(x[others], before[others], "ordinary values keep their bits")
    np.testing.assert_array_equal(parts.x["train"], free.x["train"])
    assert parts.about["far"] == {"rare": 2, "never": 1} == free.about["far"]


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "unbounded"])
def test_serving_scales_alike(scaling: str, tmp_path: Path) -> None:
    frame = table()
    parts = cut(tmp_path, frame, scaling=scaling)
    served = Preprocessing.from_json(json.loads(json.dumps(parts.preprocessing)))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(served.apply(frame[frame["part"] == part]), parts.x[part])
        np.testing.assert_array_equal(served.apply(frame[frame["part"] == part].head(1)), parts.x[part][:1])
    assert np.isfinite(parts.x["validation"]).all()
    bound = {"standard": 10.0, "robust": 1e3, "quantile": 3.0, "unbounded": np.inf}[scaling]
    assert np.abs(parts.x["validation"]).max() <= bound


def test_robust_scaling_is_by_median_and_quartiles(tmp_path: Path) -> None:
    frame = table()
    x = cut(tmp_path, frame, scaling="robust").x["train"]
    tail = frame["tail"].iloc[: ROWS // 3]
    low, middle, high = np.percentile(tail, [25, 50, 75])
    np.testing.assert_allclose(x[:, 3], (tail - middle) / (high - low) * (norm.ppf(0.75) - norm.ppf(0.25)), rtol=1e-6)
    rare = frame["rare"].iloc[: ROWS // 3]
    np.testing.assert_allclose(x[:, 0], rare / rare.std(ddof=0), rtol=1e-6, err_msg="no quartiles: standard deviation")


def test_quantiles_become_normal_scores(tmp_path: Path) -> None:
    frame = table()
    parts = cut(tmp_path, frame, scaling="quantile")
    tail = frame[["tail"]].to_numpy()
    count = ROWS // 3
    own = QuantileTransformer(n_quantiles=count, output_distribution="normal").fit(tail[:count])
    scores = own.transform(tail[count : 2 * count])[:, 0]
    inner = np.abs(scores) < 2
    np.testing.assert_allclose(parts.x["validation"][inner, 3], scores[inner], atol=0.01)
    assert inner.sum() > 80
    x = parts.x["train"]
    assert np.abs(x[:, 2:].mean(0)).max() < 0.3 and x[:, 3].std() == pytest.approx(1, abs=0.05)
    order = np.argsort(frame["tail"].iloc[:count].to_numpy())
    assert (np.diff(x[order, 3]) > 0).all()
    assert abs(float(x[0, 0])) < 3 and len(set(x[:7, 0])) == 1, "where most are equal they share one score"


def test_a_column_as_an_earlier_version_fitted_it() -> None:
    """Manifests and deployed models without the new numbers behave as they did."""
    entry = {"name": "a", "kind": "numeric", "median": 2.0, "mean": 1.0, "scale": 0.5}
    served = Preprocessing.from_json({"columns": [entry]})
    x = served.apply(pd.DataFrame({"a": [1.0, None, 1e6, -1e6]}))
    np.testing.assert_array_equal(x[:, 0], np.array([0, 2, 2 * (1e6 - 1), 2 * (-1e6 - 1)], dtype=np.float32))
    known = {"digest": "", "test_digest": "", "source": "csv:t", "task": "regression", "target": "y", "inputs": [1]}
    sizes = {"train": 2, "validation": 1, "test": 1}
    manifest = Manifest.from_json(json.dumps({**known, "outputs": 1, "sizes": sizes, "split": {}}))
    assert manifest.far is None and remarks(manifest) == {}


def test_a_study_of_an_earlier_version_keeps_its_scaling(tmp_path: Path) -> None:
    """Its rows must be cut again as they are sealed."""
    text = "name: s\ndata: {source: 'sklearn:wine'}\nmodel: {name: mlp, hidden: [4]}\nspace: {l2: search}\n"
    (tmp_path / "s.yaml").write_text(text)
    config = load_config(tmp_path / "s.yaml")
    assert config.data.scaling == "standard" == StudyConfig.from_json(config.to_json()).data.scaling
    saved = json.loads(config.to_json())
    del saved["data"]["scaling"]
    assert StudyConfig.from_json(json.dumps(saved)).data.scaling == "unbounded"


def test_what_lies_beyond_training_is_said(tmp_path: Path) -> None:
    frame = table()
    for scaling, rest in (("standard", "held at the bound"), ("unbounded", "not bounded: see data.scaling")):
        cut(tmp_path, frame)
        data = {"source": "csv:t.csv", "task": "classification", "target": "y", "split": {"by": {"column": "part"}}}
        _cut(DataConfig.model_validate({**data, "scaling": scaling}), str(tmp_path), tmp_path / "data", True)
        said = (
            f"3 values of validation rows lie far beyond those of training rows ({rest}); columns rare (2), never (1)"
        )
        assert remarks(Manifest.load(tmp_path / "data")) == {"beyond training": said}


def test_a_series_that_grows_may_be_left_unbounded(tmp_path: Path) -> None:
    days = pd.date_range("2001-01-01", periods=120).astype(str)
    frame = pd.DataFrame({"day": days, "y": 1.2 ** np.arange(120.0)})
    data = {"task": "forecasting", "split": {"by": {"time": "day"}}, "window": 4}
    held, free = (cut(tmp_path, frame, **data, scaling=scaling) for scaling in ("standard", "unbounded"))
    np.testing.assert_array_equal(held.x["train"], free.x["train"])
    assert held.x["test"].max() < 20 < 1e4 < free.x["test"].max()
    assert held.about["far"]["y"] > 10


def test_an_unknown_scaling_is_refused() -> None:
    with pytest.raises(Exception, match="scaling") as raised:
        DataConfig.model_validate({"source": "sklearn:wine", "scaling": "minmax"})
    assert not isinstance(raised.value, UserError) or raised.value.key == "data.scaling"


@pytest.mark.parametrize("values", [[5.0] * 20, [None] * 19 + [1.0], [1e-300] * 19 + [2e-300]])
def test_columns_that_hardly_vary(values: list[float | None]) -> None:
    train = pd.DataFrame({"a": values})
    other = pd.DataFrame({"a": [1e30, -1e30, 5.0, None]})
    for scaling in ("standard", "robust", "quantile"):
        x = fit(train, scaling).apply(other)
        assert np.isfinite(x).all() and np.abs(x).max() <= REACH, scaling


@pytest.mark.parametrize(
    ("column", "value", "line"),
    [
        ("never", 1e38, "data.scaling: row 161 holds a number too far from those of training for single precision"),
        ("y", 1e38, "data.target: the target of row 161 lies "),
    ],
)
def test_what_single_precision_does_not_hold_once_scaled_is_refused(
    column: str, value: float, line: str, tmp_path: Path
) -> None:
    frame = table().astype({"y": float})
    frame["never"] = np.where(np.arange(ROWS) < 100, 1e-3 * np.arange(ROWS), 0.0)
    frame.loc[160, column] = value
    with pytest.raises(UserError) as refused:
        cut(tmp_path, frame, task="regression", scaling="unbounded")
    assert str(refused.value).startswith(line)
    if column == "never":  # at a bound it is a number like others, for a served row as well
        made = cut(tmp_path, frame, task="regression")
        assert made.preprocessing is not None
        row = frame.drop(columns=["y", "part"]).iloc[[160]]
        assert np.isfinite(Preprocessing.from_json(made.preprocessing).apply(row)).all()
        fitted = fit(frame.drop(columns=["y", "part"]).iloc[:100], "unbounded")
        with pytest.raises(ValueError, match="row 1 holds a number too far from those of training"):
            fitted.apply(row)
