"""Which rules find nothing in a model to act on, and are refused before the first step."""

from __future__ import annotations

from regsearch.core.layout import Layout
from regsearch.core.lifted_module import Lifted
from regsearch.errors import UserError
from regsearch.regularizers.base import Regularizer
from regsearch.tasks import Task


def refuse_rules_without_site(
    rules: tuple[type[Regularizer], ...], model: Lifted, layout: Layout, task: Task, scheduled: tuple[str, ...]
) -> None:
    """Refuse the first rule that finds no site in the model, and a schedule of a rule that acts between epochs.

    Args:
        model: activation sites are asked for once they are found.
        scheduled: the flat names of the strengths that may follow a schedule.

    Raises:
        UserError: names the rule and what it needs.
    """
    for name in scheduled:
        if any(rule.site == "loops" for rule in rules if rule.strength_knob.name == name):
            allowed = "leave schedule and warmup out: the rule acts between epochs, not in a step"
            raise UserError("this strength has no schedule", key=f"space.{name}.schedule", allowed=allowed)
    for rule in rules:
        if rule.needs_classes and not task.distributions:
            allowed = "it needs a task of classes, like classification"
            raise UserError(
                "this rule means nothing where numbers are predicted", key=f"space.{rule.name}", allowed=allowed
            )
        where = _parameters_needed(rule, layout) or _sites_needed(rule, model)
        if where:
            what = "this rule finds no site in the model"
            raise UserError(what, key=f"space.{rule.name}", allowed=f"it needs {where}")


def _parameters_needed(rule: type[Regularizer], layout: Layout) -> str | None:
    """What the rule lacks among the parameters that are trained, or None."""
    if rule.acts_on == "penalized" and not layout.penalized:
        return "a weight tensor that is trained; biases are left out unless train.penalize_bias is true"
    if rule.acts_on == "weights" and not layout.layers(penalized=False):
        return "a weight tensor that is trained"
    return None


def _sites_needed(rule: type[Regularizer], model: Lifted) -> str | None:
    """What the rule lacks among the sites of the model, or None."""
    marker = rule.marker
    if model.kind and marker and not model.markers[marker]:
        return f"a regsearch Site({marker!r})"
    if model.kind and rule.site in ("norms", "activations") and not marker and not model.sites:
        return "an activation, dropout or a regsearch Site()"
    if model.kind and rule.site == "norms" and not model.rows_first:
        return "rows along the first axis wherever it acts (batch_first=True)"
    return None


def idle_markers(rules: tuple[type[Regularizer], ...], model: Lifted) -> tuple[str, ...]:
    """List the named markers of a model, once its sites are found, that none of the rules acts at."""
    return tuple(sorted(set(model.markers) - {rule.marker for rule in rules}))


def refuse_to_watch(layout: Layout, names: tuple[str, ...]) -> None:
    """Refuse measures of the weights (`sparsity`, `weight_norm`) where no weight tensor is trained.

    Raises:
        UserError: names the measure.
    """
    if names and not layout.layers(penalized=False):
        what = "this measure is of the weights that are trained, and the model trains none"
        raise UserError(what, key="search", value=names[0], allowed="train a weight tensor, or measure something else")
