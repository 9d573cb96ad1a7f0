"""How the learning rate and strengths change over a training. All are functions of the step count, in float64.

Legend: S steps, T trials; t counts steps from 0, N steps are the whole training, W = round(warmup * N) the warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

_Factor = Callable[[torch.Tensor, int, float, float], torch.Tensor]


def _step(t: torch.Tensor, steps: int, every: float, factor: float) -> torch.Tensor:
    return factor ** torch.div(t, max(1, round(every * steps)), rounding_mode="floor")


# From t after the warm-up and the steps that remain then.
_FACTORS: Mapping[str, _Factor] = {
    "constant": lambda t, steps, every, factor: torch.ones_like(t),
    "linear": lambda t, steps, every, factor: 1 - t / steps,
    "cosine": lambda t, steps, every, factor: (1 + torch.cos(math.pi * t / steps)) / 2,
    "step": _step,
}


def learning_rate_factor(
    name: str, t: torch.Tensor, total: int, warmup: float = 0.0, step_every: float = 1 / 3, step_factor: float = 0.1
) -> torch.Tensor:
    """Compute the factor of the learning rate at step t of `total`.

    In the warm-up, t < W, it is (t + 1) / W, as `torch.optim.lr_scheduler.LinearLR(start_factor=1 / W,
    total_iters=W - 1)`. Then, with s = t - W of R = N - W steps done:

    - `constant`: 1
    - `linear`: 1 - s / R, as `LinearLR(start_factor=1, end_factor=0, total_iters=R)`
    - `cosine`: (1 + cos(pi * s / R)) / 2, as `CosineAnnealingLR(T_max=R)`
    - `step`: step_factor^floor(s / round(step_every * R)), as `StepLR`

    Args:
        name: one of the above.
        t: steps done, any shape; 0 in the first.
        warmup, step_every: shares of the training, and of what the warm-up leaves of it.

    Returns:
        The factors, float64, of the shape of t.

    Raises:
        ValueError: no such schedule.
    """
    if name not in _FACTORS:
        raise ValueError(f"no learning-rate schedule {name}; there are {', '.join(_FACTORS)}")
    t = t.to(torch.float64)
    warm = min(round(warmup * total), total - 1)
    after = _FACTORS[name]((t - warm).clamp(min=0), total - warm, step_every, step_factor)
    return torch.where(t < warm, (t + 1) / warm, after) if warm else after


_SHAPES: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    torch.ones_like,
    lambda share: share,
    lambda share: (1 - torch.cos(math.pi * share)) / 2,
    lambda share: 1 - share,
    lambda share: (1 + torch.cos(math.pi * share)) / 2,
)


def strength_factor(kinds: torch.Tensor, warmup: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Compute the share of a trial's strength that is on when p of the training is done: shape(p) * min(1, p / warmup).

    The shapes are `constant` 1, `linear` p, `cosine` (1 - cos(pi p)) / 2, which rise from off, and `linear_down` 1 - p,
    `cosine_down` (1 + cos(pi p)) / 2, which fall towards it. The first step has p = 0, so all that rises begins off.

    Args:
        kinds: [T] int64, positions in `regsearch.space.STRENGTH_SCHEDULES`.
        warmup: [T] float64, shares of the training, 0 for none.
        share: [S, T] float64 in [0, 1).

    Returns:
        [S, T] float64 in [0, 1].
    """
    shapes = torch.stack([shape(share) for shape in _SHAPES])
    shape = shapes.gather(0, kinds.expand(1, *share.shape))[0]
    rise = share / warmup.clamp(min=torch.finfo(torch.float64).tiny)
    return shape * torch.where(warmup > 0, rise.clamp(max=1.0), 1.0)


def scheduled(strength: torch.Tensor, off: float, factor: torch.Tensor) -> torch.Tensor:
    """Scale a strength so that `factor` of it is on: factor 1 is the strength, factor 0 is off, both to the last bit.

    Where off is 0 that is factor * strength, where it is infinite (the limits of clips) strength / factor, else
    off + factor * (strength - off). A strength that is off stays off.
    """
    scaled = strength * factor if off == 0 else off + factor * (strength - off)
    scaled = strength / factor if math.isinf(off) else scaled
    scaled = torch.where(factor == 1, strength, scaled)
    return torch.where((factor == 0) | (strength == off), off, scaled)
