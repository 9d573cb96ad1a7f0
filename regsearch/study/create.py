"""Create and delete the folder of a study."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace as changed

from regsearch.data import notices, sealing
from regsearch.errors import UserError
from regsearch.study.checks import check_cluster, check_model, check_places
from regsearch.study.progress import Progress, Snapshot
from regsearch.tracking.tensorboard.folder import remove_event_files
from regsearch.workspace.folder import write_record
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import at_store, check_forgotten, forget


def create_study(spec: StudySpec, begun: float, replace: bool, progress: Progress | None) -> StudySpec:
    """Check all that a run needs, and make the study's folder with its sealed data.

    Args:
        begun: when the study began, seconds since 1970.
        replace: delete the study of this name first, if there is one.

    Returns:
        The study as it is kept.

    Raises:
        UserError: something cannot be used; nothing is left behind.
    """
    check_places(spec)
    config, folder = spec.config, spec.folder
    with folder.aside() as new:
        known = folder.exists()
        if known and not replace:
            allowed = f"`regsearch study resume {spec.name}` goes on, --replace starts anew"
            raise UserError("a study of this name exists", key="name", value=spec.name, allowed=allowed)
        if progress is not None:
            progress.show(Snapshot(study=spec.name, phase="sealing", message="cutting and sealing the data"))
        with sealing(config.data, config.folder, new / "data") as sealed:
            check_cluster(spec)  # which takes as long
            manifest = sealed()
            layers = check_model(spec, manifest).layers
        from regsearch.driver.factory import bound_trials  # while nobody waits for it: it takes a second

        config, line = bound_trials(config, spec.space_over(layers))
        if progress is not None:
            for name, notice in notices(manifest).items():
                progress.say(f"{name}: {notice}")
            if line:
                progress.say(line)
        config = at_store(config, os.environ.get("MLFLOW_TRACKING_URI"))
        spec = changed(spec, config=config, created_ms=int(begun * 1000))
        write_record(new, spec.config, spec.created_ms)
        if known:
            delete_study(spec)
        shutil.rmtree(folder.path, ignore_errors=True)
        os.replace(new, folder.path)
    return spec


def delete_study(spec: StudySpec) -> None:
    """Delete a study here, in the MLflow store and for TensorBoard; the ledger keeps its openings of the test.

    Of its folder `study.json` alone is read, for its stores: a study can be deleted whatever else of it is damaged, or
    of a newer regsearch.
    """
    from regsearch.tracking.mlflow.runs import delete_study as delete_runs  # MLflow takes a second

    with spec.folder.lock():
        check_forgotten(spec.folder.path)
        delete_runs(spec.uri, spec.name)
        forget(spec.folder.path)
        remove_event_files(spec.event_files)
    shutil.rmtree(spec.folder.path, ignore_errors=True)
