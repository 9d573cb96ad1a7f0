"""Embedding bags of a pack: the tables of all trials as one, in one call of the stock kernel.

Legend: T trials, V rows of a table, D features, N indices, B bags. `vmap` would call the kernel trial by trial.
"""

from __future__ import annotations

from typing import Any

import torch

from regsearch.core.layers.opaque import Back, Made, opaque, rows

Tensor = torch.Tensor
_SUM, _MEAN, _MAX = 0, 1, 2
_MODES = {"sum": _SUM, "mean": _MEAN, "max": _MAX}
_HOW = "int m, int p"


def _joint(index: Tensor, size: int) -> Tensor:
    """index [T, N] into `size` rows of each trial, as places [T N] in the rows of all."""
    return (index + torch.arange(len(index)).unsqueeze(1) * size).flatten()


def _bags(offsets: Tensor, count: int) -> Tensor:
    """The bag, among those of all trials, that each of the N = `count` indices is in, [T N]."""
    t, bags = offsets.shape
    ends = torch.cat([offsets[:, 1:], offsets.new_full((t, 1), count)], 1)
    return torch.repeat_interleave(torch.arange(t * bags), (ends - offsets).flatten(), output_size=t * count)


def _scales(index: Tensor, offsets: Tensor, scales: Tensor, mode: int, padding: int) -> Tensor | None:
    """What each index counts in its bag's sum, [T N]: 0 for padding, a share for means; None where all count 1."""
    known = (index != padding).flatten()
    if mode == _MEAN:
        bag = _bags(offsets, index.shape[1])
        share = torch.bincount(bag, known.double(), offsets.numel()).clamp(min=1).reciprocal()
        return (share[bag] * known).float()
    if scales.shape[1]:
        return scales.flatten() * known
    return known.float() if padding >= 0 else None


def _sums(table: Tensor, places: Tensor, starts: Tensor, scales: Tensor | None) -> Tensor:
    """Sums of scaled rows by the one kernel that is fast, that for sums of bags without padding."""
    sums: Tensor = torch.ops.aten._embedding_bag(table, places, starts, False, _SUM, False, scales, False, -1)[0]
    return sums


def _shapes(
    w: Tensor, index: Tensor, offsets: Tensor, scales: Tensor, mode: int, padding: int
) -> tuple[Tensor, Tensor]:
    (t, bags), features = offsets.shape, w.shape[2]
    return rows(w, t, bags, features), index.new_empty(t, bags, features if mode == _MAX else 0)


def _forward(
    w: Tensor, index: Tensor, offsets: Tensor, scales: Tensor, mode: int, padding: int
) -> tuple[Tensor, Tensor]:
    """w [T, V, D], index [T, N], offsets [T, B], scales [T, N] or [T, 0] to (bags [T, B, D], which index each maximum
    is of [T, B, D], -1 in an empty bag).
    """
    out, chosen = made = _shapes(w, index, offsets, scales, mode, padding)
    t, size, _ = w.shape
    table, places, starts = w.flatten(0, 1), _joint(index, size), _joint(offsets, index.shape[1])
    if mode != _MAX:
        out.copy_(_sums(table, places, starts, _scales(index, offsets, scales, mode, padding)).view_as(out))
        return made
    # The kernel knows one padding row: what any trial leaves out is the first trial's.
    places = torch.where(index.flatten() == padding, padding, places)
    largest, _, counts, most = torch.ops.aten._embedding_bag(
        table, places, starts, False, _MAX, False, None, False, padding
    )
    out.copy_(largest.view_as(out))
    own = most.view_as(chosen) - torch.arange(t).view(t, 1, 1) * size
    chosen.copy_(torch.where(counts.view(t, -1, 1) > 0, own, -1))
    return made


def _back_shapes(
    g: Tensor, w: Tensor, index: Tensor, offsets: Tensor, scales: Tensor, *_: Tensor | int
) -> tuple[Tensor, Tensor]:
    return rows(w, *w.shape), torch.empty_like(scales)


def _back(
    g: Tensor, w: Tensor, index: Tensor, offsets: Tensor, scales: Tensor, chosen: Tensor, mode: int, padding: int
) -> tuple[Tensor, Tensor]:
    """The slope of the bags [T, B, D] to those of w [T, V, D] and of scales."""
    dw, dscales = made = _back_shapes(g, w, index, offsets, scales)
    t, size, features = w.shape
    if mode == _MAX:
        dw.zero_().scatter_add_(1, chosen.clamp(min=0), torch.where(chosen >= 0, g, 0.0))
        return made
    # Each row of the table is a bag of the slopes that reach it, in the order of the batch whatever the width.
    places, bag, each = (
        _joint(index, size),
        _bags(offsets, index.shape[1]),
        _scales(index, offsets, scales, mode, padding),
    )
    order, counts = places.argsort(stable=True), torch.bincount(places, minlength=t * size)
    slopes = g.reshape(-1, features)
    own = None if each is None else each[order]
    dw.copy_(_sums(slopes, bag[order], counts.cumsum(0) - counts, own).view_as(w))
    if scales.shape[1]:
        dots = (w.flatten(0, 1)[places] * slopes[bag]).sum(1).view_as(scales)
        dscales.copy_(dots.masked_fill(index == padding, 0.0))
    return made


_BAG = opaque(
    "embedding_bag",
    f"(Tensor w, Tensor i, Tensor o, Tensor s, {_HOW}) -> (Tensor, Tensor)",
    _forward,
    _shapes,
)
_BAG_BACK = opaque(
    "embedding_bag_back",
    f"(Tensor g, Tensor w, Tensor i, Tensor o, Tensor s, Tensor c, {_HOW}) -> (Tensor, Tensor)",
    _back,
    _back_shapes,
)


class _EmbeddingBag(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*given: object) -> Made:
        return _BAG(*given)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.how = inputs[4:]
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[:4], *output[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        dw, dscales = Back.apply(_BAG_BACK, g, *ctx.saved_tensors, *ctx.how)  # type: ignore[no-untyped-call]
        return dw, None, None, dscales if ctx.needs_input_grad[3] else None, None, None


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Take the sum, mean or maximum of rows of weight [V, D] within bags, [B, D].

    As in `torch.nn.functional.embedding_bag`, bags are the rows of input [B, L], or begin at `offsets` [B] in input
    [N]. Slopes are dense, also for `sparse`.

    Raises:
        NotImplementedError: `max_norm` is asked for, which changes the weights in a forward pass, or slopes that are
            scaled by frequency.
    """
    if max_norm is not None or scale_grad_by_freq:
        raise NotImplementedError("an embedding_bag with max_norm or scale_grad_by_freq")
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError("embedding_bag takes offsets for indices of one axis alone")
        offsets = torch.arange(0, input.numel(), input.shape[1])
    elif offsets is None or input.dim() != 1:
        raise ValueError("embedding_bag takes indices [B, L], or [N] and offsets")
    elif include_last_offset:
        offsets = offsets[:-1]
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError("per_sample_weights of an embedding_bag that does not sum")
    scales = weight.new_zeros(0) if per_sample_weights is None else per_sample_weights.flatten()
    given = (each.unsqueeze(0) for each in (weight, input.flatten().long(), offsets.long(), scales))
    how = _MODES[mode], padding
    out: Tensor = _EmbeddingBag.apply(*given, *how)[0].squeeze(0)  # type: ignore[no-untyped-call]
    return out
