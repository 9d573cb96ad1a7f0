"""Site `loops`: rules that watch the epochs go by, end the training or choose the weights that are evaluated."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Paper, Regularizer, Shape, Strength, knob, regularizer

State = dict[str, torch.Tensor]


class Loop(Regularizer):
    """Acts once per reported epoch. `w` is one row: the trial's parameters and its module's buffers."""

    site = "loops"

    def start(self, w: torch.Tensor) -> State:
        """Make the state before the first epoch, from w [P]."""
        raise NotImplementedError

    def observe(self, state: State, w: torch.Tensor, report: State) -> tuple[State, torch.Tensor]:
        """Take in an epoch's weights as they were measured, and its report (`val_loss`, `epoch`: scalars); say whether
        to go on (bool)."""
        return state, torch.tensor(True)

    def weights(self, state: State, w: torch.Tensor) -> torch.Tensor:
        """Choose the weights to keep when training ends, from the state and those that were measured last, w [P]."""
        return w

    def epoch(self, state: State, epoch: torch.Tensor) -> torch.Tensor:
        """Tell the epoch that `weights` belongs to, where the last epoch is `epoch`."""
        return epoch


class Average(Loop):
    """Measures and keeps an average of the weights while the training goes on from the weights themselves.

    `w` is the parameters alone, here and in `start`. Where a trial averages, its statistics of batch normalization are
    those of the average: the mean over the training batches in their order, without noise.
    """

    def after_step(self, state: State, w: torch.Tensor) -> State:
        """Update the state after an optimizer step to w [P]."""
        return state

    def after_epoch(self, state: State, w: torch.Tensor, done: torch.Tensor) -> State:
        """Update the state after an epoch that ended at w [P], when this share of training is done (a scalar, to 1)."""
        return state

    def averaged(self, state: State, w: torch.Tensor) -> torch.Tensor:
        """Give the weights to measure, in place of w [P]."""
        raise NotImplementedError


@regularizer
class EMA(Average):
    """Average the weights exponentially over the steps: a <- d * a + (1 - d) * w, d = min(decay, n / (9 + n)).

    n counts the steps from 1, so that the start is soon forgotten.
    """

    source = Paper("Polyak and Juditsky", 1992, "https://doi.org/10.1137/0330046")
    decay: Strength = knob(0.9, 0.999, off=0.0, minimum=0.0, maximum=0.999999, unit="per step", doc="share kept")

    def start(self, w: torch.Tensor) -> State:
        """Start with average = w [P], steps = 0."""
        return {"average": w, "steps": torch.zeros_like(w[0])}

    def after_step(self, state: State, w: torch.Tensor) -> State:
        """Set average to d * average + (1 - d) * w [P], d = min(decay, n / (9 + n)), n the steps, this one included."""
        steps = state["steps"] + 1
        decay = torch.minimum(torch.as_tensor(self.decay), steps / (9 + steps))
        return {"average": decay * state["average"] + (1 - decay) * w, "steps": steps}

    def averaged(self, state: State, w: torch.Tensor) -> torch.Tensor:
        """Give the average [P]."""
        return state["average"]


@regularizer
class SWA(Average):
    """Average the weights at the ends of the last epochs, alike, from the end of the epoch 1 - share of the way on.

    Before, the weights themselves count. The paper holds the learning rate constant, or lets it cycle, meanwhile.
    """

    source = Paper("Izmailov et al.", 2018, "https://arxiv.org/abs/1803.05407")
    share: Strength = knob(0.1, 0.75, off=0.0, minimum=0.0, maximum=1.0, unit="share of training", doc="part averaged")

    def start(self, w: torch.Tensor) -> State:
        """Start with average = 0 [P], epochs = 0."""
        return {"average": torch.zeros_like(w), "epochs": torch.zeros_like(w[0])}

    def after_epoch(self, state: State, w: torch.Tensor, done: torch.Tensor) -> State:
        """Set average to the mean of w [P] over epochs with done > 1 - share, this one included; earlier it stays."""
        counts = done > 1 - self.share
        epochs = torch.where(counts, state["epochs"] + 1, state["epochs"])
        moved = state["average"] + (w - state["average"]) / torch.clamp(epochs, min=1.0)
        average = torch.where(counts, torch.where(epochs == 1, w, moved), state["average"])
        return {"average": average, "epochs": epochs}

    def averaged(self, state: State, w: torch.Tensor) -> torch.Tensor:
        """Give the average [P] once an epoch counts, before that w [P]."""
        return torch.where(state["epochs"] > 0, state["average"], w)


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
        """Start with best = infinity, waited = 0, epoch = 0, and the weights w [P]."""
        best = torch.full_like(w[0], INFINITY)
        return {"best": best, "waited": torch.zeros_like(best), "epoch": torch.zeros_like(best), "weights": w}

    def observe(self, state: State, w: torch.Tensor, report: State) -> tuple[State, torch.Tensor]:
        """Take over an epoch with val_loss < best - min_delta, else wait one more; go on while waited <= patience."""
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
        """Choose the best epoch's weights [P] where the rule is on, else w [P]."""
        return torch.where(self._on(state), state["weights"], w)

    def epoch(self, state: State, epoch: torch.Tensor) -> torch.Tensor:
        """Choose the best epoch where the rule is on, else the last."""
        return torch.where(self._on(state), state["epoch"], epoch)

    def _on(self, state: State) -> torch.Tensor:
        patience = torch.as_tensor(self.patience, dtype=state["best"].dtype)
        return torch.isfinite(patience) & (state["epoch"] > 0)
