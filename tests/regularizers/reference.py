"""The slow one-trial reference: a plain training loop by stock torch alone.

Nothing here comes from regsearch. What a trial starts from (module, rows and their order, knobs, seed) is handed in.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from tests.regularizers.numbers import Numbers
from tests.regularizers.reference_loops import Averaging
from tests.regularizers.reference_plain import Named, Plain
from tests.regularizers.reference_rules import REFERENCES, is_weight


def reference(start: Any) -> tuple[Named, list[tuple[float, float]]]:
    """Train one trial by the plain loop: its final state, and the training and validation loss of each epoch.

    The rules are those that `start.params` names, in the order it names them.
    """
    model, data, training = start.module, start.data, start.training
    draw = Numbers(start.seed)
    names = dict.fromkeys(flat.split(".")[0] for flat in start.params)
    knobs = {n: {f.split(".")[1]: v for f, v in start.params.items() if f.split(".")[0] == n} for n in names}
    rules = [REFERENCES[name](knobs[name], draw.of(name), start) for name in names]
    named = dict(model.named_parameters())
    penalized = [p for name, p in named.items() if training.penalize_bias or is_weight(model, name)]
    weights = {name: p for name, p in named.items() if is_weight(model, name)}
    optimizer = _optimizer(training, named, penalized, sum(rule.decoupled for rule in rules))
    _at_sites(model, start, rules)
    for rule in rules:
        if isinstance(rule, Averaging):
            _at_sites(rule.average.module, start, rules, noise=False)

    step, losses = 0, []
    for epoch, order in enumerate(start.orders, 1):
        model.train()
        for rows in order.split(training.batch_size):
            draw.at_step(step)
            step += 1
            x, y = data.train_x[rows], F.one_hot(data.train_y[rows], int(data.train_y.max()) + 1).float()
            for rule in rules:
                x, y = rule.batch(x, y)
            used: Named = dict(weights)
            for rule in rules:
                used = {name: rule.weight(used[name]) for name in _in_row(start, used)}
            optimizer.zero_grad()
            for rule in rules:
                # By itself: the pass in training changes in place the statistics that this derivative needs.
                if isinstance(slopes := rule.slope_penalty(model, x), torch.Tensor):
                    slopes.backward()
            loss = F.cross_entropy(
                functional_call(model, used, (x,)), y, label_smoothing=sum(rule.smoothing for rule in rules)
            )
            (loss + sum(rule.penalty(penalized) for rule in rules)).backward()
            for rule in rules:
                rule.gradients(named)
            if training.optimizer == "sgd":
                _decouple(penalized, training.learning_rate * sum(rule.decoupled for rule in rules))
            optimizer.step()
            with torch.no_grad():
                for rule in rules:
                    rule.project(list(weights.values()), training.learning_rate)
                    rule.after_step(model)
        shown = model
        for rule in rules:
            rule.after_epoch(model, epoch)
            shown = rule.measured(shown)
        losses.append((_loss(shown, data.train_x, data.train_y), _loss(shown, data.validation_x, data.validation_y)))
        if any([rule.stop(epoch, losses[-1][1], shown) for rule in rules]):
            break
    for rule in rules:
        rule.kept(model)
    return {name: value.detach() for name, value in model.state_dict().items()}, losses


def _in_row(start: Any, tensors: Named) -> list[str]:
    """Names in the order in which the tensors lie in the flat row, which is that of the draws."""
    return sorted(tensors, key=lambda name: start.offsets[name])


def _optimizer(
    training: Any, named: Named, penalized: list[torch.Tensor], decay: float
) -> torch.optim.SGD | torch.optim.AdamW:
    if training.optimizer == "sgd":
        return torch.optim.SGD(named.values(), lr=training.learning_rate, momentum=training.momentum)
    inside = {id(each) for each in penalized}
    rest = [each for each in named.values() if id(each) not in inside]
    groups = [{"params": penalized, "weight_decay": decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=training.betas)


@torch.no_grad()
def _decouple(penalized: list[torch.Tensor], share: float) -> None:
    """Loshchilov and Hutter (2019), algorithm 1: SGDW, which torch has no class for."""
    for each in penalized:
        each.mul_(1 - share)


def _at_sites(model: nn.Module, start: Any, rules: list[Plain], noise: bool = True) -> None:
    def hook(module: nn.Module, _: Any, h: torch.Tensor) -> torch.Tensor:
        for rule in rules:
            h = rule.normalize(h, module)
        for rule in rules if module.training and noise else ():
            h = rule.hidden(h)
        return h

    def skip(module: nn.Module, _: Any, h: torch.Tensor, depth: float) -> torch.Tensor:
        for rule in rules if module.training and noise else ():
            h = rule.branch(h, depth)
        return h

    for name in start.sites:
        model.get_submodule(name).register_forward_hook(hook)
    for index, name in enumerate(start.branches, 1):
        depth = index / len(start.branches)
        model.get_submodule(name).register_forward_hook(partial(skip, depth=depth))


@torch.no_grad()
def _loss(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    model.eval()
    return float(F.cross_entropy(model(x), y))
