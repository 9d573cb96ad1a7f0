"""Refuse what a run would trip over, before anything is written: stores, search, model, and what finals need."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.config import check_measures, measures, refuse_splits
from regsearch.data import Manifest, describe_features, describe_split, remarks, seal, verify_digest
from regsearch.errors import UserError
from regsearch.study.options import FinalizeOptions
from regsearch.system.files import JsonObject
from regsearch.system.forking import imports_script
from regsearch.system.guard import guarded
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.tensorboard.folder import check_tensorboard
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import check_stores, keep_store

if TYPE_CHECKING:
    from regsearch.core.cost import Cost
    from regsearch.core.program import Program


def check_places(spec: StudySpec) -> None:
    """Refuse stores that cannot be used, and what Ray Tune is asked for and cannot do.

    Raises:
        UserError: what would be refused.
    """
    check_stores(spec.config, spec.uri, spec.folder.record())
    check_tensorboard(spec.config.tracking.tensorboard)
    if spec.config.search.engine == "ray_tune":
        check_tune(spec)


def check_tune(spec: StudySpec) -> None:
    """Refuse what Ray Tune is asked for and cannot do.

    Raises:
        UserError: an algorithm or a scheduler that cannot be used, or a cluster of which this machine is no part.
    """
    from regsearch.search.ray_tune.session import check

    check(spec.config.search, spec.space, spec.config.train.epochs)
    if spec.ray is not None and spec.ray.startswith("ray://"):
        allowed = "start it on a machine of the cluster with --ray auto, or submit it there as a job"
        what = "Ray Tune keeps its state on the disk of a machine of the cluster, which a client is not"
        raise UserError(what, key="--ray", value=spec.ray, allowed=allowed)


def check_model(spec: StudySpec, manifest: Manifest) -> Program:
    """Refuse a model that cannot be searched so; give its program otherwise.

    Raises:
        UserError: the model, the device, an objective or a constraint; or a rule that no worker could know.
    """
    from regsearch.core.build import build_program, task_of
    from regsearch.core.device import refuse_missing

    if spec.ray is None:
        refuse_missing(spec.config.search.device)
    _refuse_sessions(spec)
    check_measures(spec.config.search, measures(task_of(manifest).metrics_names), spec.space.regularizers())
    with guarded():  # the model is the author's own code
        return build_program(spec.config, manifest, spec.space)


def _refuse_sessions(spec: StudySpec) -> None:
    """Refuse a rule or a model that is declared where workers, being new processes, cannot import it."""
    from regsearch.regularizers import all_regularizers

    if imports_script():
        return
    rules = all_regularizers()
    declared = {f"space.{name}": rules[name].__module__ for name in spec.space.regularizers()}
    declared["model.factory"] = (spec.config.model.factory or "").partition(":")[0]
    for key, module in declared.items():
        if module == "__main__":
            what = (
                f"this {'model' if key == 'model.factory' else 'rule'} is declared in a notebook or a session, or in a "
                "script that is no file, which the processes that train cannot import"
            )
            allowed = "save the script as a file, or put it into a module beside the study file and import that"
            raise UserError(what, key=key, allowed=allowed)


def check_cluster(spec: StudySpec) -> None:
    """Join the study's Ray cluster, if it has one; refuse one that cannot be used before anything is written."""
    if spec.ray is not None:
        from regsearch.executors.ray import connect

        connect(spec.ray, spec.config.search.device)


