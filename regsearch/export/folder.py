"""Writes the folder: fetched and checked first, built aside, renamed when whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from regsearch.config import check_name
from regsearch.errors import UserError
from regsearch.export.onnx import MissingForm, write_onnx
from regsearch.export.readme import readme
from regsearch.publish.champion import CHAMPION
from regsearch.system import schema
from regsearch.system.documents import FROM_A_COPY, unreadable
from regsearch.system.files import JsonObject
from regsearch.system.sums import SUMS
from regsearch.tracking.mlflow.package import PREDICT, DamagedPackage, check, seal
from regsearch.workspace.answer import Answer
from regsearch.workspace.folder import StudyFolder, home
from regsearch.workspace.forms import check_versions
from regsearch.workspace.spec import StudySpec

PACKAGES = ("torch", "numpy", "pandas")
PACKAGED = ("model.pt2", "manifest.json", "columns.py")
_OPTIONAL = ("columns.py", "model.onnx", "example.csv", "example.npy")
_FILES = {"model.pt2", "manifest.json", "predict.py", "README.md", "requirements.txt", SUMS, *_OPTIONAL}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        folder: the folder.
        files: its files by name.
        origin: where the champion came from, in words.
        no_onnx: why there is no `model.onnx`, in a line; None where there is one, or none was wanted.
    """

    folder: Path
    files: tuple[str, ...]
    origin: str
    no_onnx: str | None = None


@dataclass(frozen=True)
class Champion:
    """A checked package, where it came from in words, and the study's answer in a sentence."""

    package: Path
    origin: str
    sentence: str


def export_study(
    name: str, out: str | Path, *, onnx: bool | None = None, replace: bool = False, tracking_uri: str | None = None
) -> Exported:
    """Write the champion of the study `name` into the folder `out`: program, preprocessing, `predict.py`, README.

    Args:
        onnx: write `model.onnx` too: True refuses what has none, None writes it where the model and what is installed
            allow it, False leaves it out.
        replace: an earlier export in `out` makes way.
        tracking_uri: take the champion that is registered there; by default it is the one kept in the study's folder,
            or, for a study of another machine, the one registered in the default store.

    Raises:
        UserError: there is no champion, it is damaged, or `out` cannot be written; nothing is left behind.
    """
    check_name(name)
    folder = Path(out).absolute()
    _check_place(folder, replace)
    made = _make_parents(folder)
    aside = folder.with_name(f".{folder.name}.part-{os.getpid()}")
    done = False
    try:
        champion = _champion(name, tracking_uri, aside / "package")
        new = aside / "export"
        no_onnx = _build(name, champion, new, onnx)
        seal(new)
        _put(new, folder, aside / "old")
        done = True
    except OSError as error:
        place = error.filename
        if isinstance(place, str) and not Path(place).is_relative_to(aside) and Path(place) != folder:
            raise unreadable(Path(place), error, FROM_A_COPY) from error  # what is exported, not where to
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        for each in () if done else made:
            with contextlib.suppress(OSError):
                each.rmdir()
    files = tuple(sorted(path.name for path in folder.iterdir()))
    return Exported(folder, files, champion.origin, no_onnx)


