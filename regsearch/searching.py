"""Who runs a study's search, by the engine of its study file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regsearch.books import Books
from regsearch.config import StudyConfig, direction
from regsearch.data import Manifest
from regsearch.driver import Driver
from regsearch.errors import UserError
from regsearch.executors.base import Executor
from regsearch.search.grid import Grid
from regsearch.search.optuna import OptunaSearch
from regsearch.search.storage import Storage
from regsearch.space import SearchSpace
from regsearch.study import Study
from regsearch.tasks import TASKS
from regsearch.tracking.curves import recorded_curves
from regsearch.tracking.outbox import Outbox
from regsearch.trial import Trial


def make_driver(
    study: Study,
    manifest: Manifest,
    executor: Executor,
    outbox: Outbox,
    storage: Storage,
    *,
    start_ms: int,
    describe: Callable[[Trial], dict[str, str]],
) -> Books[Any]:
    """Optuna's rounds, or Ray Tune, from wherever the study's storage stands.

    Args:
        storage: where the trials' memory is kept.
        start_ms, describe: as of `Books`.
    """
    config, epochs = study.config.search, study.config.train.epochs
    space, higher = study.drawn(manifest), TASKS[manifest.task].higher
    directions = [direction(name, higher) for name in config.objectives]
    kept: dict[str, Any] = {
        "trials": bounded(study.config, space)[0].search.trials,
        "epochs": epochs,
        "seed": config.seed,
        "objective": config.objectives,
        "start_ms": start_ms,
        "curves": recorded_curves(outbox.path),
        "describe": describe,
        "directions": directions,
        "constraints": config.constraints,
    }
    if config.engine == "optuna":
        search = OptunaSearch(study.config.name, space, config, storage, directions, epochs)
        return Driver(search, outbox, executor, **kept)
    from regsearch.search.ray_tune.session import TuneSearch
    from regsearch.tune_driver import TuneDriver

    sampler = "random" if config.algorithm_name == "random" else "tpe"
    asked = config.model_copy(update={"sampler": sampler, "pruner": "none"})
    tune = TuneSearch(
        OptunaSearch(study.config.name, space, asked, storage, directions, epochs),
        space,
        study.folder,
        metric=config.objectives[0],
        maximize=directions[0] == "maximize",
        epochs=epochs,
        total=config.trials,
        parallel=config.parallel,
    )
    return TuneDriver(tune, outbox, executor, study.folder / "snapshots", **kept)


def bounded(config: StudyConfig, space: SearchSpace) -> tuple[StudyConfig, str | None]:
    """Bound a study's trials by the settings of its grid, and say in a line how the two fit where they differ.

    Args:
        space: what trials draw from, over the layers of the model.
    """
    if config.search.engine != "optuna" or config.search.sampler != "grid":
        return config, None
    grid, asked = Grid(space, config.search.seed), config.search.trials
    search = config.search.model_copy(update={"trials": min(asked, grid.size + 1)})
    return config.model_copy(update={"search": search}), grid.words(asked)


def plan(config: StudyConfig, manifest: Manifest, space: SearchSpace) -> dict[str, Any]:
    """Describe what a study would do, for people.

    Args:
        space: what trials draw from, over the layers of the model.
    """
    fitted, line = bounded(config, space)
    return {
        "study": config.name,
        "data": {"source": manifest.source, "task": manifest.task, "rows": manifest.sizes},
        "trials": fitted.search.trials,
        **({"grid": line} if line else {}),
        "regularizers": list(space.regularizers()),
        "searched": [of.name for of in space.ranges()],
        "finals": config.finalize.seeds,
    }


def check_tune(config: StudyConfig, space: SearchSpace, ray: str | None) -> None:
    """Refuse what Ray Tune is asked for and cannot do.

    Raises:
        UserError: an algorithm or a scheduler that cannot be used, or a cluster of which this machine is no part.
    """
    from regsearch.search.ray_tune.session import check

    check(config.search, space, config.train.epochs)
    if ray is not None and ray.startswith("ray://"):
        allowed = "start it on a machine of the cluster with --ray auto, or submit it there as a job"
        what = "Ray Tune keeps its state on the disk of a machine of the cluster, which a client is not"
        raise UserError(what, key="--ray", value=ray, allowed=allowed)
