"""Import what cuts data and trains packs: the server that processes are forked from does so once, for all of them.

Nothing of it may count the GPUs, after which a fork could use none.
"""

import gc

from regsearch.system.garbage import importing

with importing():
    import torch._dynamo  # noqa: F401

    import regsearch.core.build
    import regsearch.core.calibration
    import regsearch.core.device
    import regsearch.data.parts
    import regsearch.data.sources  # noqa: F401
gc.freeze()  # none of it is garbage: a process that looks would write to pages that it shares
