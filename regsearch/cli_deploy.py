"""How studies go elsewhere: the command `regsearch study export`, and the option `--tensorboard`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

TensorBoard = Annotated[
    str | None, typer.Option(metavar="DIR", help="Write the curves for TensorBoard too, below this folder.")
]


def export(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write; empty, or not there yet.")],
    onnx: Annotated[
        bool | None,
        typer.Option("--onnx/--no-onnx", help="Write model.onnx too; by default where the model allows it."),
    ] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow store that the champion is registered in, for a study of elsewhere.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an earlier export in DIR.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
    ] = False,
) -> None:
    """Write the champion as a plain folder that needs torch, numpy and pandas alone."""
    from regsearch.export import export_study

    found = export_study(name, folder, onnx=onnx, replace=replace, tracking_uri=tracking_uri)
    if found.no_onnx is not None:
        typer.echo(found.no_onnx, err=True)
    if as_json:
        files = {"folder": str(found.folder), "files": list(found.files), "onnx": "model.onnx" in found.files}
        typer.echo(json.dumps({"study": name, **files, "origin": found.origin}, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{folder} is written: {', '.join(found.files)}")
