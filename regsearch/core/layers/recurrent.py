"""GRU and LSTM layers of a pack: one product a time step for all trials, and a backward pass written by hand.

Legend: T trials, L steps, B batch, I inputs, H hidden, K columns of what an LSTM's step multiplies: H, I, 1 and zeros
up to a multiple of 4. Under autograd a loop over time is L times as many small operations, which bound the speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from regsearch.core.layers.cells import Cells, TorchCells, compiled_cells
from regsearch.core.layers.opaque import Back, Body, Made, Operation, copied, opaque, product, rows
from regsearch.errors import UserError

Tensor = torch.Tensor
Dropping = Callable[[Tensor, float, bool], Tensor]
"""What happens at a dropout site, from what passes there, the author's rate, and whether the layer drops now."""


def _order(steps: int, reverse: bool) -> Iterator[tuple[int, int, int]]:
    """(step, place of the state before, place of the state after) for places 0 to L, in the order of the recurrence."""
    for step in reversed(range(steps)) if reverse else range(steps):
        yield (step, step + 1, step) if reverse else (step, step, step + 1)


def _before(states: Tensor, reverse: bool) -> Tensor:
    """The states [T, L + 1, B, K] that the steps begin with, [T, L B, K]."""
    return (states[:, 1:] if reverse else states[:, :-1]).flatten(1, 2)


# --- LSTM ---------------------------------------------------------------------------------------------------------


def _lstm_shapes(x: Tensor, h: Tensor, c: Tensor, w: Tensor, reverse: bool) -> tuple[Tensor, ...]:
    (t, steps, batch, _), hidden = x.shape, h.shape[-1]
    sizes = ((steps, batch, hidden), (batch, hidden), (steps + 1, batch, w.shape[-1]), (steps + 1, batch, hidden))
    return *(rows(x, t, *size) for size in sizes), rows(x, t, steps, batch, 4 * hidden)


def _lstm(cells: Cells, x: Tensor, h: Tensor, c: Tensor, w: Tensor, reverse: bool) -> tuple[Tensor, ...]:
    """x [T, L, B, I], h and c [T, B, H], w [T, 4H, K] to (outputs [T, L, B, H], last c, what the way back needs)."""
    out, last, z, cs, g = made = _lstm_shapes(x, h, c, w, reverse)
    steps, size, hidden = x.shape[1], x.shape[-1], h.shape[-1]
    first, final = (steps, 0) if reverse else (0, steps)
    inputs = z[:, 1:] if reverse else z[:, :-1]
    inputs[..., hidden : hidden + size] = x
    inputs[..., hidden + size] = 1
    inputs[..., hidden + size + 1 :] = 0
    z[:, first, :, :hidden], cs[:, first] = h, c
    w_t, places, gates = w.mT, z.unbind(1), g.unbind(1)
    states, memory, outs = z[..., :hidden].unbind(1), cs.unbind(1), out.unbind(1)
    for step, before, after in _order(steps, reverse):
        torch.bmm(places[before], w_t, out=gates[step])
        cells.lstm(gates[step], memory[before], memory[after], states[after], outs[step])
    last.copy_(cs[:, final])
    return made


def _lstm_back_shapes(
    slope: Tensor, dc: Tensor, w: Tensor, z: Tensor, cs: Tensor, g: Tensor, inputs: int, reverse: bool
) -> tuple[Tensor, ...]:
    t, steps, batch, hidden = slope.shape
    sizes = (steps, batch, inputs), (batch, hidden), (batch, hidden), tuple(w.shape[1:])
    return tuple(rows(slope, t, *size) for size in sizes)


