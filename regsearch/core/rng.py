"""Counter-based random numbers: each depends on (trial seed, step, stream, call, index) alone, not on a pack or slot.

Legend: T trials. A trial's key at one step is two 32-bit words; each call of a step derives its own pair.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import torch

# Round constants of a 32-bit integer hash with low bias: https://github.com/skeeto/hash-prospector
_FIRST = 0x7FEB352D
_SECOND = 0x846CA68B - (1 << 32)
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))


def step_keys(seeds: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Compute the keys of one step, [T, 2] int32, from trial seeds [T] and step counts [T], both int64.

    The 64-bit finaliser of SplitMix64 (Steele et al., 2014, https://doi.org/10.1145/2660193.2660195).
    """
    state = seeds + (steps + 1) * _GOLDEN
    for shift, factor in zip((30, 27), _MIX, strict=True):
        state = (state ^ ((state >> shift) & ((1 << (64 - shift)) - 1))) * factor
    state = state ^ ((state >> 31) & ((1 << 33) - 1))
    return torch.stack([state, state >> 32], dim=-1).to(torch.int32)


def _round(x: torch.Tensor, shift: int, factor: int) -> torch.Tensor:
    return (x ^ ((x >> shift) & ((1 << (32 - shift)) - 1))) * factor


def _counters(shape: torch.Size) -> torch.Tensor:
    return torch.arange(math.prod(shape), dtype=torch.int32).reshape(shape)


class StepContext:
    """Lend the training step's random numbers to the effects of one trial; see `regsearch.regularizers.Context`.

    Args:
        key: the trial's key at this step, [2] int32.
        stream: whose numbers these are. Each rule has a stream of its own, in which calls are counted from 1, so what
            it draws does not depend on which other rules the program holds.
    """

    def __init__(self, key: torch.Tensor, stream: str = "") -> None:
        self._key = key
        self._first = zlib.crc32(stream.encode()) & 0x3FFFFFFF
        self._calls = 0
        self.depth = 1.0
        # Lent to rules of site `norms` alone.
        self.moments: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
        # The step lends these to penalties alone.
        self.x: torch.Tensor
        self.forward: Callable[[torch.Tensor], torch.Tensor]
        self._others: dict[str, StepContext] = {}

    def of(self, stream: str) -> StepContext:
        """Open the same step for another stream."""
        return self._others.setdefault(stream, StepContext(self._key, stream))

    def uniform(self, like: torch.Tensor) -> torch.Tensor:
        """Draw numbers in [0, 1) of the shape of `like`, multiples of 2^-24."""
        return self._bits(like.shape) * 2.0**-24

    def normal(self, like: torch.Tensor) -> torch.Tensor:
        """Draw standard normal numbers of the shape of `like`, by the Box-Muller transform."""
        radius = (self._bits(like.shape) + 1.0) * 2.0**-24
        angle = self._bits(like.shape) * (2.0**-24 * 2 * math.pi)
        return torch.sqrt(-2.0 * torch.log(radius)) * torch.cos(angle)

    def _bits(self, shape: torch.Size) -> torch.Tensor:
        """24 random bits as float32 for each entry of `shape`."""
        self._calls += 1
        call = ((self._first + self._calls) * 0x3C6EF372) & 0x7FFFFFFF
        # Words of shape [1]: `vmap` turns the scalars beside a 0-d integer into tensors, which compilers round.
        low = _round(_round(self._key[:1] ^ call, 16, _FIRST), 15, _SECOND)
        high = _round(_round(self._key[1:] + call, 16, _FIRST), 15, _SECOND)
        x = _round(_counters(shape) ^ low, 16, _FIRST)
        x = _round(x ^ high, 15, _SECOND)
        return ((x >> 8) & 0xFFFFFF).to(torch.float32)
