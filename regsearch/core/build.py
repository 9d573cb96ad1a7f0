"""From a study's configuration and sealed data to the program and the rows that it trains on."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from regsearch.config import OF_WEIGHTS, StudyConfig
from regsearch.core.pack import Data
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.data import Manifest, load_search_data
from regsearch.errors import UserError
from regsearch.models import build_model, refuse_hidden_state
from regsearch.regularizers import all_regularizers
from regsearch.space import SearchSpace
from regsearch.tasks import Task, make_task


def task_of(manifest: Manifest) -> Task:
    """Make the task that a study's sealed data is for."""
    return make_task(
        manifest.task,
        manifest.outputs,
        manifest.target_scale or 1.0,
        manifest.target_mean or 0.0,
        manifest.inputs,
        len(manifest.classes or ()),
        manifest.auc,
    )


def builder(config: StudyConfig, manifest: Manifest) -> Callable[[], nn.Module]:
    """Make the function that builds the study's stock module with freshly drawn weights."""
    model = config.model
    known = {} if manifest.vocabulary is None else {"vocabulary": tuple(manifest.vocabulary)}

    def build() -> nn.Module:
        options = {**model.options, **known}
        shapes, advice = (manifest.inputs, manifest.outputs), shape_advice(config, manifest)
        return build_model(model.name, model.factory, options, *shapes, config.folder, advice)

    return build


def shape_advice(config: StudyConfig, manifest: Manifest) -> str:
    """Say how a study file gives rows another shape; nothing where their shape is not its to choose."""
    data = config.data
    if manifest.vocabulary is not None or data.text is not None or data.window is not None:
        return ""
    numbers, side = math.prod(manifest.inputs), math.isqrt(math.prod(manifest.inputs))
    like = f", like [1, {side}, {side}]" if side * side == numbers else ""
    words = "data: {shape: [channels, height, width]}"
    return f"; for pictures say {words} in the study file{like}, {numbers} numbers in all"


def build_program(
    config: StudyConfig, manifest: Manifest, space: SearchSpace, names: tuple[str, ...] | None = None
) -> Program:
    """Build the program of a study.

    Args:
        space: what the study searches.
        names: the regularizers of the program, by default all that the space may turn on.

    Raises:
        UserError: the model cannot be built, does not fit the task, or has no site for a rule; or this process, which
            did not read the study file, does not know a rule.
    """
    known = all_regularizers()
    wanted = space.regularizers() if names is None else names
    _refuse_unknown(wanted, known)
    rules = tuple(known[name] for name in known if name in wanted)
    fields = {name: getattr(config.train, name) for name in Training.__dataclass_fields__}
    build, rows = builder(config, manifest), torch.zeros((4, *manifest.inputs), dtype=getattr(torch, manifest.dtype))
    refuse_hidden_state(build(), rows)
    program = Program(
        build,
        task_of(manifest),
        rules,
        Training(**fields),
        scheduled=space.scheduled(),
        per_layer=space.per_layer(),
        watch=tuple(name for name in config.search.measures if name in OF_WEIGHTS),
    )
    program.check(rows, shape_advice(config, manifest))
    return program


def _refuse_unknown(names: Iterable[str], known: Container[str]) -> None:
    for name in names:
        if name not in known:
            allowed = (
                "the module that declares it must be importable there: on a cluster install its package on every "
                "machine, with the entry point regsearch.regularizers"
            )
            raise UserError("this rule is unknown where trials train", key=f"space.{name}", allowed=allowed)


def load_data(folder: Path) -> Data:
    """Load training and validation rows as tensors on the default device; the sealed test split is not touched."""
    arrays = load_search_data(folder)
    tensors = (np.array(each) for each in (arrays.train_x, arrays.train_y, arrays.validation_x, arrays.validation_y))
    return Data(*(torch.from_numpy(each).to(torch.get_default_device()) for each in tensors))
