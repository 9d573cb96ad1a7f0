"""The counter-based random numbers once more, in NumPy and Python integers, written from their description alone.

A trial's key at a step is SplitMix64's finaliser of seed + (step + 1) * golden ratio: low word, high word. Each rule
has a stream, whose first number is the CRC-32 of the rule's name (30 bits); call c of it (from 1) mixes
(first + c) * 0x3C6EF372 (31 bits) into both words; entry i of the tensor is a two-round 32-bit hash of i with them, of
which the upper 24 bits count. A normal number takes two calls: radius, then angle (Box and Muller).
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch

_WORD, _LONG = (1 << 32) - 1, (1 << 64) - 1


def _round(x: np.ndarray, shift: int, factor: int) -> np.ndarray:
    return ((x ^ (x >> np.uint64(shift))) * np.uint64(factor)) & np.uint64(_WORD)


def _hash(x: np.ndarray, low: int, high: int) -> np.ndarray:
    x = _round(x ^ np.uint64(low), 16, 0x7FEB352D)
    return _round(x ^ np.uint64(high), 15, 0x846CA68B)


class Numbers:
    """The numbers of one trial; `at_step` starts the next step."""

    _first = 0
    _streams: dict[str, Numbers]

    def __init__(self, seed: int) -> None:
        self._seed, self._streams = seed, {}
        self.at_step(0)

    def of(self, stream: str) -> Numbers:
        """The numbers of one rule; they follow the steps of this one."""
        other = self._streams.setdefault(stream, Numbers(self._seed))
        other._first = zlib.crc32(stream.encode()) & 0x3FFFFFFF
        return other

    def at_step(self, step: int) -> None:
        """Steps count from 0."""
        state = (self._seed + (step + 1) * 0x9E3779B97F4A7C15) & _LONG
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _LONG
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _LONG
        state ^= state >> 31
        self._low, self._high, self._calls = state & _WORD, state >> 32, 0
        for other in self._streams.values():
            other.at_step(step)

    def uniform(self, *shape: int) -> torch.Tensor:
        """In [0, 1), float32, multiples of 2^-24."""
        return torch.from_numpy(np.asarray(self._bits(shape) * np.float32(2.0**-24)))

    def normal(self, *shape: int) -> torch.Tensor:
        radius = torch.from_numpy((self._bits(shape) + np.float32(1)) * np.float32(2.0**-24))
        angle = torch.from_numpy(self._bits(shape) * np.float32(2.0**-24 * 2 * math.pi))
        return torch.sqrt(-2 * torch.log(radius)) * torch.cos(angle)

    def _bits(self, shape: tuple[int, ...]) -> np.ndarray:
        self._calls += 1
        call = ((self._first + self._calls) * 0x3C6EF372) & 0x7FFFFFFF
        zero = np.zeros((), np.uint64)
        low = _round(_round(zero + np.uint64(self._low ^ call), 16, 0x7FEB352D), 15, 0x846CA68B)
        high = _round(_round(zero + np.uint64((self._high + call) & _WORD), 16, 0x7FEB352D), 15, 0x846CA68B)
        index = np.arange(math.prod(shape), dtype=np.uint64)
        return (_hash(index, int(low), int(high)) >> np.uint64(8)).astype(np.float32).reshape(shape)
