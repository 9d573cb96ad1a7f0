"""The page of a comparison: one file, readable by all, and it says what the terminal does."""

from __future__ import annotations

import re

import pytest

from regsearch.analysis.study_comparison import Comparison, compare
from regsearch.analysis.study_comparison_words import notes, pair_table, score_table, sentence, study_table
from regsearch.pages import comparison_page
from tests.analysis.across import many, remembered
from tests.pages.records import assert_can_be_read, assert_loads_nothing, read


def two(**about: object) -> Comparison:
    """Two studies of one data set."""
    return compare([remembered("a", level=0.8, **about), remembered("b", noise=3, **about)])


COMPARISONS = {
    "over data sets": lambda: compare(many(7)),
    "too few data sets": lambda: compare(many(3)),
    "a data set lacks a method": lambda: compare(many(8, missing=("l2-3",))),
    "over seeds": two,
    "an error": lambda: two(metric="rmse"),
    "nothing shared": lambda: compare([remembered("a", seeds=(1, 2, 3)), remembered("b", seeds=(4, 5, 6))]),
}


@pytest.fixture(params=COMPARISONS)
def found(request: pytest.FixtureRequest) -> Comparison:
    made: Comparison = COMPARISONS[request.param]()
    return made


def test_the_page_is_sound_and_says_what_the_terminal_does(found: Comparison) -> None:
    text = comparison_page(found)
    root = read(text)
    assert_loads_nothing(text, root)
    assert_can_be_read(root)
    words = root.words()
    assert all(line in words for line in (sentence(found), *notes(found)))
    assert root.every("h2")[0].words() == "Answer"
    tables = [study_table(found), *([pair_table(found)] if found.pairs else [])]
    tables += [score_table(found)] if found.unit == "data set" else []
    cells = {each.words() for tag in ("th", "td") for each in root.every(tag)}
    for header, rows in tables:
        assert cells >= {cell.strip() for line in (header, *rows) for cell in line}
    assert not re.search(r"(?:nan|inf)\b", " ".join(re.findall(r'd="[^"]*"|[xy]\d?="[^"]*"', text)))


def test_what_users_name_is_text() -> None:
    evil = "<script>alert('1')</script>"
    text = comparison_page(compare([remembered(evil, level=0.8), remembered("b", noise=3)]))
    assert not read(text).every("script") and "<script" not in text and "&lt;script&gt;" in text
