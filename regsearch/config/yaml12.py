"""Reads YAML 1.2 (core schema) with PyYAML: `1e-6` is a number, `off` and `yes` are words, a key stands once.

PyYAML follows YAML 1.1, where `1e-6` is a word, `off` is false, `1_000` and `1:30` are numbers and dates are dates.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError

YamlMapping = dict[str, Any]
"""A mapping as a study file has it, not checked yet."""


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own attribute)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                raise ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in seen:
                problem = f"the key {key.value} stands twice, first in line {seen[key.value]}"
                raise ConstructorError(None, None, problem, key.start_mark)
            seen[key.value] = line
        # Keys are words whatever they look like: `2024:` and `true:` too.
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}

    def construct_yaml_map(self, node: yaml.MappingNode) -> Any:
        return self.construct_mapping(node)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        word = node.value
        base = {"0o": 8, "0x": 16}.get(word[:2], 10)
        return int(word, base)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        word = node.value.lower().replace(".inf", "inf").replace(".nan", "nan")
        return float(word)

    def construct_true_false(self, node: yaml.ScalarNode) -> bool:
        return bool(node.value.lower() == "true")


_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
)
for _name, _pattern, _first in _SCALARS:
    _firsts: list[str] = [*_first, *([""] if _name == "null" else [])]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), _firsts)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_float)
_Loader.add_constructor("tag:yaml.org,2002:bool", _Loader.construct_true_false)


def read_yaml(text: str) -> object:
    """Parse the one document that `text` holds.

    Raises:
        ValueError: `text` is not YAML, or a key stands twice; the message names the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None
