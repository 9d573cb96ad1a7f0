"""How a stock module is lifted into a pack: where its sites are, and layers that need a form of their own.

Legend: B batch, F features. A pack's model is a copy of the user's module; its parameters and buffers keep their names.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call

from regsearch.core.effects import Place
from regsearch.core.intercept import ACTIVATIONS, Interception
from regsearch.core.layout import Layout
from regsearch.errors import UserError
from regsearch.models.site import Site

Effect = Callable[[torch.Tensor, Place], torch.Tensor]
"""What happens at a site, from what passes there."""
KINDS = ("dropout", "marker", "activation", "function")
"""The kinds of sites: a model's are all those of the first kind that it has."""


FROZEN = "frozen"
"""The buffer that holds a trial's frozen parameters, as a row: rows of a pack are aligned, whatever their shapes."""
_ROWS = 7
"""Rows of the passes that look for sites: few sequences have a length that is a multiple of it."""


class PackedBatchNorm(nn.Module):
    """Normalize batches by statistics that are handed back rather than written in place.

    In training (h - mean) / sqrt(var + eps) * weight + bias with the batch's mean and biased variance, running
    statistics moving by `momentum` towards the mean and the unbiased variance, as in `torch.nn.BatchNorm1d`. Without a
    momentum they are the plain means over all batches so far.

    Raises:
        UserError: the layer keeps no running statistics.
    """

    def __init__(self, stock: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        if stock.running_mean is None or stock.running_var is None:
            raise UserError(
                "a BatchNorm without running statistics is evaluated on the batch it gets: a row's answer depends on "
                "the rows beside it",
                key="model",
                value=f"{type(stock).__name__}(track_running_stats=False)",
                allowed="leave track_running_stats out, or take GroupNorm or LayerNorm",
            )
        self.weight, self.bias = stock.weight, stock.bias
        self.running_mean: torch.Tensor
        self.running_var: torch.Tensor
        self.register_buffer("running_mean", stock.running_mean)
        self.register_buffer("running_var", stock.running_var)
        self.momentum, self.eps = stock.momentum, stock.eps
        self.batches: torch.Tensor
        if self.momentum is None:
            self.register_buffer("batches", torch.zeros(()))  # exact up to 2^24, and averaged like any other number
        self.fresh: dict[str, torch.Tensor] = {}
        self.seen: dict[str, torch.Tensor] = {}
        self.calls = 0

    def begin(self) -> None:
        """Forget the last pass: a layer that a model calls several times moves its statistics at each call."""
        self.fresh, self.seen, self.calls = {}, {}, 0

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Normalize h [B, U, ...]: (h - mean) / sqrt(var + eps) * weight + bias, of the batch in training."""
        over = (0, *range(2, h.dim()))
        shape = (1, -1) + (1,) * (h.dim() - 2)
        if self.training:
            mean = h.mean(over)
            centred = h - mean.view(shape)
            var = centred.square().mean(over)
            rows = h.numel() // h.shape[1]
            unbiased = rows / max(rows - 1, 1)
            self._see({"running_mean": mean.detach(), "running_var": unbiased * var.detach()})
            before = dict(self.named_buffers()) | self.fresh
            move: torch.Tensor | float = 1 / (before["batches"] + 1) if self.momentum is None else self.momentum
            keep = 1 - move
            self.fresh = {
                "running_mean": keep * before["running_mean"] + move * mean.detach(),
                "running_var": keep * before["running_var"] + (move * unbiased) * var.detach(),
            }
            if self.momentum is None:
                self.fresh["batches"] = before["batches"] + 1
        else:
            centred, var = h - self.running_mean.view(shape), self.running_var
        h = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.weight is not None:
            h = h * self.weight.view(shape) + self.bias.view(shape)
        return h

    def _see(self, moments: dict[str, torch.Tensor]) -> None:
        """Take the moments of one more call into the mean over the calls of this pass."""
        self.calls += 1
        self.seen = {
            name: each if self.calls == 1 else self.seen[name] + (each - self.seen[name]) / self.calls
            for name, each in moments.items()
        }


@dataclass(frozen=True)
class _Visited:
    """A site that a forward pass came by."""

    kind: str
    rows: int
    units: int
    hidden: bool
    marker: str | None


class Lifted(nn.Module):
    """Copy a stock module to one whose sites call `effect`, and whose slow operations are replaced by packed ones.

    Its activation sites are its dropout calls, those inside attention and recurrent layers included; without any, its
    `Site` markers; without any, its activation layers; without any, its calls of activation functions. Named markers
    are sites of their own in every model. Dropout calls do nothing else but call `effect` with the author's rate.

    Attributes:
        frozen: where the parameters lie that are not trained, in a row of each trial's own.
        kind, sites, markers: of which kind its sites are, how many there are, and how many markers by name.
        layers: of each site of hidden activations, how many units there are.
        rows_first: whether the rows lie along the first axis at all of these.
        changing: the buffers that the module's own forward pass changes, by name.

    All but `frozen` are known once the sites are found.
    """

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.stock = _replace_batch_norm(copy.deepcopy(stock), {})
        self.frozen = Layout.of(self, penalize_bias=False, frozen=True)
        self.effect: Effect | None = None
        self.kind: str | None = None
        self.sites = 0
        self.layers: tuple[int, ...] = ()
        self.rows_first = True
        self.changing: frozenset[str] = frozenset()
        self.markers: Counter[str] = Counter()
        self._visited: list[_Visited] | None = None
        self._pass: Interception | None = None
        self._passed: Counter[str | None] = Counter()
        self._layer = 0
        for part in self.stock.modules():
            if isinstance(part, Site):
                part.register_forward_hook(lambda site, _args, h: self._visit("marker", h, marker=site.name))
            elif isinstance(part, ACTIVATIONS):
                part.register_forward_hook(lambda _part, _args, h: self._visit("activation", h))
            elif isinstance(part, (nn.TransformerEncoder, nn.TransformerDecoder)):
                part.register_forward_pre_hook(_no_causal_hint, with_kwargs=True)

    @torch.no_grad()
    def find_sites(self, x: torch.Tensor) -> None:
        """Count the sites, and find the buffers that change, by forward passes on rows like x [B, F...]; further calls
        do nothing.
        """
        if self.kind is not None:
            return
        x = x[torch.arange(_ROWS) % len(x)]
        visited: list[_Visited] = []
        self._visited, training = visited, self.training
        try:
            with torch.random.fork_rng(devices=[]):
                changing = _changed_buffers(self.train(), x)
                self._visited = None
                self.changing = changing | _changed_buffers(self.eval(), x)
        finally:
            self._visited = None
            self.train(training)
        self.markers = Counter(each.marker for each in visited if each.marker is not None)
        kinds = {each.kind for each in visited if each.marker is None}
        self.kind = next((kind for kind in KINDS if kind in kinds), KINDS[-1])
        sites = [each for each in visited if each.marker is None and each.kind == self.kind]
        self.sites = len(sites)
        self.layers = tuple(each.units for each in sites if each.hidden)
        self.rows_first = all(each.rows % _ROWS == 0 for each in sites if each.hidden)

    def take_sites(self, other: Lifted) -> None:
        """Take over the sites of another copy of the module."""
        self.kind, self.sites, self.markers = other.kind, other.sites, other.markers
        self.layers, self.rows_first = other.layers, other.rows_first

    def _visit(
        self, kind: str, h: torch.Tensor, rate: float = 0.0, *, hidden: bool = True, marker: str | None = None
    ) -> torch.Tensor:
        convolved = self._pass is not None and self._pass.convolved
        units = 1 if convolved else h.dim() - 1
        if self._visited is not None:
            self._visited.append(_Visited(kind, len(h), h.shape[units] if units else 1, hidden, marker))
        if self.effect is None or (marker is None and kind != self.kind):
            return h
        self._passed[marker] += 1
        depth = self._passed[marker] / (self.sites if marker is None else self.markers[marker])
        place = Place(depth, self._layer, marker, rate, units, hidden)
        self._layer += marker is None and hidden
        return self.effect(h, place)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, F...] to the module's outputs, every site of it changed by `effect`."""
        if self.effect is not None and self.kind is None:
            raise RuntimeError("the sites of the model must be found before it is trained")
        self._passed, self._layer = Counter(), 0
        for _, part in self._norms():
            part.begin()
        self._pass = Interception(self._visit, self.training)
        try:
            with self._pass:
                out: torch.Tensor = self.stock(x)
        finally:
            self._pass = None
        return out

    def fresh_buffers(self) -> dict[str, torch.Tensor]:
        """Collect the statistics after the last forward pass in training, by the buffer's name."""
        return {f"{prefix}.{name}": value for prefix, part in self._norms() for name, value in part.fresh.items()}

    def batch_statistics(self) -> dict[str, torch.Tensor]:
        """Collect the batch's mean and unbiased variance in the last forward pass in training, by the buffer's name."""
        return {f"{prefix}.{name}": value for prefix, part in self._norms() for name, value in part.seen.items()}

    def _norms(self) -> list[tuple[str, PackedBatchNorm]]:
        return [(prefix, part) for prefix, part in self.named_modules() if isinstance(part, PackedBatchNorm)]

    @property
    def normalizes_batches(self) -> bool:
        """Find whether there is batch normalization in the model."""
        return bool(self._norms())


class Unchanged(nn.Module):
    """Wrap a module so that no call changes its buffers: an answer does not depend on what was asked before."""

    def __init__(self, module: nn.Module, names: frozenset[str]) -> None:
        super().__init__()
        self.module, self.names = module, sorted(names)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x [B, F...] to the module's outputs, computed on copies of its buffers."""
        copies = {name: self.module.get_buffer(name).clone() for name in self.names}
        out: torch.Tensor = functional_call(self.module, copies, (x,))
        return out


def _changed_buffers(module: nn.Module, x: torch.Tensor) -> frozenset[str]:
    """The buffers that a forward pass on x changes, by name; the module keeps its own."""
    before = dict(module.named_buffers())
    after = {name: value.clone() for name, value in before.items()}
    marks = {name: (id(value), value._version) for name, value in after.items()}
    functional_call(module, after, (x,))
    return frozenset(
        name
        for name, value in after.items()
        if (id(value), value._version) != marks[name] or not torch.equal(value, before[name])
    )


def _no_causal_hint(
    part: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Keep a Transformer from comparing its mask with the causal one, which is data-dependent control flow.

    The hint only picks a kernel; the mask acts either way.
    """
    hint = "is_causal" if isinstance(part, nn.TransformerEncoder) else "tgt_is_causal"
    return args, {hint: False, **kwargs}


def _replace_batch_norm(module: nn.Module, replaced: dict[nn.Module, nn.Module]) -> nn.Module:
    """The module with packed batch normalization; a layer that stands in several places stays one."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if module not in replaced:
            replaced[module] = PackedBatchNorm(module)
        return replaced[module]
    for name, part in module._modules.items():  # `named_children` leaves out what it has come by
        if part is not None:
            setattr(module, name, _replace_batch_norm(part, replaced))
    return module
