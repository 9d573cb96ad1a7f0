"""Seal a split: a short-lived child process reads the source, cuts it and writes the parts.

The parent gets a manifest; test rows never enter it. Parts are written beside and renamed as a whole, so a folder
with a manifest is complete.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.data.manifest import Manifest
from regsearch.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from regsearch.config import DataConfig
    from regsearch.data.sources import Table

_REFUSED = 3


def seal(config: DataConfig, folder: str, out: Path) -> Manifest:
    """Cut the split of a study file in `folder` into `out`; an earlier one there is replaced.

    Raises:
        UserError: the source, the target or the split cannot be used.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    asked = {"config": config.model_dump(mode="json"), "folder": folder, "out": str(out), "parent": os.getpid()}
    package_root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-c", "import sys; from regsearch.data.sealing import main; sys.exit(main())"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, env=env, check=False)
    if done.returncode == _REFUSED:
        raise UserError(**json.loads(done.stdout.splitlines()[-1]))
    if done.returncode != 0:
        raise RuntimeError(f"sealing the data failed:\n{done.stderr[-2000:]}")
    return Manifest.load(out)


def verify_digest(config: DataConfig, folder: str, out: Path) -> None:
    """Refuse data that changed since it was sealed in `out`. They are cut again beside it, not in a public temporary
    folder, where a kill would leave test rows lying about.

    Raises:
        UserError: the digest differs.
    """
    again = out.with_name(f"{out.name}.check")
    try:
        now = seal(config, folder, again).digest
    finally:
        shutil.rmtree(again, ignore_errors=True)
    if now != Manifest.load(out).digest:
        raise UserError(
            "the data changed since the study began",
            key="data.source",
            value=config.source,
            allowed="bring the old data back, or start anew with --replace",
        )


def _cut(config: DataConfig, folder: str, out: Path) -> None:
    import numpy as np

    from regsearch.data.sources import load_table
    from regsearch.data.split import PARTS, split_rows

    table = load_table(config, folder)
    _check_target(table)
    rows = split_rows(table, config.split)
    x, preprocessing, example = _features(table, config, rows)
    y, about = _targets(table, rows["train"])
    digest, test_digest = hashlib.sha256(), hashlib.sha256()
    digest.update(json.dumps([config.source, table.target, table.task]).encode())
    aside = out.with_name(f"{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / "sealed").mkdir(parents=True)
    for part in PARTS:
        for name, whole in (("x", x), ("y", y)):
            array = np.ascontiguousarray(whole[rows[part]])
            digest.update(array.tobytes())
            if part == "test":
                test_digest.update(array.tobytes())
                if not len(array):
                    continue
            place = aside / "sealed" if part == "test" else aside
            with open(place / f"{part}_{name}.npy", "wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
            if part == "test":
                os.chmod(place / f"{part}_{name}.npy", 0o600)
        digest.update(rows[part].tobytes())
    manifest = Manifest(
        digest=digest.hexdigest(),
        test_digest=test_digest.hexdigest(),
        source=config.source,
        task=table.task,
        target=table.target,
        inputs=tuple(x.shape[1:]),
        sizes={part: len(rows[part]) for part in PARTS},
        split=config.split.model_dump(mode="json"),
        preprocessing=preprocessing,
        **about,
    )
    (aside / "example.json").write_text(json.dumps(example))
    (aside / "manifest.json").write_text(manifest.to_json())
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)


def _check_target(table: Table) -> None:
    import numpy as np
    import pandas as pd

    values = table.y
    numeric = pd.api.types.is_numeric_dtype(values)
    if table.task == "regression" and not numeric:
        allowed = "for a target of classes say task: classification"
        raise UserError("a regression target must hold numbers", key="data.target", value=table.target, allowed=allowed)
    bad = values.isna().to_numpy()
    if numeric:
        bad = bad | ~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise UserError(
            f"the target is missing or not finite in {int(bad.sum())} of {len(bad)} rows, first in row {row + 1}",
            key="data.target",
            value=table.target,
            allowed="every row needs one: fill it in, or leave the row out",
        )
    if table.task == "classification":
        counts = values.value_counts()
        if counts.min() < 3:
            rows = "1 row" if counts.min() == 1 else f"{counts.min()} rows"
            raise UserError(
                f"class {counts.idxmin()} has {rows}",
                key="data.target",
                value=table.target,
                allowed="every class needs at least three rows: one each to train, validate and test",
            )
        if len(counts) < 2:
            allowed = "a classification needs at least two"
            raise UserError("the target has a single class", key="data.target", value=table.target, allowed=allowed)


def _features(table: Table, config: DataConfig, rows: dict[str, Any]) -> tuple[np.ndarray[Any, Any], Any, Any]:
    import numpy as np
    import pandas as pd

    from regsearch.data.preprocess import fit

    if isinstance(table.x, pd.DataFrame):
        frame: pd.DataFrame = table.x.drop(columns=[config.split.column] if config.split.column else [])
        if frame.shape[1] == 0:
            raise UserError("no feature column is left", key="data.source", value=config.source)
        train = frame.iloc[rows["train"]]
        fitted = fit(train)
        head = train.head(5)
        example = json.loads(head.to_json(orient="split", index=False))
        return fitted.apply(frame), fitted.to_json(), {"columns": example["columns"], "data": example["data"]}
    x = np.asarray(table.x, dtype=np.float32)
    return x, None, {"inputs": x[rows["train"][:5]].tolist()}


def _targets(table: Table, train: Any) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    import numpy as np

    if table.task == "classification":
        classes = sorted(set(table.y.tolist()), key=lambda label: (str(type(label)), label))
        code = {label: index for index, label in enumerate(classes)}
        y = np.array([code[label] for label in table.y.tolist()], dtype=np.int64)
        return y, {"classes": classes, "outputs": len(classes)}
    values = table.y.to_numpy(dtype=np.float64)
    mean, scale = float(values[train].mean()), float(values[train].std()) or 1.0
    about = {"outputs": 1, "target_mean": mean, "target_scale": scale}
    return ((values - mean) / scale).astype(np.float32), about


def main() -> int:
    """Serve one order from standard input."""
    from regsearch.config import DataConfig

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the parent
    order = json.load(sys.stdin)
    if os.getppid() != order["parent"]:
        return 1  # the parent was killed before the line above, and another may be sealing here already
    try:
        _cut(DataConfig.model_validate(order["config"]), order["folder"], Path(order["out"]))
    except UserError as error:
        fields = {name: getattr(error, name) for name in ("what", "file", "key", "value", "allowed")}
        print(json.dumps({k: v if isinstance(v, (int, float)) or v is None else str(v) for k, v in fields.items()}))
        return _REFUSED
    return 0
