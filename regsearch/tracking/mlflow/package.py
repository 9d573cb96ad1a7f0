"""A packaged model on its way to MLflow: the SHA-256 of each file beside them, so that damage is seen before it is
registered.
"""

from __future__ import annotations

import os
from pathlib import Path

from regsearch.system.sums import SUMS, read_sums, sum_of, write_sums

PREDICT = Path(__file__).with_name("predict.py")
"""What turns raw columns into answers, in a registered model and in an exported folder alike."""


class DamagedPackage(RuntimeError):
    """A file of the package is not as it was written; names it in one line. Packaging the model again mends it."""


def seal(folder: Path) -> None:
    """Write the sums of all files of a package beside them, and see to it that all are on disk."""
    write_sums(folder, {path.name: sum_of(path) for path in folder.iterdir() if path.name != SUMS})
    for path in (*folder.iterdir(), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check(package: Path, copies: Path | None = None) -> None:
    """Hold every file of a sealed package against its sum.

    Args:
        copies: a folder whose files are looked at in place of the package's, as far as it has them.

    Raises:
        DamagedPackage: a file is missing, or differs in a single bit.
    """
    try:
        known = read_sums(package)
    except (OSError, ValueError) as error:
        raise DamagedPackage(f"{package / SUMS}: the sums of the packaged model cannot be read ({error})") from error
    missing = [path.name for path in package.iterdir() if path.name != SUMS and path.name not in known]
    if missing or not known:
        raise DamagedPackage(f"{package / SUMS}: the sums of the packaged model lack {', '.join(missing) or 'all'}")
    for name, digest in known.items():
        path = copies / name if copies is not None and (copies / name).exists() else package / name
        try:
            measured = sum_of(path)
        except OSError as error:
            raise DamagedPackage(f"{path}: a file of the packaged model cannot be read ({error.strerror})") from error
        if measured != digest:
            raise DamagedPackage(f"{path}: the packaged model is damaged: its SHA-256 is not the one beside it")
