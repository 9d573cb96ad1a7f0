"""What each regularizer of a study adds to a training step."""

from __future__ import annotations

from pathlib import Path

import torch

from regsearch.config import StudyConfig
from regsearch.core.cost import Cost, seconds_per_rule
from regsearch.core.fit import build_program, load_data
from regsearch.data import Manifest


def cost_of(config: StudyConfig, regularizers: tuple[str, ...], manifest: Manifest, data: Path) -> Cost:
    """Measure it on one core, on the sealed rows in the folder `data`; see `regsearch.core.cost.seconds_per_rule`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return seconds_per_rule(
            lambda chosen: build_program(config, manifest, chosen),
            regularizers,
            load_data(data),
            config.search.trials,
            width=config.search.width,
            compiled=config.train.compile,
        )
    finally:
        torch.set_num_threads(threads)
