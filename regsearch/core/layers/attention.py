"""Attention written out, so that `vmap` folds trials into the batch; the fused kernels it would run one by one.

Legend: B batch, H heads, L queries, S keys, E features, D features of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F


class Dropping(Protocol):
    """What happens at a dropout site, from what passes there, the author's rate, whether the layer drops now, and
    whether these are hidden activations rather than the weights of an attention."""

    def __call__(self, h: torch.Tensor, rate: float, drops: bool = True, hidden: bool = True) -> torch.Tensor: ...


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None,
    scale: float,
    dropping: Dropping,
    rate: float,
    drops: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute softmax(scale q k^T + mask) v and its weights for q [..., L, D], k [..., S, D], v [..., S, E].

    The weights [..., L, S] are a dropout site where the author drops some of them (`rate` above 0).

    Source: Vaswani et al. (2017), https://arxiv.org/abs/1706.03762, equation 1.
    """
    scores = (q * scale) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    weights = torch.softmax(scores, -1)
    if rate > 0:
        weights = dropping(weights, rate, drops, hidden=False)
    return weights @ v, weights


def causal(queries: int, keys: int) -> torch.Tensor:
    """Make the mask [L, S]: 0 where a query may see a key, else -inf; the first query sees the first key alone."""
    seen = torch.arange(keys) <= torch.arange(queries).unsqueeze(1)
    return torch.where(seen, 0.0, -math.inf)


def additive(mask: torch.Tensor | None, allowed: bool, like: torch.Tensor) -> torch.Tensor | None:
    """Turn a mask into numbers to add to the scores; in a boolean one, `allowed` marks the keys that are seen."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    seen = mask if allowed else ~mask
    return torch.where(seen, 0.0, -math.inf).to(like.dtype)


def scaled_dot_product_attention(
    dropping: Dropping,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Attend as `torch.nn.functional.scaled_dot_product_attention` does."""
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    mask = additive(attn_mask, True, query)
    if is_causal:
        mask = causal(query.shape[-2], key.shape[-2])
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return attend(query, key, value, mask, scale, dropping, dropout_p)[0]


def multi_head_attention(
    dropping: Dropping,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: torch.Tensor | None,
    in_proj_bias: torch.Tensor | None,
    bias_k: torch.Tensor | None,
    bias_v: torch.Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: torch.Tensor,
    out_proj_bias: torch.Tensor | None,
    training: bool = True,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: torch.Tensor | None = None,
    k_proj_weight: torch.Tensor | None = None,
    v_proj_weight: torch.Tensor | None = None,
    static_k: torch.Tensor | None = None,
    static_v: torch.Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend as `torch.nn.functional.multi_head_attention_forward` does.

    The query is [L, B, E], key and value are [S, B, E], or without B.

    Raises:
        NotImplementedError: static keys or values are given.
    """
    if static_k is not None or static_v is not None:
        raise NotImplementedError("attention with static keys or values")
    single = query.dim() == 2
    if single:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    if not use_separate_proj_weight:
        assert in_proj_weight is not None, "torch gives one of the two"
        q_proj_weight, k_proj_weight, v_proj_weight = in_proj_weight.chunk(3)
    biases: Sequence[torch.Tensor | None] = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    if query is key and key is value and in_proj_weight is not None:
        q, k, v = linear(query, in_proj_weight, in_proj_bias).chunk(3, -1)
    else:
        weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight)
        q, k, v = (linear(h, w, b) for h, w, b in zip((query, key, value), weights, biases, strict=True))
    queries, batch, features = query.shape
    more: list[tuple[torch.Tensor, torch.Tensor]] = []  # keys and values that stand after those of the input
    if bias_k is not None and bias_v is not None:
        more.append((bias_k.expand(1, batch, -1), bias_v.expand(1, batch, -1)))
    if add_zero_attn:
        more.append((torch.zeros_like(k[:1]), torch.zeros_like(v[:1])))
    k, v = torch.cat([k, *(key for key, _ in more)]), torch.cat([v, *(value for _, value in more)])

    def heads(h: torch.Tensor) -> torch.Tensor:
        return h.reshape(h.shape[0], batch, num_heads, -1).permute(1, 2, 0, 3)

    mask = additive(attn_mask, False, query)
    if mask is not None and mask.dim() == 3:
        mask = mask.reshape(batch, num_heads, *mask.shape[1:])
    if key_padding_mask is not None:
        padding = additive(key_padding_mask, False, query)[:, None, None, :]  # type: ignore[index]
        mask = padding if mask is None else mask + padding
    if mask is not None and more:
        mask = F.pad(mask, (0, len(more)))
    scale = 1 / math.sqrt(features // num_heads)
    mixed, shares = attend(heads(q), heads(k), heads(v), mask, scale, dropping, dropout_p, training)
    out = linear(mixed.permute(2, 0, 1, 3).reshape(queries, batch, features), out_proj_weight, out_proj_bias)
    if average_attn_weights and need_weights:
        shares = shares.mean(1)
    if single:
        out, shares = out.squeeze(1), shares.squeeze(0)
    return out, shares if need_weights else None


def linear(h: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Apply `torch.nn.functional.linear` to all rows in one product: `vmap` would make one for each leading index."""
    if h.dim() <= 2:
        return F.linear(h, weight, bias)
    return F.linear(h.reshape(-1, h.shape[-1]), weight, bias).view(*h.shape[:-1], -1)
