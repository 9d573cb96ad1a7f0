"""The SHA-256 of files, kept beside them as `sha256sum --check` reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

SUMS = "SHA256SUMS"
"""The file of the sums."""


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the sums of files of a folder, by their names, into its `SHA256SUMS`."""
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def read_sums(folder: Path) -> dict[str, str]:
    """Read the sums in a folder's `SHA256SUMS`, by the names of the files.

    Raises:
        OSError: there is none.
        ValueError: it is cut, or something else.
    """
    *lines, end = (folder / SUMS).read_text().split("\n")
    if end:
        raise ValueError("it is cut")
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def sum_of(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