def _lstm_back(
    cells: Cells, slope: Tensor, dc: Tensor, w: Tensor, z: Tensor, cs: Tensor, g: Tensor, inputs: int, reverse: bool
) -> tuple[Tensor, ...]:
    """Slopes of outputs [T, L, B, H] and last c to those of x (of no columns if `inputs` is 0), h, c, w."""
    t, steps, batch, hidden = slope.shape
    dh, dc, d = rows(g, t, batch, hidden).zero_(), copied(dc), rows(g, *g.shape)
    u, gates, memory, slopes, ds = w[..., :hidden], g.unbind(1), cs.unbind(1), slope.unbind(1), d.unbind(1)
    for step, before, after in reversed(list(_order(steps, reverse))):
        cells.lstm_back(gates[step], memory[before], memory[after], slopes[step], dh, dc, ds[step])
        torch.bmm(ds[step], u, out=dh)
    flat = d.flatten(1, 2)
    dx = product(flat, w[..., hidden : hidden + inputs]) if inputs else rows(g, t, steps * batch, 0)
    return dx.view(t, steps, batch, inputs), dh, dc, product(flat.mT, _before(z, reverse))


# --- GRU ----------------------------------------------------------------------------------------------------------


def _gru_shapes(
    x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor, b_u: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    (t, steps, batch, size), hidden = x.shape, h.shape[-1]
    sizes = (steps, batch, hidden), (steps, batch, size), (steps + 1, batch, hidden), (steps, batch, 3 * hidden)
    return *(rows(x, t, *each) for each in sizes), rows(x, t, steps, batch, hidden)


def _gru(
    cells: Cells, x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor, b_u: Tensor, reverse: bool
) -> tuple[Tensor, ...]:
    """x [T, L, B, I], h [T, B, H], w [T, 3H, I], u [T, 3H, H], b and b_u [T, 3H] to (outputs [T, L, B, H], and what the
    way back needs).
    """
    out, inputs, hs, g, n = made = _gru_shapes(x, h, w, u, b, b_u, reverse)
    (t, steps, batch, _), hidden = x.shape, h.shape[-1]
    inputs.copy_(x)
    hs[:, steps if reverse else 0] = h
    torch.baddbmm(b.unsqueeze(1), inputs.flatten(1, 2), w.mT, out=g.view(t, steps * batch, 3 * hidden))
    p, u_t, b_u = rows(x, t, batch, 3 * hidden), u.mT, b_u.unsqueeze(1)
    states, gates, parts, outs = hs.unbind(1), g.unbind(1), n.unbind(1), out.unbind(1)
    for step, before, after in _order(steps, reverse):
        torch.baddbmm(b_u, states[before], u_t, out=p)
        cells.gru(gates[step], p, states[before], states[after], parts[step], outs[step])
    return made


def _gru_back_shapes(
    slope: Tensor, x: Tensor, w: Tensor, u: Tensor, hs: Tensor, g: Tensor, n: Tensor, inputs: int, reverse: bool
) -> tuple[Tensor, ...]:
    t, steps, batch, hidden = slope.shape
    sizes: tuple[tuple[int, ...], ...] = (steps, batch, inputs), (batch, hidden), tuple(w.shape[1:]), tuple(u.shape[1:])
    return *(rows(slope, t, *each) for each in sizes), *(slope.new_empty(t, 3 * hidden) for _ in range(2))


def _gru_back(
    cells: Cells,
    slope: Tensor,
    x: Tensor,
    w: Tensor,
    u: Tensor,
    hs: Tensor,
    g: Tensor,
    n: Tensor,
    inputs: int,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Slopes of outputs [T, L, B, H] to those of x (of no columns if `inputs` is 0), h, w, u, b, b_u."""
    t, steps, batch, hidden = slope.shape
    dh, d = rows(g, t, batch, hidden).zero_(), rows(g, t, steps, batch, 4 * hidden)
    states, gates, parts, slopes = hs.unbind(1), g.unbind(1), n.unbind(1), slope.unbind(1)
    ds, recurrent = d.unbind(1), d[..., hidden:].unbind(1)
    for step, before, _ in reversed(list(_order(steps, reverse))):
        cells.gru_back(gates[step], parts[step], states[before], slopes[step], dh, ds[step])
        dh.baddbmm_(recurrent[step], u)
    flat = d.flatten(1, 2)
    of_inputs, of_states = flat[..., : 3 * hidden], flat[..., hidden:]

    def turned(each: Tensor, shift: int) -> Tensor:
        """The gates' rows from (n, r, z) to (r, z, n), shift -1, or back."""
        return copied(each.view(t, 3, hidden, -1).roll(shift, 1).flatten(1, 2))

    dx = product(of_inputs, turned(w, 1)) if inputs else rows(g, t, steps * batch, 0)
    dw, du = product(of_inputs.mT, x.flatten(1, 2)), product(of_states.mT, _before(hs, reverse))
    total = flat.sum(1)
    db = torch.cat([total[:, hidden : 3 * hidden], total[:, :hidden]], 1)
    return dx.view(t, steps, batch, inputs), dh, turned(dw, -1), du, db, total[:, hidden:].contiguous()


# --- Operations ---------------------------------------------------------------------------------------------------


def _made(name: str, schema: str, body: Callable[..., tuple[Tensor, ...]], shapes: Body) -> tuple[Operation, Operation]:
    """The operation with cells in torch, and the same with compiled ones."""
    plain = opaque(name, schema, lambda *given: body(TorchCells(), *given), shapes)
    return plain, opaque(f"{name}_compiled", schema, lambda *given: body(compiled_cells(), *given), shapes)


_LSTM = _made(
    "lstm",
    "(Tensor x, Tensor h, Tensor c, Tensor w, bool r) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _lstm,
    _lstm_shapes,
)
_LSTM_BACK = _made(
    "lstm_back",
    "(Tensor d, Tensor dc, Tensor w, Tensor z, Tensor cs, Tensor g, int i, bool r) -> (Tensor, Tensor, Tensor, Tensor)",
    _lstm_back,
    _lstm_back_shapes,
)
_GRU = _made(
    "gru",
    "(Tensor x, Tensor h, Tensor w, Tensor u, Tensor b, Tensor c, bool r) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _gru,
    _gru_shapes,
)
_GRU_BACK = _made(
    "gru_back",
    "(Tensor d, Tensor x, Tensor w, Tensor u, Tensor hs, Tensor g, Tensor n, int i, bool r)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _gru_back,
    _gru_back_shapes,
)
COMPILED: dict[Operation, Operation] = dict([_LSTM, _LSTM_BACK, _GRU, _GRU_BACK])
"""For each operation, the same with compiled cells."""


class _LSTMLayer(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, h: Tensor, c: Tensor, w: Tensor, reverse: bool) -> Made:
        return _LSTM[0](x, h, c, w, reverse)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, bool], output: tuple[Tensor, ...]
    ) -> None:
        x, _, _, w, ctx.reverse = inputs
        ctx.inputs = x.shape[-1]
        ctx.mark_non_differentiable(*output[2:])
        ctx.save_for_backward(w, *output[2:])

    @staticmethod
    def backward(ctx: Any, slope: Tensor, dc: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.inputs if ctx.needs_input_grad[0] else 0
        dx, *others = Back.apply(_LSTM_BACK[0], slope, dc, *ctx.saved_tensors, inputs, ctx.reverse)  # type: ignore[no-untyped-call]
        return dx if inputs else None, *others, None


class _GRULayer(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, h: Tensor, w: Tensor, u: Tensor, b: Tensor, b_u: Tensor, reverse: bool) -> Made:
        return _GRU[0](x, h, w, u, b, b_u, reverse)

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, bool], output: tuple[Tensor, ...]
    ) -> None:
        x, _, w, u, _, _, ctx.reverse = inputs
        ctx.inputs = x.shape[-1]
        ctx.mark_non_differentiable(*output[1:])
        _, before, hs, g, n = output
        ctx.save_for_backward(before, w, u, hs, g, n)

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.inputs if ctx.needs_input_grad[0] else 0
        dx, *others = Back.apply(_GRU_BACK[0], slope, *ctx.saved_tensors, inputs, ctx.reverse)  # type: ignore[no-untyped-call]
        return dx if inputs else None, *others, None


