"""The command `regsearch study report`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def report(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; else one in the study's folder.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="Read the study from this MLflow store instead.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
    ] = False,
) -> None:
    """Write a study as one HTML page that needs no network: the answer, its pictures, how to reproduce it."""
    from regsearch.reporting import report_study

    path = report_study(name, out, tracking_uri)
    if as_json:
        typer.echo(json.dumps({"study": name, "report": str(path)}, indent=2, ensure_ascii=False))
    else:
        typer.echo(path)
