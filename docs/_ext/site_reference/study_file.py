"""The keys of a study file as pages, read from the models of `regsearch.config` that check the file."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from regsearch.config.models import StudyConfig
from regsearch.config.refusal import Allowed, Example, SetByLoader, allowed_words, entry_of, section_of
from regsearch.config.space import DEFAULT_SPACE
from regsearch.config.space_keys import SPACE_KEYS
from regsearch.config.stock import STOCK
from regsearch.config.training import OPTIMIZER_DEFAULTS, TRAIN_KNOBS
from regsearch.regularizers.words import number, searched
from site_reference.markdown import anchor, code, fields, first_sentence, heading, one_line, page, table

_INTRODUCTION = """
A study is described by one YAML file. These are its sections; each key has its type, its default, what is allowed and
an example. What is not known or not allowed is refused before anything starts, in one line that names the file, the
key, the value and what is allowed.

Beside the sections a file may say `schema: 1`, the number of its form. Left out, it is of the form that the regsearch
which reads it writes; a later number is refused with what to do.
"""


@dataclass(frozen=True)
class Key:
    """Describe one key of a study file.

    Args:
        section: the section it stands in, `data.split`, or none for a section itself.
        name: its own name.
        kind, default, allowed: its type, what it is where it is left out, and what it accepts, in words.
        meaning: what it does.
        example: keys of the section as YAML, this one among them.
    """

    section: str
    name: str
    kind: str
    default: str
    allowed: str
    meaning: str
    example: str

    @property
    def place(self) -> str:
        """The key in full: `data.split.by`."""
        return f"{self.section}.{self.name}" if self.section else self.name

    def snippet(self) -> str:
        """Give lines for a study file."""
        text = self.example
        for part in reversed(self.section.split(".") if self.section else []):
            text = f"{part}: {{{text}}}"
        return text


def keys_below(model: type[BaseModel], section: str = "", beside: str = "") -> Iterator[Key]:
    """Give the keys that a section accepts, then those of the sections within it.

    Args:
        beside: what every example needs beside its key.
    """
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        if SetByLoader() in field.metadata:
            continue
        yield _key(section, name, field, beside)
        below, entry, own = section_of(field), entry_of(field), f"{section}.{name}" if section else name
        if below is not None:
            inner.append((own, below))
        if entry is not None:
            inner.append((f"{own}.NAME", entry))
    for place, below in inner:
        yield from keys_below(below, place)


def _key(section: str, name: str, field: FieldInfo, beside: str) -> Key:
    example = next((each.text for each in field.metadata if isinstance(each, Example)), "")
    together = f"{beside}, {example}" if beside and example else example
    meaning = one_line(field.description or "")
    return Key(section, name, _kind(field.annotation), _default(field), _allowed(field), meaning, together)


def _allowed(field: FieldInfo) -> str:
    literal = next((each for each in _members(field.annotation) if get_origin(each) is Literal), None)
    if literal is not None and not any(isinstance(each, Allowed) for each in field.metadata):
        return ", ".join(f"`{word}`" for word in get_args(literal))
    words = allowed_words(field)
    for start in ("allowed is ", "allowed are "):
        words = words.removeprefix(start)
    return words.replace("text is needed (a number", "any text (a number")


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _kind(annotation: Any) -> str:
    """Say the type in words, `whole number` or `list of texts`; None beside it is nothing that one writes."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(parts[0])
    if origin in (Union, types.UnionType):
        words = [_kind(part) for part in parts if part is not type(None)]
        return ", or ".join(dict.fromkeys(words))
    if origin is tuple:
        inner = _kind(parts[0])
        return "list" if " or " in inner else f"list of {inner}s"
    if origin is Literal:
        return "text"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, BaseModel):
        return "its keys' own defaults"
    return f"`{_written(value)}`"


