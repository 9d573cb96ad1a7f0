"""What packs are compared with: the stock loop, plain `torch.func.vmap`, and `modelbatch` from PyPI.

Each is an endless iterator that trains one step and gives the number of trial-steps done. Data are resident, nothing
is tracked, batches are drawn anew in each epoch.

Legend: N rows, T trials, B batch.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from models import Case
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

Rows = tuple[torch.Tensor, torch.Tensor]
"""x [N, F...] and y [N]."""
LEARNING_RATE = 1e-3
MODELBATCH = "modelbatch==0.1.0"
_FOLDER = Path(__file__).resolve().parent.parent / "build" / "peers"


def stock(case: Case, rows: Rows, fused: bool, channels_last: bool = False) -> Iterator[int]:
    """The loop of PyTorch's tutorials, one trial at a time."""
    (x, y), module = rows, case.build()
    if channels_last:
        module, x = module.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=fused, foreach=not fused)
    while True:
        for chosen in torch.randperm(len(x)).split(case.batch):
            optimizer.zero_grad()
            case.loss(module(x[chosen]), y[chosen]).backward()
            optimizer.step()
            yield 1


def plain_vmap(case: Case, rows: Rows, trials: int) -> Iterator[int]:
    """T trials by `vmap` of the gradient over stacked parameters, then one fused optimizer per trial."""
    (x, y), modules = rows, [case.build() for _ in range(trials)]
    stacked, buffers = stack_module_state(modules)
    weights = {name: value.detach() for name, value in stacked.items()}
    base = copy.deepcopy(modules[0]).to("meta")

    def loss(
        weights: dict[str, torch.Tensor], buffers: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor
    ) -> torch.Tensor:
        return case.loss(functional_call(base, (weights, buffers), (x,)), y)

    slopes = vmap(grad(loss), randomness="different")
    # Rows of the stacked tensors, which the optimizers update in place.
    own = [{name: nn.Parameter(value[trial]) for name, value in weights.items()} for trial in range(trials)]
    optimizers = [torch.optim.Adam(each.values(), lr=LEARNING_RATE, fused=True) for each in own]
    for chosen in _batches(len(x), case.batch, trials):
        found = {name: value.unbind() for name, value in slopes(weights, buffers, x[chosen], y[chosen]).items()}
        for trial, optimizer in enumerate(optimizers):
            for name, parameter in own[trial].items():
                parameter.grad = found[name][trial]
            optimizer.step()
        yield trials


def modelbatch(case: Case, rows: Rows, trials: int) -> Iterator[int]:
    """T trials by `modelbatch`, as its documentation shows it, each with batches and a learning rate of its own."""
    if str(_FOLDER) not in sys.path:
        sys.path.append(str(_FOLDER))
    from modelbatch import ModelBatch, OptimizerFactory

    x, y = rows
    batch = ModelBatch([case.build() for _ in range(trials)], shared_input=False)
    settings = [{"lr": LEARNING_RATE}] * trials
    optimizer = OptimizerFactory(torch.optim.Adam, {"fused": True}).create_optimizer(batch, settings)
    for chosen in _batches(len(x), case.batch, trials):
        optimizer.zero_grad()
        batch.compute_loss(batch(x[chosen]), y[chosen], case.loss).backward()
        optimizer.step()
        yield trials


def _batches(rows: int, size: int, trials: int) -> Iterator[torch.Tensor]:
    """Row numbers [T, B], each trial in an order of its own."""
    while True:
        yield from torch.stack([torch.randperm(rows) for _ in range(trials)]).split(size, 1)


def install_modelbatch() -> str | None:
    """Put `modelbatch` into a folder of its own, not into regsearch's environment; None, or why it cannot be had.

    Its dependencies (torch, numpy, tqdm) are regsearch's, so that both run on the same torch.
    """
    if (_FOLDER / "modelbatch").is_dir():
        return None
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, "--target", str(_FOLDER), MODELBATCH], capture_output=True, text=True)
    return f"pip cannot install {MODELBATCH} here" if done.returncode else None
