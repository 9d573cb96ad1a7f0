"""How every trial of a study is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """Hold how every trial of a study is trained; see `regsearch.config.TrainConfig`."""

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    momentum: float
    betas: tuple[float, float]
    schedule: str
    penalize_bias: bool
    warmup: float = 0.0
    precision: str = "float32"
    step_every: float = 1 / 3
    step_factor: float = 0.1

    def settings(self) -> dict[str, float]:
        """Name what a trial may have of its own as `train.<name>`, with the study's values."""
        beta1, beta2 = self.betas
        return {"learning_rate": self.learning_rate, "momentum": self.momentum, "beta1": beta1, "beta2": beta2}