def _written(value: Any) -> str:
    """Write a value as a study file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return number(value) if isinstance(value, float) else str(value)


SECTIONS = tuple(name for name, field in StudyConfig.model_fields.items() if section_of(field) or name == "space")
"""The sections that have a page each."""


def keys_of_section(name: str) -> list[Key]:
    """List the keys of one section, those of the sections within it too."""
    if name == "space":
        shown = (
            Key("space", each.key, each.kind, each.default, each.allowed, each.meaning, each.example)
            for each in SPACE_KEYS
        )
        return list(shown)
    model = section_of(StudyConfig.model_fields[name])
    assert model is not None, name
    return list(keys_below(model, name))


def stock_keys() -> dict[str, list[Key]]:
    """List the keys of each stock model by its name."""
    return {name: list(keys_below(options, "model", f"name: {name}")) for name, options in STOCK.items()}


def pages() -> dict[str, str]:
    """Give every page of the study file by its name."""
    return {"index": _index(), **{name: _section(name) for name in SECTIONS}}


def _index() -> str:
    top = [key for key in keys_below(StudyConfig) if not key.section]
    rows = [(f"[`{key.name}`]({_link(key)})", key.meaning) for key in top]
    least = code(
        "yaml",
        'name: patients\ndata: {source: "csv:patients.csv", target: outcome, task: classification}\nmodel: {name: mlp}',
    )
    return page(
        heading(1, "Study file", "study-file"),
        one_line(_INTRODUCTION),
        table(("section", "what it says"), rows),
        "The least that a study needs:",
        least,
        *_described(next(key for key in top if key.name == "name"), 2),
        code("{toctree}", ":hidden:\n\n" + "\n".join(_ordered(top))),
    )


def _ordered(top: list[Key]) -> list[str]:
    return [f"{key.name} <{key.name}>" for key in top if key.name in SECTIONS]


def _link(key: Key) -> str:
    return f"{key.name}.md" if key.name in SECTIONS else f"#{anchor('key', key.place)}"


def _section(name: str) -> str:
    field = StudyConfig.model_fields[name]
    keys = keys_of_section(name)
    blocks = [heading(1, f"Study file: {name}", anchor("section", name)), one_line(field.description or "")]
    blocks += [code("yaml", next(each.text for each in field.metadata if isinstance(each, Example)))]
    blocks += [_overview(name, keys), *(block for key in keys for block in _described(key, 2))]
    if name == "model":
        blocks += [block for group in _stock_groups() for block in group]
    if name == "space":
        blocks += [*_train_knobs(), *_default_space()]
    return page(*blocks)


def _overview(section: str, keys: list[Key]) -> str:
    rows = [
        (f"[`{_short(key)}`](#{anchor('key', key.place)})", key.default, first_sentence(key.meaning)) for key in keys
    ]
    # Phones leave out the defaults, see site.css.
    return code("{table}", ":class: overview\n\n" + table(("key", "default", "meaning"), rows))


def _short(key: Key) -> str:
    """The key without its page's section: `split.by`."""
    return key.place.partition(".")[2] or key.place


def _described(key: Key, level: int, title: str = "", target: str = "") -> list[str]:
    rows = [("Type", key.kind), ("Default", key.default), ("Allowed", key.allowed)]
    return [
        heading(level, f"`{title or _short(key)}`", target or anchor("key", key.place)),
        key.meaning,
        fields(rows),
        code("yaml", key.snippet()),
    ]


def _stock_groups() -> Iterator[list[str]]:
    """The keys of the stock models; models that have the same stand together."""
    by_name = stock_keys()
    together: dict[type[BaseModel], list[str]] = {}
    for name, options in STOCK.items():
        together.setdefault(options, []).append(name)
    for shared, names in together.items():
        shown = " and ".join(f"`{name}`" for name in names)
        blocks = [heading(2, f"Keys of {shown}", anchor("model", names[0])), one_line(shared.__doc__ or "")]
        for key in by_name[names[0]]:
            blocks += _described(key, 3, key.name, anchor("key-model", names[0], key.name))
        yield blocks


def _train_knobs() -> list[str]:
    rows = []
    for knob in TRAIN_KNOBS.values():
        users = [name for name, own in OPTIMIZER_DEFAULTS.items() if knob.short == "learning_rate" or knob.short in own]
        shown = "all" if len(users) == len(OPTIMIZER_DEFAULTS) else ", ".join(f"`{name}`" for name in users)
        rows.append((f"`{knob.short}`", knob.doc, searched(knob), shown))
    return [
        heading(2, "Knobs of training", "space-train-knobs"),
        "What `train` may name, with the range that is searched where a study names none:",
        table(("knob", "what it is", "searched", "optimizers"), rows),
    ]


def _default_space() -> list[str]:
    lines = [
        f"  {name}: {_written(tuple(value) if isinstance(value, list) else value)}"
        for name, value in DEFAULT_SPACE.items()
    ]
    return [
        heading(2, "The default space", "space-default"),
        "A study without the section searches this:",
        code("yaml", "\n".join(["space:", *lines])),
        "Every regularizer with its knobs: [Regularizers](../regularizers/index.md).",
    ]
