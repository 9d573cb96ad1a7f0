"""How wide packs may be is bounded by the memory that they were measured to take."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from regsearch.core.footprint import out_of_memory
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.tasks import Classification

FLOATS = 1_000_000


class Greedy(nn.Module):
    """Takes 4 MB and more for each row of a batch while it runs."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + 0 * (h[:, :1] * torch.ones(FLOATS)).mean(1, keepdim=True)


def greedy() -> Program:
    training = Training(1, 5, "sgd", 1e-3, 0.0, (0.9, 0.999), "constant", False)
    return Program(lambda: nn.Sequential(Greedy(), nn.Linear(64, 10)), Classification(10), (), training)


def alone(code: str) -> str:
    """What the code prints in a process of its own: memory that this one has at hand would not show."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_footprint_is_the_most_that_was_taken() -> None:
    code = """
import torch
from regsearch.core.footprint import Footprint
footprint = Footprint()
a = torch.ones(50_000_000)
b = a + 1
del a, b
print(footprint.bytes())
"""
    assert 400e6 < int(alone(code)) < 440e6


@pytest.mark.slow
def test_no_pack_is_tried_that_would_take_more() -> None:
    """Four slots take 80 MB for each copy of what the model makes; eight are expected to take twice as much."""
    code = """
from regsearch.core.calibration import _rates
from tests.core.packs import digits
from tests.core.test_footprint import greedy
print([*_rates(greedy(), digits(20), [4, 8], 0, 300_000_000)])
print([*_rates(greedy(), digits(20), [4, 8], 0, 2_000_000_000)])
print([*_rates(greedy(), digits(20), [4, 8], 200_000_000, 300_000_000)])
"""
    assert alone(code).split("\n")[:3] == ["[4]", "[4, 8]", "[2]"]


@pytest.mark.parametrize(
    "line",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUSOLVER_STATUS_ALLOC_FAILED when calling `cusolverDnCreate(handle)`",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "CUDA error: out of memory",
        "CUDA driver error: out of memory",
        "[enforce fail at alloc_cpu.cpp] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    ],
)
def test_libraries_that_allocate_by_themselves_run_out_of_memory_too(line: str) -> None:
    assert out_of_memory(RuntimeError(line))


@pytest.mark.parametrize(
    "line",
    [
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "CUDA error: device-side assert triggered",
        "CUBLAS_STATUS_INVALID_VALUE",
    ],
)
def test_other_failures_of_a_device_are_none_of_memory(line: str) -> None:
    assert not out_of_memory(RuntimeError(line))


def test_what_counts_as_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as host:
        torch.ones(1 << 50)
    try:
        raise ValueError("a wrapper") from host.value
    except ValueError as wrapper:
        wrapped = wrapper
    assert out_of_memory(host.value) and out_of_memory(wrapped) and out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert out_of_memory(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))) and not out_of_memory(
        OSError(errno.ENOENT, "")
    )
    assert not out_of_memory(RuntimeError("shape")) and not out_of_memory(ValueError("out of memory"))
