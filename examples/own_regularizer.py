"""Declare a regularizer of your own, hold it against the conformance checks, and search its strength.

Shows one declaration: formula, source, knob, effect. Prints that it keeps what a rule must keep, which strengths the
trials had, and the answer. In a package of your own an entry point makes the rule known everywhere; see
docs/howto/own-regularizer.md.

    python examples/own_regularizer.py
"""

from __future__ import annotations

from pathlib import Path

import torch

from regsearch import Study
from regsearch.regularizers import Activation, Context, Paper, Strength, knob, regularizer


@regularizer
class GaussianDropout(Activation):
    """Multiply each unit by Gaussian noise of mean 1: h * (1 + sigma * e), e standard normal."""

    source = Paper("Srivastava et al.", 2014, "https://jmlr.org/papers/v15/srivastava14a.html")
    sigma: Strength = knob(0.0, 1.0, off=0.0, unit="share of the unit", doc="noise level")

    def activation(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:  # h [B, F...]: ONE trial's activations
        return h * (1 + self.sigma * ctx.normal(h))


def main() -> None:
    """Check the rule, then run the study beside this file."""
    from regsearch.testing import PROPERTIES  # brings torch's compiler, which the workers need not load

    for name in ("declaration", "off", "acts", "alone"):  # `check_all` tries every property, which takes a minute
        PROPERTIES[name](GaussianDropout)
        print(f"the rule keeps: {name}")
    study = Study.from_file(Path(__file__).with_name("own_regularizer.yaml"))
    answer = study.run(replace=True)
    runs = study.frame()
    print(runs[runs["kind"] == "trial"][["number", "gaussian_dropout.sigma", "val_loss"]].to_string(index=False))
    print(answer.sentence)


if __name__ == "__main__":  # the study starts processes, which import this file, and so know the rule
    main()
