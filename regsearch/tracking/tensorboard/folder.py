"""The folder that TensorBoard's event files lie in: checked before a study begins, cleared of them when it goes.

TensorBoard is not imported here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

from regsearch.errors import UserError

KEY = "tracking.tensorboard"
OURS = ".regsearch"
"""How the event files end that are regsearch's to remove."""


def check_tensorboard(folder: str | None) -> None:
    """Refuse a folder that cannot be written, and a machine without TensorBoard; nothing is made. None is no folder.

    Raises:
        UserError: the folder.
        ModuleNotFoundError: the package is missing.
    """
    if folder is None:
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")
    place = Path(folder)
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        needed = f"it needs write access to {place}" if place.is_dir() else f"{place} is a file, not a folder"
        raise UserError("TensorBoard's files cannot be written", key=KEY, value=folder, allowed=needed)


def remove_event_files(folder: Path | None) -> None:
    """Remove the event files of a study below `folder`, and the folders that are empty then; others' files stay."""
    if folder is None:
        return
    files = list(folder.glob(f"**/events.out.tfevents.*{OURS}"))
    for file in files:
        file.unlink()
    for place in sorted({folder, *(file.parent for file in files)}, reverse=True):
        with contextlib.suppress(OSError):
            place.rmdir()


__all__ = ["check_tensorboard", "remove_event_files"]
