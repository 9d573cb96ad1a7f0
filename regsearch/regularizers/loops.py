"""Site `loops`: rules that watch the epochs go by, end the training or choose the weights that are evaluated."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Paper, Regularizer, Shape, Strength, knob, regularizer

State = dict[str, torch.Tensor]


class Loop(Regularizer):
    """Acts once per reported epoch. `w` is one row: the trial's parameters and its module's buffers."""

    site = "loops"

    def start(self, w: torch.Tensor) -> State:
        """The state before the first epoch, from w [P]."""
        raise NotImplementedError

    def observe(self, state: State, w: torch.Tensor, report: State) -> tuple[State, torch.Tensor]:
        """Take in one epoch's weights and its report (`val_loss`, `epoch`: scalars); say whether to go on (bool)."""
        raise NotImplementedError

    def weights(self, state: State, w: torch.Tensor) -> torch.Tensor:
        """The weights to keep when the training ends, from the state and the last weights w [P]."""
        raise NotImplementedError

    def epoch(self, state: State, epoch: torch.Tensor) -> torch.Tensor:
        """The epoch that `weights` belongs to, where the last epoch is `epoch`."""
        return epoch


@regularizer
class EarlyStopping(Loop):
    """End the training when the validation loss has not improved for more than patience epochs; keep the best weights.

    An epoch improves when its validation loss is below the best so far minus min_delta. Off, the last epoch's weights
    are kept.
    """

    source = Paper("Prechelt", 1998, "https://doi.org/10.1007/3-540-49430-8_3")
    patience: Strength = knob(
        1, 20, off=INFINITY, integer=True, minimum=0, maximum=INFINITY, unit="epochs", doc="epochs without improvement"
    )
    min_delta: Shape = knob(
        0.0, 0.01, default=0.0, maximum=INFINITY, unit="loss", doc="smallest improvement that counts"
    )

    def start(self, w: torch.Tensor) -> State:
        best = torch.full_like(w[0], INFINITY)
        return {"best": best, "waited": torch.zeros_like(best), "epoch": torch.zeros_like(best), "weights": w}

    def observe(self, state: State, w: torch.Tensor, report: State) -> tuple[State, torch.Tensor]:
        improved = report["val_loss"] < state["best"] - self.min_delta
        waited = torch.where(improved, 0.0, state["waited"] + 1)
        fresh = {
            "best": torch.where(improved, report["val_loss"], state["best"]),
            "waited": waited,
            "epoch": torch.where(improved, report["epoch"], state["epoch"]),
            "weights": torch.where(improved, w, state["weights"]),
        }
        return fresh, waited <= self.patience

    def weights(self, state: State, w: torch.Tensor) -> torch.Tensor:
        return torch.where(self._on(state), state["weights"], w)

    def epoch(self, state: State, epoch: torch.Tensor) -> torch.Tensor:
        return torch.where(self._on(state), state["epoch"], epoch)

    def _on(self, state: State) -> torch.Tensor:
        patience = torch.as_tensor(self.patience, dtype=state["best"].dtype)
        return torch.isfinite(patience) & (state["epoch"] > 0)
