"""One time step of a recurrent layer after its products, for all trials: in torch, and in C++ for compiled graphs.

Legend: T trials, B batch, H hidden. g [T, B, gates H], h and c [T, B, H]; the last axis is contiguous.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

Tensor = torch.Tensor


class Cells(Protocol):
    """Take a time step; every method writes into its arguments."""

    def lstm(self, g: Tensor, c: Tensor, c_next: Tensor, h_next: Tensor, out: Tensor) -> None:
        """Turn sums g of the gates i, f, g, o into their values; c_next = f c + i g; h_next = out = o tanh(c_next)."""

    def lstm_back(self, g: Tensor, c: Tensor, c_next: Tensor, slope: Tensor, dh: Tensor, dc: Tensor, d: Tensor) -> None:
        """Compute slopes d of the sums, and dc of c, from those of h_next (dh + slope) and c_next (dc)."""

    def gru(self, g: Tensor, p: Tensor, h: Tensor, h_next: Tensor, n: Tensor, out: Tensor) -> None:
        """Turn inputs g and p into the gates r, z, n: g becomes their values, n is a copy of p's last part.

        r = sigma(g_r + p_r), z = sigma(g_z + p_z), n = tanh(g_n + r p_n), h_next = out = (1 - z) n + z h.
        """

    def gru_back(self, g: Tensor, n: Tensor, h: Tensor, slope: Tensor, dh: Tensor, d: Tensor) -> None:
        """Compute slopes d of (g_n, r, z, p_n), r and z for both inputs; dh becomes the part of h's beside them."""


class TorchCells:
    """Compute the cells in a few torch operations each."""

    def lstm(self, g: Tensor, c: Tensor, c_next: Tensor, h_next: Tensor, out: Tensor) -> None:
        """Compute c_next = f c + i g; h_next = out = o tanh(c_next); see `Cells`."""
        i, f, a, o = g.chunk(4, -1)
        i.sigmoid_(), f.sigmoid_(), a.tanh_(), o.sigmoid_()
        torch.mul(i, a, out=c_next)
        c_next.addcmul_(f, c)
        torch.tanh(c_next, out=out)
        out.mul_(o)
        h_next.copy_(out)

    def lstm_back(self, g: Tensor, c: Tensor, c_next: Tensor, slope: Tensor, dh: Tensor, dc: Tensor, d: Tensor) -> None:
        """Write slopes of the gates' sums into d, and of c into dc; see `Cells`."""
        i, f, a, o = g.chunk(4, -1)
        di, df, da, do = d.chunk(4, -1)
        dh.add_(slope)
        u = c_next.tanh()
        dc.add_(torch.ops.aten.tanh_backward(dh * o, u))
        torch.mul(dc, a, out=di)
        torch.mul(dc, c, out=df)
        torch.mul(dh, u, out=do)
        torch.mul(dc, i, out=da)
        for slot, value in ((di, i), (df, f), (do, o)):
            torch.ops.aten.sigmoid_backward.grad_input(slot, value, grad_input=slot)
        torch.ops.aten.tanh_backward.grad_input(da, a, grad_input=da)
        dc.mul_(f)

    def gru(self, g: Tensor, p: Tensor, h: Tensor, h_next: Tensor, n: Tensor, out: Tensor) -> None:
        """Compute h_next = out = (1 - z) n + z h; see `Cells`."""
        size = h.shape[-1]
        both, a, z = g[..., : 2 * size], g[..., 2 * size :], g[..., size : 2 * size]
        both.add_(p[..., : 2 * size]).sigmoid_()
        n.copy_(p[..., 2 * size :])
        a.addcmul_(g[..., :size], n).tanh_()
        torch.sub(h, a, out=out)
        out.mul_(z).add_(a)
        h_next.copy_(out)

    def gru_back(self, g: Tensor, n: Tensor, h: Tensor, slope: Tensor, dh: Tensor, d: Tensor) -> None:
        """Write slopes of (g_n, r, z, p_n) into d, and of h into dh; see `Cells`."""
        r, z, a = g.chunk(3, -1)
        da, dr, dz, dn = d.chunk(4, -1)
        dh.add_(slope)
        torch.sub(h, a, out=dz)
        dz.mul_(dh)
        torch.ops.aten.sigmoid_backward.grad_input(dz, z, grad_input=dz)
        dh_z = dh * z
        torch.sub(dh, dh_z, out=da)
        torch.ops.aten.tanh_backward.grad_input(da, a, grad_input=da)
        torch.mul(da, r, out=dn)
        torch.mul(da, n, out=dr)
        torch.ops.aten.sigmoid_backward.grad_input(dr, r, grad_input=dr)
        dh.copy_(dh_z)


class CompiledCells:
    """Compute the cells in C++, each one pass over memory; see `cells.cpp`."""

    def __init__(self) -> None:
        self._kernels = {name: _kernel(name, pointers) for name, pointers in _POINTERS.items()}

    def _run(self, name: str, *tensors: Tensor) -> None:
        t, b, h = tensors[1].shape if name.startswith("lstm") else tensors[2].shape
        strides = [stride for each in tensors for stride in each.stride()[:2]]
        self._kernels[name](*tensors, t, b, h, *strides)

    def lstm(self, *tensors: Tensor) -> None:
        """Compute c_next = f c + i g; h_next = out = o tanh(c_next); see `Cells`."""
        self._run("lstm", *tensors)

    def lstm_back(self, *tensors: Tensor) -> None:
        """Write slopes of the gates' sums into d, and of c into dc; see `Cells`."""
        self._run("lstm_back", *tensors)

    def gru(self, *tensors: Tensor) -> None:
        """Compute h_next = out = (1 - z) n + z h; see `Cells`."""
        self._run("gru", *tensors)

    def gru_back(self, *tensors: Tensor) -> None:
        """Write slopes of (g_n, r, z, p_n) into d, and of h into dh; see `Cells`."""
        self._run("gru_back", *tensors)


_POINTERS = {"lstm": 5, "lstm_back": 7, "gru": 6, "gru_back": 6}


def _kernel(name: str, pointers: int) -> Callable[..., object]:
    from torch._inductor.codecache import CppPythonBindingsCodeCache

    arguments = ["float*"] * pointers + ["int64_t"] * (3 + 2 * pointers)
    declared = ", ".join(f"{kind} a{k}" for k, kind in enumerate(arguments))
    given = ", ".join(f"a{k}" for k in range(len(arguments)))
    source = Path(__file__).with_name("cells.cpp").read_text(encoding="utf-8")
    source += f'\nextern "C" void kernel({declared}) {{ {name}({given}); }}\n'
    built: Callable[..., object] = CppPythonBindingsCodeCache.load_pybinding(arguments, source)
    return built


@functools.cache
def compiled_cells() -> CompiledCells:
    """Build the cells in C++, once."""
    return CompiledCells()
