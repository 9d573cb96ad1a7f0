"""What the writer makes of a store's errors: which are for good, and how they are told."""

from __future__ import annotations

import json
import logging

from regsearch.system.addresses import scrub

PERMANENT_STATUS = frozenset(range(400, 500)) - {401, 403, 408, 409, 429}


class StoreLostError(Exception):
    """Says that the store lost what it was given, so an error says nothing of what is delivered now."""


class DiscreetFormatter(logging.Formatter):
    """Formats log lines without the passwords of the store's address, which MLflow's errors quote."""

    def __init__(self, uri: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._uri = uri

    def format(self, record: logging.LogRecord) -> str:
        """Format a record without passwords."""
        return scrub(super().format(record), self._uri)


def is_permanent(error: Exception) -> bool:
    """Tell whether the store refused the content, so that asking again will not help."""
    if isinstance(error, json.JSONDecodeError):
        return False  # an answer that was cut off
    if isinstance(error, LookupError | FileNotFoundError) or (
        isinstance(error, ValueError) and not isinstance(error, OSError)  # as the errors of requests may be both
    ):
        return True
    status = getattr(error, "get_http_status_code", None)
    return status is not None and status() in PERMANENT_STATUS


def one_line(error: BaseException) -> str:
    """Cut an error to its first line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


__all__ = ["DiscreetFormatter", "StoreLostError", "is_permanent", "one_line"]
