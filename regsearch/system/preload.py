"""Import what cuts data and trains packs: the server of `regsearch.system.forking` does so once, for all its forks.

Nothing of it may count the GPUs, after which a fork could use none.
"""

import gc
import importlib

from regsearch.system.garbage import importing

_NEEDED = (
    "regsearch.data.sources",
    "regsearch.data.parts",
    "regsearch.core.build",
    "regsearch.core.calibration",
    "regsearch.core.device",
    "torch._dynamo",
)

with importing():
    for name in _NEEDED:
        importlib.import_module(name)
gc.freeze()  # none of it is garbage: a process that looks would write to pages that it shares
