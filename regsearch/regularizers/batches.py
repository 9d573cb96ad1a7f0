"""Site `batches`: rules that change the rows of a batch before the forward pass."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Context, Paper, Regularizer, Shape, Strength, knob, regularizer


class Batch(Regularizer):
    """Acts on one batch of one trial, in training only."""

    site = "batches"
    needs_numbers = True

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """Map x [B, F...], y [B, C] to the batch that is trained on, same shapes."""
        raise NotImplementedError


@regularizer
class InputNoise(Batch):
    """Add Gaussian noise to the inputs: x + sigma * e, e standard normal.

    To first order the same as a penalty on the Jacobian of the network (Tikhonov).
    """

    source = Paper("Bishop", 1995, "https://doi.org/10.1162/neco.1995.7.1.108")
    sigma: Strength = knob(
        0.0, 1.0, off=0.0, minimum=0.0, maximum=INFINITY, unit="standard deviations of the input", doc="noise level"
    )

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """Map x [B, F...] to x + sigma * e, e standard normal; the targets stay."""
        return x + self.sigma * ctx.normal(x), y


@regularizer
class MixUp(Batch):
    """Mix each row and its target with a partner's: (1 - s) * x + s * x', s = min(r, 1 - r), r ~ Beta(alpha, alpha).

    One r for the batch; partners are a random permutation of its rows. The published rule mixes with r itself; since
    partners are exchangeable, s, the smaller share, gives the same distribution of batches.
    """

    source = Paper("Zhang et al.", 2018, "https://arxiv.org/abs/1710.09412")
    alpha: Strength = knob(
        0.05, 2.0, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="Beta parameter", doc="how evenly rows mix"
    )

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """Map x [B, F...] to x + s (x' - x), and y [B, C] to y + s (y' - y), of a partner's row x' and target y'."""
        partner = _partners(x, ctx)
        share = _smaller_share(self.alpha, x, ctx)
        return x + share * (x[partner] - x), y + share * (y[partner] - y)


@regularizer
class CutMix(Batch):
    """Replace a random box of each row by its partner's, and mix the targets by the box's share of the area.

    With probability p in each step: the box takes the share 1 - r of the area, r ~ Beta(alpha, alpha), before it is
    cut off at the border; box and permutation of partners are one for the batch. The box lies in the last two axes of
    images [B, C, H, W]; features [B, F] are taken as a line, the box as an interval of it.
    """

    source = Paper("Yun et al.", 2019, "https://arxiv.org/abs/1905.04899")
    p: Strength = knob(0.0, 1.0, off=0.0, unit="probability", doc="share of steps with a box")
    alpha: Shape = knob(
        0.2, 2.0, default=1.0, log=True, minimum=1e-3, maximum=INFINITY, unit="Beta parameter", doc="even box sizes"
    )

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """Map x [B, F...] to x' inside the box, x outside, and y [B, C] to y + share (y' - y), share the box's part."""
        on = ctx.uniform(_one(x)) < self.p
        partner = _partners(x, ctx)
        small = _smaller_share(self.alpha, x, ctx)
        area = torch.where(ctx.uniform(small) < 0.5, small, 1 - small)
        axes = _box_axes(x)
        side = area if axes == 1 else torch.sqrt(area)
        inside = on & _box(side, ctx.uniform(x.flatten()[:axes]), x.shape[-axes:])
        share = inside.to(x.dtype).mean()
        return torch.where(inside, x[partner], x), y + share * (y[partner] - y)


@regularizer
class Cutout(Batch):
    """Set a box of each row to zero, the mean of scaled inputs; its sides are `side` times the axes it lies along.

    Each row has a box of its own, its centre anywhere, cut off at the border. It lies in the last two axes of images
    [B, C, H, W]; features [B, F] are taken as a line, the box as an interval of it.
    """

    source = Paper("DeVries and Taylor", 2017, "https://arxiv.org/abs/1708.04552")
    side: Strength = knob(0.0, 0.6, off=0.0, maximum=1.0, unit="share of an axis", doc="side of the box")

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """Map x [B, F...] to 0 inside each row's box and x outside; the targets stay."""
        axes = _box_axes(x)
        inside = _box(self.side, ctx.uniform(x.flatten(1)[:, :axes]), x.shape[-axes:])
        between = (1,) * (x.dim() - 1 - axes)
        inside = inside.reshape(x.shape[0], *between, *x.shape[-axes:])
        return torch.where(inside, 0.0, x), y


def _one(x: torch.Tensor) -> torch.Tensor:
    """A scalar like x [...], for one random number."""
    return x.flatten()[0]


def _partners(x: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A random permutation of the rows of x [B, F...], [B] int64."""
    return torch.argsort(ctx.uniform(x.flatten(1)[:, 0]), stable=True)


def _smaller_share(alpha: Strength, x: torch.Tensor, ctx: Context) -> torch.Tensor:
    """min(r, 1 - r), r ~ Beta(alpha, alpha), a scalar, exactly 0 at alpha 0.

    r = (1 ± sqrt((1 - q) c^2 / (q + (1 - q) c^2))) / 2 with q = u^(1 / alpha), c = cos(2 pi v): the one-line
    generator of Devroye (1996, "Random variate generation in one line of code"), written so that nothing overflows.
    """
    # exp and log rather than a power, whose last bit depends on where in a vector a trial lies.
    q = torch.exp(torch.log(ctx.uniform(_one(x))) / torch.as_tensor(alpha))
    c = torch.cos(2 * torch.pi * ctx.uniform(_one(x))).square()
    return (1 - torch.sqrt((1 - q) * c / (q + (1 - q) * c))) / 2


def _box_axes(x: torch.Tensor) -> int:
    return 2 if x.dim() > 2 else 1


def _box(side: Strength, centre: torch.Tensor, lengths: torch.Size) -> torch.Tensor:
    """Which places of a line or an image of these lengths lie in a box, [..., *lengths] bool.

    Args:
        side: its sides as a share of the lengths.
        centre: its centre as a share of the lengths, in [0, 1), [..., number of lengths].
    """
    inside = torch.ones(lengths, dtype=torch.bool, device=centre.device)
    for axis, length in enumerate(lengths):
        width = torch.floor(torch.as_tensor(side * length + 0.5))
        start = torch.floor(centre[..., axis : axis + 1] * length) - torch.floor(width / 2)
        places = torch.arange(length, device=centre.device)
        along = (places >= start) & (places < start + width)
        shape = [1] * len(lengths)
        shape[axis] = length
        inside = inside & along.reshape(*along.shape[:-1], *shape)
    return inside
