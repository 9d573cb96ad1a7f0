"""What a person can mend is said in one line; what only its author can keeps its traceback."""

from __future__ import annotations

import errno
import json
import os
import traceback

import pytest

from regsearch.errors import UserError, in_one_line, mended_by_hand, said_by


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk(number: int) -> None:
    line = mended_by_hand(OSError(number, os.strerror(number), "mlruns/outbox.jsonl"))
    assert line is not None and "\n" not in line
    assert line.startswith(f"mlruns/outbox.jsonl: {os.strerror(number)}; ") and line.endswith("make room, then resume")
    assert (mended_by_hand(OSError(number, os.strerror(number))) or "").startswith(os.strerror(number))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_file_that_may_not_be_written(number: int) -> None:
    line = mended_by_hand(OSError(number, os.strerror(number), "mlruns/outbox.jsonl"))
    assert line is not None and "\n" not in line
    assert line.startswith(f"mlruns/outbox.jsonl: {os.strerror(number)}; ") and line.endswith(" then try again")
    assert mended_by_hand(OSError(number, os.strerror(number))) is None, "of no file that is known nothing can be said"


def test_a_package_that_is_missing() -> None:
    assert mended_by_hand(ModuleNotFoundError("no", name="ray")) == "ray is not installed; pip install 'regsearch[ray]'"


def test_what_nobody_can_mend() -> None:
    assert mended_by_hand(OSError(errno.EIO, "Input/output error")) is None
    assert mended_by_hand(ModuleNotFoundError("no", name="regsearch_typo")) is None


def test_a_refusal_is_one_line_and_still_knows_its_reason() -> None:
    @in_one_line
    def refuses(given: str) -> str:
        try:
            return {"known": "yes"}[given]
        except KeyError as error:
            raise UserError("not known", key="given", value=given) from error

    assert refuses("known") == "yes"
    with pytest.raises(UserError, match="given: not known") as refused:
        refuses("other")
    error = refused.value
    assert error.__cause__ is None and error.__suppress_context__
    assert isinstance(error.__context__, KeyError)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "guarded" and "refuses" not in names


def test_the_line_at_fault_is_the_users_own() -> None:
    try:
        json.loads("{")  # fails in the standard library, of which nobody asked
    except ValueError as error:
        said = said_by(error)
    assert said.startswith("JSONDecodeError: ")
    assert ', at `json.loads("{")' in said and "(test_errors.py, line " in said
    assert said_by(ValueError("never raised")) == "ValueError: never raised"
