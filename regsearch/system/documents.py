"""Read the JSON documents that a study keeps, each whole and of its shape; what is damaged is named in one line."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError
from regsearch.system.files import JsonMapping, JsonObject
from regsearch.system.schema import KEY, check_fields, check_version

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FROM_A_COPY = "bring it back from a copy, or start the study anew with `regsearch study start FILE --replace`"
"""What to do about a file that nothing can make again."""
ANSWER = "answer.json"
_LONGEST = 60


class DamagedFile(UserError):
    """A file that a study keeps is gone, cut, or does not hold what was written."""


def damaged(file: str | Path | None, what: str, key: str | None = None) -> DamagedFile:
    """Make the refusal of a file that nothing can make again: what is wrong with it, and with which key."""
    return DamagedFile(f"is damaged: {what}", file=file, key=key, allowed=FROM_A_COPY)


def read_object(file: Path, latest: int, mend: str, shape: object = None) -> JsonObject:
    """Read the object of a JSON file, but for the number of its form.

    Args:
        latest: the latest form that is read, see `regsearch.system.schema`.
        mend: what to do about the file where it is damaged.
        shape: what it must hold, see `check_shape`; None leaves that to the caller.

    Raises:
        DamagedFile: names the file, what is wrong with it, and `mend`.
        UserError: a newer regsearch wrote it, or it may not be read.
    """
    content = parse_object(read_text(file, mend), latest, mend, file)
    if shape is not None:
        check_shape(content, shape, mend, file)
    return content


def read_text(file: Path, mend: str) -> bytes:
    """Read such a file, whatever stands in it.

    Raises:
        DamagedFile: it is gone, or something else is in its place.
        UserError: it may not be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise unreadable(file, error, mend) from None


def parse_object(text: str | bytes, latest: int, mend: str, file: str | Path | None) -> JsonObject:
    """Parse the text of such a file.

    Raises:
        DamagedFile: it is no object of JSON.
        UserError: a newer regsearch wrote it.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        what = f"is damaged, no JSON ({error})" if text.strip() else "is damaged: it is empty"
        raise DamagedFile(what, file=file, allowed=mend) from None
    if not isinstance(content, dict):
        raise DamagedFile("is damaged: it holds no object of JSON", file=file, allowed=mend)
    check_version(content.pop(KEY, None), latest, file)
    return content


def unreadable(file: Path, error: OSError, mend: str) -> UserError:
    """Make the refusal of a file that cannot be read."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DamagedFile("is missing", file=file, allowed=mend)
    what = f"cannot be read ({error.strerror or error})"
    if isinstance(error, PermissionError):
        return UserError(what, file=file, allowed="see who may read it")
    return DamagedFile(what, file=file, allowed=mend)


def concluded_anew(file: Path) -> str:
    """Say how to have `answer.json`, or a file of the folder `finals`, written anew."""
    folder = file.parent if file.name == ANSWER else file.parent.parent
    if file.name == ANSWER:
        return f"remove it, and `regsearch study resume {folder.name}` writes it anew"
    return f"remove it and {folder / ANSWER}, and `regsearch study resume {folder.name}` writes both anew"


def field_names(form: Any) -> tuple[str, ...]:
    """List the names of a dataclass's fields."""
    return tuple(part.name for part in fields(form))


def check_form(content: JsonMapping, form: type, mend: str, file: str | Path | None, within: str = "") -> None:
    """Refuse an object that has another field than a dataclass, lacks one, or has one of another type.

    Args:
        form: the dataclass.
        within: the object's own place in the file, where it is not the whole.

    Raises:
        UserError: names the first field that the form does not have.
        DamagedFile: names the first that is missing or of another type.
    """
    check_fields(content, field_names(form), file, within)
    check_shape(content, form, mend, file, within)


def check_shape(content: JsonMapping, shape: object, mend: str, file: str | Path | None, within: str = "") -> None:
    """Refuse an object that lacks something, or has something of another type.

    Args:
        shape: a `TypedDict` or a dataclass; fields that it does not have are not looked at.
        within: the object's own place in the file, where it is not the whole.

    Raises:
        DamagedFile: names the first such field.
    """
    from pydantic import ValidationError

    try:
        _adapter(shape).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = _place(content, first["loc"])
        key = ".".join(part for part in (within, place) if part)
        if first["type"] == "missing":
            raise DamagedFile("is damaged: the field is missing", file=file, key=key, allowed=mend) from None
        given = json.dumps(first["input"])
        shown = given if len(given) <= _LONGEST else f"{given[: _LONGEST - 4]} ..."
        what = f"is damaged: {first['msg'][:1].lower()}{first['msg'][1:]}, and it is {shown}"
        raise DamagedFile(what, file=file, key=key, allowed=mend) from None


@functools.cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def _place(content: object, place: tuple[int | str, ...]) -> str:
    """`finals.winner.gap` or `front[0].number`, without pydantic's own words for the branches of a union."""
    text = ""
    for part in place:
        if isinstance(content, Mapping) and isinstance(part, str):
            text, content = f"{text}.{part}" if text else part, content.get(part)
        elif isinstance(content, list) and isinstance(part, int):
            text, content = f"{text}[{part}]", content[part]
    return text
