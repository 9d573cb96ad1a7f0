"""Arguments and options that several commands have."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from regsearch.system.files import JsonObject

EXAMPLE = "Example:"
"""How the last line of a command's help begins."""
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Train on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT."),
]
TensorBoard = Annotated[
    str | None, typer.Option(metavar="DIR", help="Write the curves for TensorBoard too, below this folder.")
]


def print_json(content: JsonObject) -> None:
    """Print one object on standard output; a number that is not finite is a mistake."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