@contextlib.contextmanager
def sealed_for_now(spec: StudySpec) -> Iterator[tuple[Manifest, Path]]:
    """Give the study's data without their test rows, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as place:
        yield seal(spec.config.data, spec.config.folder, folder := Path(place) / "data", test=False), folder


def check_all(spec: StudySpec) -> JsonObject:
    """Check everything a run would need, data and model included, and write nothing.

    Returns:
        The plan of the study, for a person or a program.

    Raises:
        UserError: what would be refused.
    """
    from regsearch.driver.factory import bound_trials

    check_places(spec)
    with sealed_for_now(spec) as (manifest, data):
        program = check_model(spec, manifest)
        of_model = _of_model(program, data)
    space = spec.space_over(program.layers)
    bounded, line = bound_trials(spec.config, space)
    dropped = {name: "no feature: dropped" for name in spec.config.data.drop}
    features = {**dropped, **describe_features(manifest)}
    return {
        "study": spec.name,
        "data": {
            "source": manifest.source,
            "task": manifest.task,
            "rows": manifest.sizes,
            "split": describe_split(manifest),
            **remarks(manifest),
        },
        **({"model": of_model} if of_model else {}),
        "features": features,
        "trials": bounded.search.trials,
        **({"grid": line} if line else {}),
        "regularizers": list(spec.space.regularizers()),
        "searched": [of.name for of in space.ranges()],
        "finals": spec.config.finalize.seeds,
    }


def _of_model(program: Program, data: Path) -> JsonObject:
    """What a plan says of a model: the markers at which nothing acts, and that it cannot be packed; else nothing."""
    from regsearch.core.build import load_data
    from regsearch.core.calibration import unpackable_at_a_glance
    from regsearch.core.sites import idle_markers
    from regsearch.core.unpackable import ONE_AT_A_TIME

    with guarded():  # the model is the author's own code
        serial = unpackable_at_a_glance(program, load_data(data))
    idle = idle_markers(program.rules, program.model)
    return {
        **({"markers": f"no rule of the study acts at {', '.join(idle)}"} if idle else {}),
        **({"packing": f"{ONE_AT_A_TIME}: {serial}"} if serial else {}),
    }


def measure_cost(spec: StudySpec) -> Cost:
    """Measure what each regularizer of a study adds to a training step, on one core; nothing is written.

    Raises:
        UserError: what a run would refuse.
    """
    from regsearch.core.cost import cost_of

    with sealed_for_now(spec) as (manifest, data):
        check_model(spec, manifest)
        return cost_of(spec.config, spec.space, manifest, data)


def ready_for_finals(spec: StudySpec, options: FinalizeOptions, say: Callable[[str], None]) -> StudySpec:
    """Prepare a locked study for finals as `options` say: keep that, and forget the answer that it has.

    Args:
        say: is told what the MLflow store had lost.

    Raises:
        UserError: the data changed, or there would be nothing to compare, or nothing to test it on: finals are switched
            off, there are no test rows, or no trial or not the baseline has finished; or the store cannot take them; or
            the model or a regularizer is no longer at hand.
    """
    changed = spec.with_config(options.applied(spec.config))
    _refuse_unready(changed)
    verify_digest(changed.config.data, changed.config.folder, changed.folder.data)
    check_model(changed, Manifest.load(changed.folder.data))
    keep_store(changed.folder, changed.uri, say, needed=True)
    changed.folder.write(changed.config, changed.created_ms)
    changed.folder.answer.unlink(missing_ok=True)
    return changed


def _refuse_unready(spec: StudySpec) -> None:
    config, manifest = spec.config, Manifest.load(spec.folder.data)
    if not config.finalize.seeds:
        allowed = "say --seeds N, like --seeds 10"
        raise UserError("the study file skips finals", key="finalize.seeds", value=0, allowed=allowed)
    if not manifest.sizes["test"]:
        what, allowed = "the split has no test rows", "start a study with test rows: data.split.test above 0"
        raise UserError(what, key="data.split.test", value=config.data.split.test, allowed=allowed)
    if config.finalize.splits > 1:
        refuse_splits(config.finalize, config.data, "--splits")
    trials = StudyHistory.read(spec.folder.outbox).trials()
    states = {number: trial.state for number, trial in trials.items() if trial.ended_ms is not None}
    resume = f"`regsearch study resume {spec.name}` goes on with the search"
    if "COMPLETE" not in states.values():
        why = f"{len(states)} failed or were pruned" if states else "none has ended yet"
        raise UserError(f"no trial has finished ({why})", key="NAME", value=spec.name, allowed=resume)
    if states.get(0, "COMPLETE") != "COMPLETE":
        what = "the baseline, trial 0, failed: finals have nothing to compare with"
        raise UserError(what, key="NAME", value=spec.name, allowed="mend the model or its training; start --replace")
