"""Turns what pydantic says of a study file into one line: file, key, value and what is allowed."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from regsearch.config.misplaced import UnknownKey, joined
from regsearch.config.words import brief, one_of
from regsearch.errors import UserError

Place = tuple[int | str, ...]


@dataclass(frozen=True)
class Allowed:
    """What a field accepts, in words for a person; it stands beside the field's check."""

    words: str


@dataclass(frozen=True)
class Example:
    """How a key is used, for the reference: keys of its section as YAML, those among them that it needs beside it."""

    text: str


@dataclass(frozen=True)
class SetByLoader:
    """Marks a field that no file may give."""


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """List the keys that a file may give in this section."""
    return tuple(name for name, field in model.model_fields.items() if SetByLoader() not in field.metadata)


def refusal(model: type[BaseModel], error: ValidationError, file: str | Path | None = None) -> UserError:
    """Translate the first thing wrong with `model`'s input into a `UserError`.

    Misspelt keys come first: what is missing is often missing for want of them.
    """
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    owner, field, place = _field_at(model, first["loc"])
    key, given = dotted(place), first["input"]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UnknownKey):
        return cause.below(key, file)
    if isinstance(cause, UserError):
        # The check of a whole section names the key itself, relative to that section.
        inner = ".".join(part for part in (key, cause.key) if part)
        value = cause.value if cause.value is not None or cause.key else brief(given)
        return UserError(cause.what, file=file, key=inner, value=value, allowed=cause.allowed)
    if first["type"] == "extra_forbidden":
        return UnknownKey(dotted(place[:-1]), str(place[-1]), brief(given), keys_of(owner), file)
    allowed = allowed_words(field, given) if field else one_of(keys_of(owner))
    if first["type"] == "missing":
        return UserError("is missing", file=file, key=key, allowed=allowed)
    if given is None:
        return UserError("is empty", file=file, key=key, allowed=allowed)
    return UserError("cannot be used", file=file, key=key, value=brief(given), allowed=allowed)


def dotted(place: Place) -> str:
    """Format `("train", "betas", 0)` as `train.betas[0]`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _field_at(model: type[BaseModel], place: Place) -> tuple[type[BaseModel], FieldInfo | None, Place]:
    """The section that holds `place`, the field there if it has one, and `place` without pydantic's own words."""
    owner, field = model, None
    for depth, part in enumerate(place):
        entry = entry_of(field)
        if entry is not None and isinstance(part, str) and place[depth + 1 :] != ("[key]",):
            owner, field = entry, None
            continue
        inner = section_of(field)
        owner = inner or owner
        if (field and not inner) or not isinstance(part, str):
            # Below a plain value pydantic names the branch of a union; only positions in a list mean anything here.
            return owner, field, (*place[:depth], *(each for each in place[depth:] if isinstance(each, int)))
        field = owner.model_fields.get(part)
        if field is None:
            return owner, None, place[: depth + 1]
    return owner, field, place


def section_of(field: FieldInfo | None) -> type[BaseModel] | None:
    """Find the section that a field holds, also where it may be left out."""
    kinds = _parts(field.annotation) if field else ()
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def places_of(model: type[BaseModel], section: str = "") -> dict[str, tuple[str, ...]]:
    """List the keys of every section of a file by the section, the outermost first."""
    places = {section: keys_of(model)}
    for name in keys_of(model):
        inner = section_of(model.model_fields[name])
        if inner is not None:
            places |= places_of(inner, joined(section, name))
    return dict(sorted(places.items(), key=lambda item: len(item[0].split(".")) if item[0] else 0))


def entry_of(field: FieldInfo | None) -> type[BaseModel] | None:
    """Find the section that each name of a mapping holds, where a field is a mapping of sections."""
    parts = get_args(field.annotation) if field and get_origin(field.annotation) is dict else ()
    return next((kind for kind in parts if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def allowed_words(field: FieldInfo, given: object = None) -> str:
    """Say what a field accepts: `allowed are ...`, with the word that is most like `given`, where there are words."""
    for each in field.metadata:
        if isinstance(each, Allowed):
            return each.words
    section = section_of(field)
    if section:
        return f"allowed is a section with the keys {', '.join(keys_of(section))}"
    for each in _parts(field.annotation):
        if isinstance(each, Allowed):
            return each.words
        if get_origin(each) is Literal:
            words = [str(word) for word in get_args(each)]
            return one_of(words, given)
    return f"allowed is {field.annotation}"


def _parts(annotation: object) -> Iterator[object]:
    """The members of a union and what stands beside them in `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _parts(each)
    elif get_origin(annotation) is Annotated:
        yield from get_args(annotation)[1:]
    else:
        yield annotation
