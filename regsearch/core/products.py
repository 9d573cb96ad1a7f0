"""Matrix products whose bits depend neither on the slot of a pack nor on the process that computes them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

PRODUCT_SETTINGS = {"MKL_CBWR": "AVX2"}
"""Environment variables of Intel's math library, which torch multiplies with. It reads them at its first product:
https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/current/specifying-code-branches.html"""

_SHAPE = 5, 64, 10
"""Of products that differ between the slots of a pack where the settings came too late."""


def settle_products() -> None:
    """Set what the math library reads at its first product, for this process and those that it starts."""
    os.environ.update(PRODUCT_SETTINGS)


@functools.cache
def products_agree() -> bool:
    """Try whether equal products in three slots of a pack are equal to the bit; the math library never changes that."""
    import torch

    rows, inner, columns = _SHAPE
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(1, rows, inner, generator=generator, device="cpu").repeat(3, 1, 1)
    right = torch.randn(1, inner, columns, generator=generator, device="cpu").repeat(3, 1, 1)
    product = torch.bmm(left, right)
    return bool((product == product[0]).all())


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread of torch, as workers do, so that no sum depends on how many cores a machine has."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
