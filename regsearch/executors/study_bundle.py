"""What a worker on another machine needs of a study: its rows for training and validation, and its author's code.

Sealed test rows are never in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_DATA = ("manifest.json", "train_x.npy", "train_y.npy", "validation_x.npy", "validation_y.npy")


@dataclass(frozen=True)
class StudyBundle:
    """Carry files by their place in the folder to be, as bytes that an object store shares without a copy."""

    name: str
    files: dict[str, npt.NDArray[np.uint8]]


def bundle_study(config: str, data: Path) -> StudyBundle:
    """Bundle a study (its configuration as JSON) whose data are sealed in a folder."""
    files = {f"data/{name}": data / name for name in _DATA}
    described = json.loads(config)
    module = (described["model"].get("factory") or "").partition(":")[0].partition(".")[0]
    for folder in (Path.cwd(), Path(described["folder"])):
        if module and ((folder / f"{module}.py").exists() or (folder / module).is_dir()):
            beside = [*folder.glob("*.py"), *(folder / module).rglob("*.py")]
            files |= {f"code/{each.relative_to(folder)}": each for each in beside}
    arrays = {name: np.frombuffer(path.read_bytes(), np.uint8) for name, path in sorted(files.items())}
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(name.encode() + b"\0" + hashlib.sha256(array.tobytes()).digest())
    return StudyBundle(digest.hexdigest()[:32], arrays)


def unpack_study(config: str, bundle: StudyBundle) -> tuple[str, Path]:
    """Write a study on this machine, once for all workers of a node; return its configuration and its data's folder."""
    home = Path(tempfile.gettempdir()) / f"regsearch-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    home.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and home.stat().st_uid != os.getuid():
        raise PermissionError(f"{home} belongs to somebody else")
    place = home / bundle.name
    if not place.exists():
        beside = Path(tempfile.mkdtemp(dir=home))
        for name, array in bundle.files.items():
            file = beside / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(array.tobytes())
        try:
            beside.rename(place)  # as a whole: a place that is there is complete
        except OSError:  # another worker was first
            shutil.rmtree(beside, ignore_errors=True)
    return json.dumps({**json.loads(config), "folder": str(place / "code")}), place / "data"
