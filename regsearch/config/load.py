"""Reads one study file into a `StudyConfig`, or refuses it in one line."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path

from pydantic import ValidationError

from regsearch.config.measures import EPOCHS
from regsearch.config.misplaced import Places, UnknownKey
from regsearch.config.models import StudyConfig
from regsearch.config.refusal import keys_of, places_of, refusal
from regsearch.config.search import SearchConfig
from regsearch.config.stock import STOCK
from regsearch.config.words import brief, one_of
from regsearch.config.yaml12 import YamlMapping, read_yaml
from regsearch.errors import UserError
from regsearch.system import schema


@dataclass(frozen=True)
class StartOptions:
    """Hold what takes the place of a study file's values; None leaves what it says.

    Args:
        trials, seed, device, storage: of the section `search`.
        tracking_uri: the key `uri` of the section `tracking`.
    """

    trials: int | None = None
    seed: int | None = None
    tracking_uri: str | None = None
    device: str | None = None
    storage: str | None = None

    def given(self) -> dict[str, tuple[str, str, int | str]]:
        """Give section, key and value of each that is set, by its option on the command line."""
        options = {"--" + part.name.replace("_", "-"): (part.name, getattr(self, part.name)) for part in fields(self)}
        return {
            option: ("tracking", "uri", value) if name == "tracking_uri" else ("search", name, value)
            for option, (name, value) in options.items()
            if value is not None
        }


def load_config(
    path: str | Path, options: StartOptions | None = None, regularizers: Callable[[], Collection[str]] = tuple
) -> StudyConfig:
    """Read the study that the YAML file at `path` describes, checked and completed with its defaults.

    A key that is not known is refused with those that are, a file of a newer regsearch by its number under `schema`.

    Args:
        path: the study file; its `schema`, where it says one, is the number of its form.
        options: what takes the place of its values.
        regularizers: names those that a space may hold; it is asked where a key is unknown, which may be one of them.

    Raises:
        UserError: one line with the file, the key, the value and what is allowed.
    """
    file = Path(path)
    raw = _read(file)
    given = (options or StartOptions()).given()
    for section, key, value in given.values():
        if isinstance(raw.setdefault(section, {}), dict):
            raw[section][key] = value
    raw["folder"] = str(file.resolve().parent)
    try:
        config = StudyConfig.model_validate(raw)
    except ValidationError as error:
        line = refusal(StudyConfig, error, file)
        for option, (section, key, _) in given.items():
            if line.key == f"{section}.{key}":
                raise UserError(line.what, key=option, value=line.value, allowed=line.allowed) from None
        if isinstance(line, UnknownKey):
            line = line.among(_places(raw, regularizers()))
        raise line from None
    _refuse_idle_sizes(config, raw, file)
    return config


def check_measures(
    search: SearchConfig, metrics: Collection[str], regularizers: Collection[str], file: str | Path | None = None
) -> None:
    """Refuse an objective or a constraint of what a trial cannot be judged by.

    Args:
        search: the section of the study file.
        metrics: what can be measured of a trial.
        regularizers: what the space may turn on.

    Raises:
        UserError: names the metric and those that are known.
    """
    named = [("objective", name) for name in search.objectives]
    for key, name in named + [("constraint", each.metric) for each in search.constraints]:
        if name not in metrics:
            allowed = one_of(metrics, name)
            raise UserError("unknown metric", file=file, key=f"search.{key}", value=name, allowed=allowed)
        if name == EPOCHS and "early_stopping" not in regularizers:
            allowed = "leave it out, or put early_stopping into space"
            raise UserError(
                "every trial trains all epochs", file=file, key=f"search.{key}", value=name, allowed=allowed
            )


def _read(file: Path) -> YamlMapping:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            "no such study file", file=file, allowed="`regsearch study init TABLE --target COLUMN` writes one"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot be read: {error.strerror}", file=file, allowed="a study file (YAML) is needed"
        ) from None
    except UnicodeDecodeError:
        raise UserError("is not text", file=file, allowed="a study file is YAML in UTF-8") from None
    try:
        raw = read_yaml(text)
    except ValueError as error:
        raise UserError(str(error), file=file, allowed="a study file is YAML") from None
    if not isinstance(raw, dict):
        wanted = "a study file has at least the keys name, data and model"
        raise UserError("is empty" if raw is None else "has no keys", file=file, value=brief(raw), allowed=wanted)
    if "folder" in raw:
        allowed = one_of(keys_of(StudyConfig))
        raise UserError("unknown key", file=file, key="folder", value=brief(raw["folder"]), allowed=allowed)
    schema.check_version(raw.get(schema.KEY), schema.STUDY_FILE, file)
    # A section with nothing below its key is one left at its defaults.
    return {key: value for key, value in raw.items() if value is not None and key != schema.KEY}


def _places(raw: YamlMapping, regularizers: Collection[str]) -> Places:
    """Where each key of this file may stand: those of a model are the keys of the one that it names."""
    places = places_of(StudyConfig)
    model = raw.get("model")
    stock = STOCK.get(str(model.get("name"))) if isinstance(model, dict) else None
    of_model = keys_of(stock) if stock is not None else ()
    return {**places, "space": ("choose", "from", *regularizers), "model": (*places["model"], *of_model)}


def _refuse_idle_sizes(config: StudyConfig, raw: YamlMapping, file: Path) -> None:
    """Sizes beside a column that names each row's part would mean nothing."""
    if config.data.split.kind != "column":
        return
    for key in ("train", "validation", "test"):
        if key in raw["data"]["split"]:
            raise UserError(
                "means nothing beside by: {column: ...}",
                file=file,
                key=f"data.split.{key}",
                value=raw["data"]["split"][key],
                allowed="leave it out: the column says train, validation or test for each row",
            )
