"""The command `regsearch study export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regsearch.cli.options import Json, Name, print_json


def export(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write; empty, or not there yet.")],
    onnx: Annotated[
        bool | None,
        typer.Option("--onnx/--no-onnx", help="Write model.onnx too; by default where the model allows it."),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store that the champion is registered in, for a study of elsewhere.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export in DIR.")] = False,
    as_json: Json = False,
) -> None:
    """Write the champion as a plain folder that needs torch, numpy and pandas alone."""
    from regsearch.export import export_study

    exported = export_study(name, folder, onnx=onnx, replace=replace, tracking_uri=tracking_uri)
    if exported.no_onnx is not None:
        typer.echo(exported.no_onnx, err=True)
    if as_json:
        files = {"folder": str(exported.folder), "files": list(exported.files), "onnx": "model.onnx" in exported.files}
        print_json({"study": name, **files, "origin": exported.origin})
    else:
        typer.echo(f"{folder} is written: {', '.join(exported.files)}")
