"""Take up a study whose machine is gone from the database of its search; the data are cut again."""

from __future__ import annotations

import json
import os
from pathlib import Path

from regsearch.config import StudyConfig, check_name
from regsearch.errors import UserError
from regsearch.study.study import Study
from regsearch.system.files import JsonObject
from regsearch.workspace.folder import StudyFolder, home, parse_record, write_record
from regsearch.workspace.places import placed


def open_or_fetch(
    name: str, storage: str | None = None, tracking_uri: str | None = None, ray: str | None = None
) -> Study:
    """Open the study of this name: as it is here, else as it is in the database at `storage`.

    Paths and modules are found from the folder of the study file where that is here too, else from the working
    directory.

    Args:
        tracking_uri: the MLflow store, where the study's own is not to be found from here; MLFLOW_TRACKING_URI says
            it, too.
        ray: the Ray cluster that trains its packs.

    Raises:
        UserError: the database cannot be used or has no such study, the data are not those that it was begun with, or
            the study is here with other stores.
    """
    from regsearch.data import Manifest, seal
    from regsearch.search.schema import read_state
    from regsearch.search.study_backup import MANIFEST, STUDY

    check_name(name)
    if storage is None or StudyFolder(home(), name).exists():
        return _here(name, storage, tracking_uri, ray)
    files = read_state(storage, name)
    saved = parse_record(files[STUDY], STUDY)
    config = _at_home(placed(saved["config"], home()), storage, tracking_uri)
    if config.search.engine != "optuna":
        allowed = "resume it where its folder is: the saved rows of its trials are there alone"
        raise UserError("a study of Ray Tune cannot be fetched", key="NAME", value=name, allowed=allowed)
    study = Study(config, saved["created_ms"], ray)
    with study.spec.folder.aside() as aside:
        known = Manifest.from_json(files[MANIFEST], MANIFEST)
        sealed = seal(config.data, config.folder, aside / "data", like=known)
        if sealed.digest != known.digest:
            raise UserError(
                "the data are not those that the study was begun with",
                key="data.source",
                value=config.data.source,
                allowed="bring the same file to the same place beside the working directory",
            )
        for file, content in files.items():
            if file not in (STUDY, MANIFEST):  # the others lie in the folder itself
                (aside / file).write_bytes(content)
        write_record(aside, config, saved["created_ms"])
        os.replace(aside, study.folder)
    return study


def _here(name: str, storage: str | None, tracking_uri: str | None, ray: str | None) -> Study:
    study = Study.open(name, ray)
    for option, given, known in (
        ("--storage", storage, study.config.search.storage),
        ("--tracking-uri", tracking_uri, study.config.tracking.uri),
    ):
        if given is not None and given != known:
            allowed = f"it is here with {known or 'its own store'}; leave the option out"
            raise UserError("the study has another store", key=option, value=given, allowed=allowed)
    return study


def _at_home(saved: JsonObject, storage: str, tracking_uri: str | None) -> StudyConfig:
    saved["search"]["storage"] = storage
    reached_by = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if reached_by:
        saved["tracking"]["uri"] = reached_by
    if not Path(saved["folder"]).is_dir():
        saved["folder"] = str(Path.cwd())
    return StudyConfig.from_json(json.dumps(saved))
