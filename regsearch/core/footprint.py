"""How much memory a piece of work takes, measured, and whether it was too much."""

from __future__ import annotations

import contextlib
import errno
import re
from pathlib import Path

import psutil
import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Footprint:
    """Measure how much this process's memory has risen at most since this was made, on the current device.

    On a CPU it is resident memory, by the kernel's high-water mark where there is one (Linux), else what is resident
    when asked.
    """

    def __init__(self) -> None:
        self._cuda = torch.get_default_device().type == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated()
        else:
            with contextlib.suppress(OSError):
                _RESET.write_text("5")  # the mark falls to what is resident now
            self._before = _resident()

    def bytes(self) -> int:
        """Measure by how many bytes memory has risen at most so far."""
        peak = torch.cuda.max_memory_allocated() if self._cuda else _high_water()
        return max(0, peak - self._before)


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _high_water() -> int:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return _resident()


_OUT_OF_MEMORY = re.compile(
    r"(can't|cannot) allocate memory|not enough memory|out of memory"  # torch's allocators, CUDA and the system
    r"|\w_(ALLOC|ALLOCATION)_FAILED"  # CUBLAS_STATUS_ALLOC_FAILED and its like: libraries allocate by themselves
    r"|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)


def out_of_memory(error: BaseException | None) -> bool:
    """Decide whether memory ran out, on the host (`MemoryError`, ENOMEM, torch's allocator) or on a device."""
    if error is None:
        return False
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    said = isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(str(error)) is not None
    return said or out_of_memory(error.__cause__)
