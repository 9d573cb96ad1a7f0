"""Import what every worker needs: the server of the workers does so once, and they are forked from it."""

import gc
import importlib

from regsearch.system.garbage import importing

_NEEDED = ("torch._dynamo", "regsearch.core.build", "regsearch.core.calibration", "regsearch.core.device")

with importing():
    for name in _NEEDED:
        importlib.import_module(name)
gc.freeze()  # none of it is garbage: a worker that looks would write to pages that it shares
