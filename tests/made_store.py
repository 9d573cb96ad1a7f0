"""An empty MLflow store where a study will look for one: making it takes a second, copying one that is made does not.

Tests of whole studies begin with it, as every study does but a user's first. Stores are made for real where that is
looked at: `tests/tracking/test_store.py`, the commands of the pages, `tests/cli`.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


def made_store(home: Path) -> Path:
    """Lay an empty store into a folder of studies that has none; the folder."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "mlflow.db").exists():
        shutil.copyfile(empty_store(), home / "mlflow.db")
    return home


@functools.cache
def empty_store() -> Path:
    """An empty store, made once in this process."""
    from regsearch.tracking.mlflow.store import ensure_store

    folder = Path(tempfile.mkdtemp(prefix="template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ensure_store(f"sqlite:///{folder / 'mlflow.db'}")
    return folder / "mlflow.db"
