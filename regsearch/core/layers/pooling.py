"""Max pooling whose windows do not overlap, for the compiler: its own form of the way back scatters float by float.

Legend: B batch, C channels, H and W sizes of a picture, h and w of the pooled one. The values and slopes are those of
torch, to the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch.fx import GraphModule

from regsearch.core.layers.opaque import Operation

Tensor = torch.Tensor
Sizes = Sequence[int]
_POOL = torch.ops.aten.max_pool2d_with_indices.default
_BACK = torch.ops.aten.max_pool2d_with_indices_backward.default


def pools(graph: GraphModule) -> bool:
    """Find whether a graph holds max pooling. Others need no table, with which the compiler forgoes its cache."""
    return any(node.target in (_POOL, _BACK) for node in graph.graph.nodes)


def decompositions() -> dict[Operation, Callable[..., object]]:
    """List what the compiler knows of operations in terms of others, with max pooling in this file's form."""
    from torch._inductor.decomposition import select_decomp_table

    known = select_decomp_table()
    return {
        **known,
        _POOL: functools.partial(_pool, known.get(_POOL)),
        _BACK: functools.partial(_back, known.get(_BACK)),
    }


def _pair(sizes: Sizes | int, default: Sizes = ()) -> tuple[int, ...]:
    """Two sizes, of one or of both axes."""
    given = [sizes] if isinstance(sizes, int) else list(sizes) or list(default)
    return tuple(given * 2 if len(given) == 1 else given)


def _separate(
    x: Tensor, kernel: Sizes, stride: Sizes, padding: Sizes | int, dilation: Sizes | int, ceil_mode: bool
) -> bool:
    """Whether the windows lie side by side, none beyond the picture."""
    sides = _pair(padding), _pair(dilation)
    return x.dim() == 4 and _pair(stride, kernel) == _pair(kernel) and sides == ((0, 0), (1, 1)) and not ceil_mode


def _winners(x: Tensor, kernel: Sizes) -> tuple[Tensor, Tensor]:
    """The largest value of each window, and its number in the window as a float: x [B, C, H, W] to [B, C, h, w].

    The first among equals, as in torch; a NaN is larger than all.
    """
    rows, columns = _pair(kernel)
    h, w = x.shape[2] // rows, x.shape[3] // columns
    parts = [x[:, :, i : h * rows : rows, j : w * columns : columns] for i in range(rows) for j in range(columns)]
    best, number = parts[0], torch.zeros_like(parts[0])
    for k, part in enumerate(parts[1:], 1):
        number = torch.where((part > best) | (part != part), float(k), number)
        best = torch.maximum(best, part)
    return best, number


def _pool(
    other: Callable[..., object] | None,
    x: Tensor,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes | int = 0,
    dilation: Sizes | int = 1,
    ceil_mode: bool = False,
) -> object:
    if not _separate(x, kernel, stride, padding, dilation, ceil_mode):
        return NotImplemented if other is None else other(x, kernel, stride, padding, dilation, ceil_mode)
    best, number = _winners(x, kernel)
    rows, columns = _pair(kernel)
    within, width = number.to(torch.int64), x.shape[3]
    first = torch.arange(best.shape[2]).unsqueeze(1) * (rows * width) + torch.arange(best.shape[3]) * columns
    return best, first + within // columns * width + within % columns


def _back(
    other: Callable[..., object] | None,
    g: Tensor,
    x: Tensor,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes | int,
    dilation: Sizes | int,
    ceil_mode: bool,
    indices: Tensor,
) -> object:
    if not _separate(x, kernel, stride, padding, dilation, ceil_mode):
        given = (g, x, kernel, stride, padding, dilation, ceil_mode, indices)
        return NotImplemented if other is None else other(*given)
    number = _winners(x, kernel)[1]
    rows, columns = _pair(kernel)
    b, c, h, w = g.shape
    place = torch.arange(rows, dtype=x.dtype).view(-1, 1, 1) * columns + torch.arange(columns, dtype=x.dtype)
    if x.stride(1) == 1:  # channels last, as are the slopes then
        number, g = (each.permute(0, 2, 3, 1)[:, :, None, :, None] for each in (number, g))
        slopes = torch.where(number == place.unsqueeze(-1), g, 0.0)
        slopes = slopes.reshape(b, h * rows, w * columns, c).permute(0, 3, 1, 2)
    else:
        slopes = torch.where(number[:, :, :, None, :, None] == place, g[:, :, :, None, :, None], 0.0)
        slopes = slopes.reshape(b, c, h * rows, w * columns)
    rest = x.shape[3] - w * columns, x.shape[2] - h * rows
    return F.pad(slopes, (0, rest[0], 0, rest[1])) if any(rest) else slopes
