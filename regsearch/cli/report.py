"""The command `regsearch study report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regsearch.cli.options import Json, Name, print_json


def report(
    name: Name,
    out: Annotated[
        Path | None, typer.Option("--out", "--html", help="The file to write; else one in the study's folder.")
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Read the study from this MLflow store instead.")] = None,
    as_json: Json = False,
) -> None:
    """Write a study as one HTML page that needs no network: the answer, its pictures, how to reproduce it."""
    from regsearch.publish.report import report_study

    path = report_study(name, out, tracking_uri)
    if as_json:
        print_json({"study": name, "report": str(path)})
    else:
        typer.echo(path)