def _check_place(folder: Path, replace: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(
            "a file, not a folder", key="DIR", value=str(folder), allowed="name a folder, or one to be made"
        )
    there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if there and not replace:
        allowed = "name another, or give --replace where it is an earlier export"
        raise UserError("the folder is not empty", key="DIR", value=str(folder), allowed=allowed)
    # Whoever names a wrong folder must not lose it.
    foreign = sorted(there - _FILES - {"__pycache__"}) or ([] if SUMS in there or not there else sorted(there))
    if foreign:
        what = f"the folder is no earlier export: it holds {', '.join(foreign[:3])}{' ...' if foreign[3:] else ''}"
        raise UserError(what, key="DIR", value=str(folder), allowed="name another")


def _make_parents(folder: Path) -> list[Path]:
    """The folders above it that were made, innermost first."""
    made = [each for each in folder.parents if not each.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return made


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot be written: {error.strerror or error}", key="DIR", value=str(folder))


def _champion(name: str, tracking_uri: str | None, place: Path) -> Champion:
    """The champion as a checked package: that of the study's folder, else fetched to `place` from the registry."""
    answer: Answer | None = None
    if tracking_uri is None and StudyFolder(home(), name).exists():
        spec = StudySpec.open(name)
        check_versions(spec.folder)
        package = spec.folder.finals / CHAMPION
        answer = _answer(spec, package)
        if package.exists():
            _check(package, name)
            return Champion(package, f"the study in {spec.folder.path}", answer.sentence)
        tracking_uri = spec.config.tracking.uri
    return _registered(name, tracking_uri, place, answer)


def _answer(spec: StudySpec, package: Path) -> Answer:
    file, name = spec.folder.answer, spec.name
    if not file.exists():
        allowed = f"`regsearch study resume {name}` goes on"
        raise UserError("the study has no answer yet, hence no champion", key="NAME", value=name, allowed=allowed)
    answer = Answer.load(file)
    if answer.finals is None and not package.exists():
        skipped = spec.config.finalize.seeds == 0
        why = "its finals are skipped (finalize: {seeds: 0})" if skipped else "no finals could be held"
        allowed = "finals train the champion: give the study file finalize: {seeds: 10} and a test split"
        raise UserError(f"the study has no champion, {why}", key="NAME", value=name, allowed=allowed)
    return answer


def _registered(name: str, given: str | None, place: Path, answer: Answer | None) -> Champion:
    from regsearch.tracking.mlflow.registry import fetch_champion
    from regsearch.tracking.mlflow.store import tracking_uri

    uri = tracking_uri(given, home())
    try:
        champion = fetch_champion(uri, name, place)
    except UserError as error:
        if answer is None:
            raise
        allowed = "torch could not export this model when its finals ended"
        raise UserError(error.what, key=error.key, value=error.value, allowed=allowed) from None
    if champion.sums:
        _check(place, name)
    origin = f"version {champion.version} of the registered model {name}, from the MLflow run {champion.run_id}"
    return Champion(place, origin, answer.sentence if answer is not None else champion.sentence)


def _check(package: Path, name: str) -> None:
    try:
        check(package)
    except DamagedPackage as error:
        raise UserError(str(error), allowed=f"regsearch study finalize {name} trains it again") from None


def _build(name: str, champion: Champion, new: Path, onnx: bool | None) -> str | None:
    """Everything but the sums; why there is no ONNX form, or None."""
    new.mkdir(parents=True)
    for file in PACKAGED:
        if (champion.package / file).exists():
            shutil.copyfile(champion.package / file, new / file)
    shutil.copyfile(PREDICT, new / "predict.py")
    versions = {package: version(package).split("+")[0] for package in PACKAGES}
    (new / "requirements.txt").write_text("".join(f"{each}=={number}\n" for each, number in versions.items()))
    manifest = json.loads((new / "manifest.json").read_text())
    schema.check_version(manifest.get(schema.KEY), schema.MANIFEST, "manifest.json of the champion")
    example = _write_example(champion.package, new, manifest)
    no_onnx = None if onnx is False else _try_onnx(new, manifest, required=onnx is True)
    text = readme(name, champion.sentence, champion.origin, manifest, versions, example, (new / "model.onnx").exists())
    (new / "README.md").write_text(text, encoding="utf-8")
    return no_onnx


def _write_example(package: Path, new: Path, manifest: JsonObject) -> str | None:
    """A few rows of the training data as a file that `predict.py` reads; its name."""
    if not (package / "example.json").exists():
        return None
    import numpy as np
    import pandas as pd

    saved = json.loads((package / "example.json").read_text())
    if "inputs" in saved:
        np.save(new / "example.npy", np.asarray(saved["inputs"], dtype=manifest.get("dtype") or "float32"))
        return "example.npy"
    pd.DataFrame(saved["data"], columns=saved["columns"]).to_csv(new / "example.csv", index=False)
    return "example.csv"


def _try_onnx(new: Path, manifest: JsonObject, required: bool) -> str | None:
    try:
        write_onnx(new / "model.pt2", new / "model.onnx", manifest)
    except MissingForm as error:
        if required:
            raise UserError(str(error), key="--onnx", allowed="leave the option out") from None
        return str(error)
    return None


def _put(new: Path, folder: Path, old: Path) -> None:
    """Rename the finished folder to its place; what was there makes way in the same moment."""
    if folder.exists() and any(folder.iterdir()):
        os.replace(folder, old)
    os.replace(new, folder)
