"""The generated reference: every key, command and public name is in it, and what it shows is accepted."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from site_reference import commands, data_docs, public_names, repository, study_file
from site_reference.generate import write_pages
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

from regsearch.cli.app import app
from regsearch.config import StudyConfig, build_space, space
from regsearch.config.refusal import entry_of, keys_of, section_of
from regsearch.config.space_keys import SPACE_KEYS
from regsearch.config.stock import STOCK
from regsearch.config.yaml12 import read_yaml
from regsearch.regularizers import SITES, Context, all_regularizers, knobs

ROOT = Path(__file__).resolve().parents[2]
LEAST: dict[str, Any] = {"name": "least", "data": {"source": "sklearn:digits"}, "model": {"name": "mlp"}}
MODEL_KEYS = list(study_file.keys_below(StudyConfig))
STOCK_KEYS = [key for keys in study_file.stock_keys().values() for key in keys]
LEAVES = [each for each in commands.all_commands() if not each.is_group]


@pytest.mark.parametrize("key", MODEL_KEYS + STOCK_KEYS, ids=lambda key: f"{key.place}-{key.example.partition(',')[0]}")
def test_a_key_says_what_it_means_and_its_example_is_accepted(key: study_file.Key) -> None:
    assert key.meaning, f"{key.place} has no docstring below it in regsearch/config"
    assert key.example, f"{key.place} has no Example in regsearch/config"
    assert key.kind and key.default and key.allowed
    assert "regsearch." not in key.allowed and "typing" not in key.allowed, "a type, not words"
    given = read_yaml(key.snippet())
    place = given
    for part in key.place.split("."):
        assert part in place, f"the example does not use {key.place}"
        place = place[part]
    if key.place.startswith("data."):
        given["data"] = {**LEAST["data"], **given["data"]}
    StudyConfig.model_validate({**LEAST, **given})


def test_no_key_is_left_out() -> None:
    def places(model: Any, before: str = "") -> set[str]:
        found = {before + name for name in keys_of(model)}
        for name in keys_of(model):
            below, entry = section_of(model.model_fields[name]), entry_of(model.model_fields[name])
            found |= places(below, f"{before}{name}.") if below else set()
            found |= places(entry, f"{before}{name}.NAME.") if entry else set()
        return found

    assert {key.place for key in MODEL_KEYS} == places(StudyConfig)
    texts = study_file.pages()
    for key in MODEL_KEYS:
        page = texts[key.place.partition(".")[0]] if key.section else texts["index"]
        assert f"({study_file.anchor('key', key.place)})=" in page or not key.section
    for options in STOCK.values():
        assert all(f"#### `{name}`" in texts["model"] or f"### `{name}`" in texts["model"] for name in keys_of(options))


@pytest.mark.parametrize("key", SPACE_KEYS, ids=lambda key: key.key)
def test_an_example_of_the_space_is_read(key: Any) -> None:
    given = read_yaml(f"{{{key.example}}}")
    assert build_space(given, knobs()).knobs
    last = key.key.rpartition(".")[2]
    assert last.isupper() or f"{last}:" in key.example


def test_every_word_of_the_space_is_described() -> None:
    described = {key.key.rpartition(".")[2] for key in SPACE_KEYS}
    assert {"choose", "from", "train", "value", *space._BOUNDS, *space._SHAPES} <= described


@pytest.mark.parametrize("command", LEAVES, ids=lambda command: command.page)
def test_a_command_has_help_and_an_example_that_is_read(command: commands.Command) -> None:
    assert command.help and all(each.help for each in [*command.arguments, *command.options])
    program, *words = shlex.split(command.example)
    assert program == "regsearch" and " ".join(words).startswith(command.path)
    rest = words[len(command.path.split()) :]
    with command.declared.make_context(command.words, rest) as context:
        assert set(context.params) == {each.name for each in command.declared.params}
    page = commands.pages()[command.page]
    assert all(f"`{commands.written(each, command)}`" in page for each in command.options)


def test_every_command_has_a_page() -> None:
    def leaves(group: Any, before: str = "") -> set[str]:
        inner = getattr(group, "commands", None)
        if inner is None:
            return {before}
        return set().union(*(leaves(each, f"{before}-{name}".strip("-")) for name, each in inner.items()))

    assert set(commands.pages()) == {"index", *leaves(typer.main.get_command(app))}


def test_a_public_name_without_an_entry_is_told() -> None:
    names = list(public_names.public_names())
    assert "regsearch.UserError" in names and "regsearch.regularizers.Activation" in names
    assert public_names.undocumented(set(names)) == []
    assert public_names.undocumented(set(names) - {"regsearch.Study"}) == ["regsearch.Study"]


def test_the_base_class_of_every_site_is_public() -> None:
    names = set(public_names.public_names())
    bases = {
        next(each for each in reversed(rule.__mro__) if getattr(each, "site", ""))
        for rule in all_regularizers().values()
    }
    assert {base.site for base in bases} == set(SITES)
    assert {f"regsearch.regularizers.{base.__name__}" for base in bases} <= names


@pytest.mark.parametrize("name", ["testing.PROPERTIES", "testing.RTOL", "regularizers.Strength", "testing.WHERE"])
def test_a_constant_has_the_lines_below_it(name: str) -> None:
    assert data_docs.documented(f"regsearch.{name}")


@pytest.mark.parametrize("name", ["x", "forward", "depth"])
def test_the_docstring_of_a_property_is_not_taken_for_a_type(name: str) -> None:
    thing = getattr(Context, name)
    text = inspect.getdoc(thing) or ""

    def read(lines: list[str]) -> str:
        return str(GoogleDocstring(lines, Config(), None, "property", name, thing))

    assert ":type: " in read(text.splitlines()), "napoleon leaves it whole by itself now: away with keep_whole"
    lines = text.splitlines()
    data_docs.keep_whole(cast(Sphinx, None), "property", name, thing, None, lines)
    assert ":type:" not in read(lines)
    assert " ".join(read(lines).split()) == ".. " + " ".join(text.split())


def test_links_lead_to_what_the_site_has() -> None:
    text = (
        "[a](../studies/README.md) ![b](growth.png) [c](../benchmarks/) [d](https://x.org/y.md) [e](#here) [f](gone.md)"
    )
    turned = repository.relinked(text, "growth", ROOT)
    assert "[a](project/studies.md)" in turned and "![b](growth.png)" in turned and " c " in turned
    assert "[d](https://x.org/y.md) [e](#here) [f](gone.md)" in turned
    back = repository.relinked("[g](docs/speed.md) [r](README.md#x)", "project/contributing", ROOT)
    assert back == "[g](../speed.md) [r](../index.md#x)"


def test_pages_of_an_earlier_build_go_and_equal_ones_stay(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write_pages(docs)
    old = docs / "reference" / "commands" / "study-gone.md"
    old.write_text("gone")
    page = docs / "reference" / "commands" / "study-start.md"
    before = page.stat().st_mtime_ns
    write_pages(docs)
    assert not old.exists() and page.stat().st_mtime_ns == before
