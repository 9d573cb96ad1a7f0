"""The ledger: every opening of a sealed test split, keyed by the split's digest, not by the study's name."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from regsearch.data.manifest import Manifest
from regsearch.errors import UserError


def openings(ledger: Path, digest: str) -> list[dict[str, Any]]:
    """What the ledger holds of the split with this test digest, oldest first; a torn last line does not count."""
    path = ledger / f"{digest}.jsonl"
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def decisions(ledger: Path, digest: str) -> int:
    """For how many different decisions this split has been opened; a study resumed after a kill opens it again for its
    own, and learns nothing new."""
    told = [{key: each.get(key) for key in ("study", "purpose", "decision")} for each in openings(ledger, digest)]
    return len({json.dumps(each, sort_keys=True) for each in told})


def open_test(
    data: Path, ledger: Path, study: str, purpose: str, decision: dict[str, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Write what was decided to the ledger, then read the sealed rows: x [N, F...], y [N].

    Every opening gets its line, also that of a resumed study which decides as before; `decisions` counts those once.

    Raises:
        UserError: the split holds no test rows.
    """
    manifest = Manifest.load(data)
    if not manifest.sizes["test"]:
        raise UserError("the split has no test rows", key="data.split.test", value=0.0, allowed="say finalize.seeds: 0")
    line = {"study": study, "purpose": purpose, "decision": decision}
    ledger.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**line, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})
    path = ledger / f"{manifest.test_digest}.jsonl"
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with open(path, "a") as file:
        file.write(("\n" if torn else "") + text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return np.load(data / "sealed" / "test_x.npy"), np.load(data / "sealed" / "test_y.npy")
