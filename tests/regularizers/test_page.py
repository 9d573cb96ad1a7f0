"""The committed page of the regularizers is what the registry renders, and its study-file lines can be searched."""

from __future__ import annotations

import re

import pytest

from regsearch.config import build_space
from regsearch.config.yaml12 import read_yaml
from regsearch.regularizers import all_regularizers, knobs, page
from regsearch.regularizers.base import is_shipped
from regsearch.regularizers.words import number, settings

RULES = {name: rule for name, rule in all_regularizers().items() if is_shipped(rule)}


def test_the_committed_page_is_what_the_registry_renders() -> None:
    again = "write it anew: python -m regsearch.regularizers.page"
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), again


def test_every_rule_stands_under_its_site_with_its_knobs_and_source() -> None:
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page.render(), flags=re.DOTALL | re.MULTILINE))
    for name, rule in RULES.items():
        section = sections[rule.site]
        assert f"| `{name}` |" in section
        assert f"({rule.source.url})" in section
        for knob in rule.knobs:
            assert f"| `{knob.name.partition('.')[2]}`: {knob.doc} |" in section
            assert knob.unit.replace("|", "\\|") in section
    order = [title for title in sections if title in {rule.site for rule in RULES.values()}]
    assert order == list(dict.fromkeys(rule.site for rule in RULES.values()))


def test_every_row_has_as_many_cells_as_its_header() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", page.render(), flags=re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1


def test_the_study_file_lines_search_the_declared_ranges() -> None:
    found = {}
    for block in re.findall(r"```yaml\n(.*?)```", page.render(), flags=re.DOTALL):
        space = build_space(read_yaml(block)["space"], knobs())
        found |= {of.name: (of.low, of.high, of.log) for of in space.always}
    assert found == {knob.name: (knob.low, knob.high, knob.log) for rule in RULES.values() for knob in rule.knobs}


def test_exceptions_come_from_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(RULES))
    monkeypatch.setattr(page, "DOES_NOT_APPLY", ((name, "regression", "there is |no| class"),))
    assert f"| `{name}` | regression | there is \\|no\\| class |" in page.render()
    monkeypatch.setattr(page, "DOES_NOT_APPLY", (("gone", "everywhere", "it is no rule"),))
    with pytest.raises(ValueError, match="names gone: no such regularizer"):
        page.render()


@pytest.mark.parametrize(
    ("value", "text"), [(1e-6, "1e-6"), (1e-12, "1e-12"), (0.3, "0.3"), (10.0, "10"), (float("inf"), "∞")]
)
def test_numbers_read_back(value: float, text: str) -> None:
    assert number(value) == text
    assert text == "∞" or read_yaml(f"a: {text}")["a"] == value


def test_a_linear_range_says_no_scale() -> None:
    assert settings(RULES["dropout"]) == {"p": "{low: 0, high: 0.8}"}
    assert settings(RULES["l1"]) == {"strength": "{low: 1e-6, high: 0.1, log: true}"}
