"""The rules under test and the settings that show them at work in a few epochs."""

from __future__ import annotations

from regsearch.regularizers import all_regularizers
from regsearch.testing import Rule, Setting

RULES = all_regularizers()
FIRST = {rule.site: name for name, rule in reversed(RULES.items())}.values()
"""One rule of each site: where a test is long, CI takes these and `make sweep` all."""

_SETTINGS: dict[str, list[dict[str, float]]] = {
    # In eight steps the searched decays have not yet come into force.
    "ema": [{"ema.decay": decay} for decay in (0.05, 0.2, 0.35, 0.95)],
    # In four epochs the tiny model always improves by more than the searched min_delta: none would ever stop.
    "early_stopping": [
        {"early_stopping.patience": patience, "early_stopping.min_delta": delta}
        for patience, delta in ((1.0, 10.0), (0.0, 0.3), (0.0, 0.0), (2.0, 0.0))
    ],
}


def some(rule: Rule) -> list[dict[str, float]] | None:
    """Settings to test a rule at; None for those drawn from its searched range."""
    return _SETTINGS.get(rule.name)


def cocktail() -> Setting:
    """Every rule on, each mildly enough that all still show in the weights."""
    mild = {
        "cut_mix.p": 0.6,
        "cut_mix.alpha": 1.0,
        "cutout.side": 0.3,
        "input_noise.sigma": 0.2,
        "mix_up.alpha": 0.5,
        "label_smoothing.epsilon": 0.1,
        "drop_connect.p": 0.2,
        "weight_noise.sigma": 0.05,
        "batch_norm.gate": 0.4,
        "layer_norm.gate": 0.5,
        "dropout.p": 0.3,
        "gaussian_noise.sigma": 0.2,
        "stochastic_depth.p": 0.3,
        "l1.strength": 1e-2,
        "l2.strength": 1e-1,
        "elastic_net.strength": 1e-2,
        "elastic_net.l1_ratio": 0.3,
        "group_lasso.strength": 1e-2,
        "orthogonality.strength": 1e-2,
        "jacobian.strength": 1e-2,
        "clip_by_norm.max_norm": 0.5,
        "clip_by_value.limit": 0.1,
        "gradient_noise.sigma": 1e-2,
        "adaptive_clip.clip": 0.3,
        "weight_decay.strength": 0.5,
        "max_norm.max_norm": 0.7,
        "proximal_l1.strength": 1e-2,
        "ema.decay": 0.3,
        "swa.share": 0.6,
        "early_stopping.patience": 0.0,
        "early_stopping.min_delta": 0.05,
    }
    return {knob.name: mild[knob.name] for rule in RULES.values() for knob in rule.knobs}
