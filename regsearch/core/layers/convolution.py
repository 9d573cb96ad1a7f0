"""Convolutions of a pack: the stock kernel trial by trial, pictures with their channels last.

Legend: T trials, B batch, C channels in, O out, S... sizes of a picture or a series, K... of the kernel.
Measured on a CPU, one grouped convolution, or products over copied patches, take 1 to 6 times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from regsearch.core.layers.opaque import Back, Body, Made, Operation, opaque, rows

Tensor = torch.Tensor
Sizes = Sequence[int]


def _empty(like: Tensor, *shape: int) -> Tensor:
    """Fresh memory [T, B, C, S...]; pictures have their channels last."""
    if len(shape) != 5:
        return rows(like, *shape)
    t, b, c, *size = shape
    return rows(like, t, b, *size, c).permute(0, 1, 4, 2, 3)


def _last(one: Tensor) -> Tensor:
    """One trial's [B, C, S...] as the kernel likes it."""
    if one.dim() != 4:
        return one.contiguous()
    if one.shape[1] > 1:
        return one.contiguous(memory_format=torch.channels_last)
    # Of one channel every order is true; the kernel goes by the strides, and takes four times as long by the others.
    h, w = one.shape[2:]
    return one.contiguous().as_strided(one.shape, (h * w, 1, w, 1))


def _shapes(x: Tensor, w: Tensor, b: Tensor, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Tensor:
    sizes = [
        (size + 2 * pad - step * (kernel - 1) - 1) // jump + 1
        for size, kernel, jump, pad, step in zip(x.shape[3:], w.shape[3:], stride, padding, dilation, strict=True)
    ]
    return _empty(x, x.shape[0], x.shape[1], w.shape[1], *sizes)


def _forward(x: Tensor, w: Tensor, b: Tensor, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int) -> Tensor:
    """x [T, B, C, S...], w [T, O, C / groups, K...], b [T, O] or [T, 0] to [T, B, O, S...]."""
    flat = [0] * len(stride)

    def one(h: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        shift = bias if bias.numel() else None
        return torch.convolution(_last(h), kernel, shift, stride, padding, dilation, False, flat, groups)

    if len(x) == 1:
        return _last(one(x[0], w[0], b[0])).unsqueeze(0)
    out = _shapes(x, w, b, stride, padding, dilation, groups)
    for row, *given in zip(out.unbind(), x.unbind(), w.unbind(), b.unbind(), strict=True):
        row.copy_(one(*given))
    return out


def _back_shapes(g: Tensor, x: Tensor, w: Tensor, b: Tensor, *how: Sizes | int) -> tuple[Tensor, ...]:
    dx = _empty(g, *x.shape) if how[-1] else g.new_empty(x.shape[0], 0)
    return dx, rows(g, *w.shape), torch.empty_like(b)


def _back(
    g: Tensor,
    x: Tensor,
    w: Tensor,
    b: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    of_x: bool,
) -> tuple[Tensor, ...]:
    """Slopes of the output to those of x (of no columns unless `of_x`), w and b."""
    flat, biased = [0] * len(stride), b.shape[1] > 0

    def one(slope: Tensor, h: Tensor, kernel: Tensor) -> tuple[Tensor | None, ...]:
        slopes: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            _last(slope), _last(h), kernel, [len(kernel)], stride, padding, dilation, False, flat, groups,
            [of_x, True, biased],
        )  # fmt: skip
        return slopes

    if len(x) == 1:
        dx, dw, db = one(g[0], x[0], w[0])
        of_rows = g.new_empty(0) if dx is None else _last(dx)
        shift = g.new_empty(0) if db is None else db
        return of_rows.unsqueeze(0), dw.contiguous().unsqueeze(0), shift.unsqueeze(0)  # type: ignore[union-attr]
    made = _back_shapes(g, x, w, b, of_x)
    for into, *given in zip(zip(*made, strict=True), g.unbind(), x.unbind(), w.unbind(), strict=True):
        for row, part in zip(into, one(*given), strict=True):
            if part is not None:
                row.copy_(part)
    return made


_HOW = "int[] s, int[] p, int[] d, int g"
_CONVOLVE = opaque("convolve", f"(Tensor x, Tensor w, Tensor b, {_HOW}) -> Tensor", _forward, _shapes)
_CONVOLVE_BACK = opaque(
    "convolve_back",
    "(Tensor g, Tensor x, Tensor w, Tensor b, int[] s, int[] p, int[] d, int n, bool o) -> (Tensor, Tensor, Tensor)",
    _back,
    _back_shapes,
)


FOR_ONE_TRIAL: dict[Operation, Body] = {_CONVOLVE: _forward, _CONVOLVE_BACK: _back}
"""In the graph of one trial: torch's operations, without the cost of a call of ours."""


class _Convolution(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*given: object) -> Made:
        return _CONVOLVE(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.how = inputs[3:]
        ctx.save_for_backward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        of_x = ctx.needs_input_grad[0]
        dx, dw, db = Back.apply(_CONVOLVE_BACK, g, *ctx.saved_tensors, *ctx.how, of_x)  # type: ignore[no-untyped-call]
        return dx if of_x else None, dw, db, None, None, None, None


def convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sizes = 1,
    padding: int | Sizes | str = 0,
    dilation: int | Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve as `torch.conv1d`, `conv2d`, `conv3d`: input [B, C, S...] or [C, S...], weight [O, C / groups, K...]."""
    axes = weight.dim() - 2
    steps, spread = _each(dilation, axes), _each(stride, axes)
    single = input.dim() == axes + 1
    x = input.unsqueeze(0) if single else input
    if padding == "same":
        totals = [step * (kernel - 1) for step, kernel in zip(steps, weight.shape[2:], strict=True)]
        rest = [side for total in reversed(totals) for side in (0, total % 2)]
        x, pads = F.pad(x, rest) if any(rest) else x, [total // 2 for total in totals]
    else:
        pads = [0] * axes if isinstance(padding, str) else _each(padding, axes)
    b = weight.new_zeros(0) if bias is None else bias
    given = (each.unsqueeze(0) for each in (x, weight, b))
    # Not [0]: the slope of an index is a copy of the whole.
    out: Tensor = _Convolution.apply(*given, spread, pads, steps, groups).squeeze(0)  # type: ignore[no-untyped-call]
    return out.squeeze(0) if single else out


def _each(value: int | Sizes, axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else list(value) * (axes if len(value) == 1 else 1)
