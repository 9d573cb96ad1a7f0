"""The commands as pages, read from the command line's own declarations."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer

from regsearch.cli.app import app
from regsearch.cli.options import EXAMPLE
from site_reference.markdown import anchor, code, fields, heading, one_line, page, table

PROGRAM = "regsearch"
_INTRODUCTION = """
Standard output is the answer, standard error is everything else; `--json`, where a command has it, makes the answer one
JSON object.
"""
_EXIT_CODES = (
    ("0", "The command did what it says."),
    ("1", "A replayed trial differs from what is recorded."),
    ("2", "Something that was given cannot be used; one line says what, and what is allowed."),
    ("130", "Stopped by Ctrl-C; `regsearch study resume` goes on."),
)
_VALUES = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "FILE"}


@dataclass(frozen=True)
class Command:
    """Hold one command, or group of commands, as it is declared.

    Args:
        path: its words, `study start`; none for the program itself.
        declared: typer's object.
    """

    path: str
    declared: Any

    @property
    def words(self) -> str:
        """What one types: `regsearch study start`."""
        return f"{PROGRAM} {self.path}".strip()

    @property
    def page(self) -> str:
        """The name of its page."""
        return self.path.replace(" ", "-")

    @property
    def help(self) -> str:
        """What it does."""
        return one_line(self.declared.help or "")

    @property
    def example(self) -> str:
        """A line that uses it."""
        return one_line(self.declared.epilog or "").removeprefix(EXAMPLE).strip()

    @property
    def is_group(self) -> bool:
        """Whether it only holds others."""
        return hasattr(self.declared, "commands")

    @property
    def arguments(self) -> list[Any]:
        """What is given by its place."""
        return [each for each in self.declared.params if each.param_type_name == "argument"]

    @property
    def options(self) -> list[Any]:
        """What is given by its name."""
        return [each for each in self.declared.params if each.param_type_name == "option" and not each.hidden]

    def annotation(self, parameter: Any) -> tuple[Any, Any]:
        """Give the type of a parameter in its function, None left out, and what typer was told of it."""
        hints = get_type_hints(inspect.unwrap(self.declared.callback), include_extras=True)
        annotated = hints[parameter.name]
        kind, told = get_args(annotated)[:2] if get_origin(annotated) is Annotated else (annotated, None)
        if get_origin(kind) in (Union, types.UnionType):
            kind = next(part for part in get_args(kind) if part is not type(None))
        return kind, told


def all_commands() -> list[Command]:
    """List the program, its groups and its commands, in the order of their declaration."""
    return list(_below(typer.main.get_command(app), ""))


def _below(declared: Any, path: str) -> Iterator[Command]:
    yield Command(path, declared)
    for name, inner in getattr(declared, "commands", {}).items():
        yield from _below(inner, f"{path} {name}".strip())


def pages() -> dict[str, str]:
    """Give every page of the commands by its name."""
    program, *others = all_commands()
    leaves = [each for each in others if not each.is_group]
    return {"index": _index(program, leaves), **{each.page: _command(each) for each in leaves}}


def _index(program: Command, leaves: list[Command]) -> str:
    rows = [(f"[`{each.words}`]({each.page}.md)", each.help) for each in leaves]
    return page(
        heading(1, "Command line", "commands"),
        f"{program.help} {one_line(_INTRODUCTION)}",
        table(("command", "what it does"), rows),
        heading(2, "Exit codes", "exit-codes"),
        table(("code", "meaning"), _EXIT_CODES),
        heading(2, "Options of the program itself"),
        *_options(program),
        code("{toctree}", ":hidden:\n\n" + "\n".join(f"{each.path} <{each.page}>" for each in leaves)),
    )


def _command(command: Command) -> str:
    arguments = [(f"`{_place(each)}`", one_line(each.help or "")) for each in command.arguments]
    return page(
        heading(1, f"`{command.words}`", anchor("command", command.page)),
        command.help,
        code("text", usage(command)),
        "For example:",
        code("sh", command.example),
        *([heading(2, "Arguments"), fields(arguments)] if arguments else []),
        *([heading(2, "Options"), *_options(command)] if command.options else []),
    )


def usage(command: Command) -> str:
    """Write what one types, as far as it is not a value of one's own."""
    needed = [written(each, command) for each in command.options if each.required]
    free = ["[OPTIONS]"] if any(not each.required for each in command.options) else []
    places = [_place(each) if each.required else f"[{_place(each)}]" for each in command.arguments]
    return " ".join([command.words, *free, *needed, *places])


def _options(command: Command) -> Iterator[str]:
    for each in command.options:
        target = anchor("option", command.page, max(each.opts, key=len))
        yield f"({target})=\n\n`{written(each, command)}`\n: {_meaning(each, command)}"


def written(option: Any, command: Command) -> str:
    """Write an option as it is typed: `--trials NUMBER`, `--refit / --no-refit`."""
    flags = " / ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return flags
    kind, _ = command.annotation(option)
    return f"{flags} {option.metavar or _VALUES[kind]}"


def _meaning(option: Any, command: Command) -> str:
    _, told = command.annotation(option)
    low, high = getattr(told, "min", None), getattr(told, "max", None)
    notes = [f"from {low} to {high}"] if low is not None and high is not None else []
    notes += ["required"] if option.required else []
    return _with_links(one_line(option.help or "")) + (f" *({', '.join(notes)})*" if notes else "")


def _with_links(text: str) -> str:
    """Link the study file's keys that a text names: `search.trials`."""

    def linked(found: re.Match[str]) -> str:
        return f"[`{found[0]}`](#{anchor('key', found[0])})"

    return re.sub(r"\b(?:data|search|finalize|tracking)\.[a-z_]+", linked, text)


def _place(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")