# --- One trial ----------------------------------------------------------------------------------------------------


def lstm(dropping: Dropping, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Run an LSTM as `torch.lstm` does, over sequences of one length: (outputs, last h, last c)."""
    x, (h, c), params, biases = _one_length(given)
    if params[1].shape[-1] * 4 != params[1].shape[0]:
        _refuse_dropout(*given[5:7])
        raise NotImplementedError("an LSTM with projections")

    def layer(x: Tensor, index: int, part: Sequence[Tensor], reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
        w, u, *b = part
        bias = (b[0] + b[1]).unsqueeze(1) if biases else w.new_zeros(w.shape[0], 1)
        all_of = torch.cat([u, w, bias], 1)
        all_of = F.pad(all_of, (0, -all_of.shape[1] % 4))
        out, last, *_ = _LSTMLayer.apply(*(each.unsqueeze(0) for each in (x, h[index], c[index], all_of)), reverse)  # type: ignore[no-untyped-call]
        out, last = out.squeeze(0), last.squeeze(0)
        return out, out[0 if reverse else -1], last

    return _stacked(dropping, layer, x, params, *given[3:])  # type: ignore[return-value]


def gru(dropping: Dropping, *given: Any) -> tuple[Tensor, Tensor]:
    """Run a GRU as `torch.gru` does, over sequences of one length: (outputs, last h)."""
    x, h, params, biases = _one_length(given)

    def layer(x: Tensor, index: int, part: Sequence[Tensor], reverse: bool) -> tuple[Tensor, Tensor]:
        w, u, *b = part
        b = b if biases else [w.new_zeros(w.shape[0])] * 2
        given = (each.unsqueeze(0) for each in (x, h[index], w, u, *b))
        out = _GRULayer.apply(*given, reverse)[0].squeeze(0)  # type: ignore[no-untyped-call]
        return out, out[0 if reverse else -1]

    return _stacked(dropping, layer, x, params, *given[3:])  # type: ignore[return-value]


def _one_length(given: tuple[Any, ...]) -> tuple[Tensor, Any, Sequence[Tensor], bool]:
    if not isinstance(given[3], bool):
        _refuse_dropout(*given[6:8])
        raise NotImplementedError("a packed sequence in a recurrent layer")
    return given[0], given[1], given[2], given[3]


def _refuse_dropout(rate: float, training: bool) -> None:
    """Where the stock function has to serve, what it drops would not be drawn from the trial's own numbers.

    Raises:
        UserError: it would drop something.
    """
    if rate and training:
        what = "dropout between layers of packed sequences, or of an LSTM with projections, cannot be repeated"
        raise UserError(
            what, key="model", value=rate, allowed="dropout=0 in that layer; nn.Dropout may stand beside it"
        )


def _stacked(
    dropping: Dropping,
    layer: Callable[..., tuple[Tensor, ...]],
    x: Tensor,
    params: Sequence[Tensor],
    biases: bool,
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """All layers and directions; x [L, B, I] or [B, L, I], or without B."""
    x = x.transpose(0, 1) if batch_first else x
    directions, size = (2 if bidirectional else 1), (4 if biases else 2)
    lasts: list[tuple[Tensor, ...]] = []
    for index in range(layers):
        outs = []
        for direction in range(directions):
            place = index * directions + direction
            out, *last = layer(x, place, params[place * size : (place + 1) * size], direction == 1)
            outs.append(out)
            lasts.append(tuple(last))
        x = torch.cat(outs, -1) if bidirectional else outs[0]
        if dropout and index < layers - 1:
            rows_first = x.transpose(0, -2)  # x itself, without B
            x = dropping(rows_first, dropout, train).transpose(0, -2)
    x = x.transpose(0, 1) if batch_first else x
    return x, *(torch.stack(each) for each in zip(*lasts, strict=True))
