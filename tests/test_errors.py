"""What a person can mend is said in one line; what only its author can keeps its traceback."""

from __future__ import annotations

import errno
import os

import pytest

from regsearch.errors import mended_by_hand


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
