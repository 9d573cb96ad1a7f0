"""The form of finals in a file: what `FinalsSummary.to_json` writes, checked without loading numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regsearch.system.documents import check_form, field_names
from regsearch.system.files import JsonMapping
from regsearch.system.schema import check_fields


@dataclass(frozen=True)
class _Interval:
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class _Contrast:
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    level: float
    p_better: float | None
    seeds: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    number: int | None
    label: str
    params: dict[str, float | str | None]
    val_loss: float | None
    train_metric: float | None
    test_metric: _Interval
    gap: _Interval
    more: dict[str, float | None] | None = None


@dataclass(frozen=True, kw_only=True)
class _Other(_Candidate):
    role: str
    contrast: _Contrast
    p: float | None
    p_adjusted: float | None


@dataclass(frozen=True, kw_only=True)
class FinalsForm:
    """What finals say in a file, as plain JSON."""

    winner: _Candidate
    baseline: _Candidate
    contrast: _Contrast
    optimism: _Interval
    same: bool
    left_out: int
    p_better: float | None
    claim: bool
    others: list[_Other] | None = None
    splits: int = 1
    missing: list[str] | None = None
    sentence: str | None = None


def check_finals(content: JsonMapping, mend: str, file: str | Path | None, within: str = "") -> None:
    """Refuse finals that are not as they were written.

    Args:
        mend: what to do about the file where it is damaged.
        within: their place in the file, where they are not the whole.

    Raises:
        UserError: a field that no version writes.
        DamagedFile: a field is missing, or of another type.
    """
    for place, candidate, known in _candidates(content):
        if isinstance(candidate, dict):
            check_fields(candidate, field_names(known), file, f"{within}.{place}" if within else place)
    check_form(content, FinalsForm, mend, file, within)


def _candidates(content: JsonMapping) -> Iterator[tuple[str, object, type]]:
    yield "winner", content.get("winner"), _Candidate
    yield "baseline", content.get("baseline"), _Candidate
    others = content.get("others")
    for place, other in enumerate(others if isinstance(others, list) else ()):
        yield f"others[{place}]", other, _Other
