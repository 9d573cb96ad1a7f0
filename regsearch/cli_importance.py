"""The command `regsearch study importance`."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def importance(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the study.")],
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store of a study that was run elsewhere.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output, all else on standard error.")
    ] = False,
) -> None:
    """Show which knob mattered, for the validation loss and for the gap."""
    from regsearch.importance import importance_of

    found = importance_of(name, tracking_uri)
    if as_json:
        typer.echo(json.dumps({"study": name, **found.to_json()}, indent=2, ensure_ascii=False, allow_nan=False))
        return
    from regsearch.printing import print_importance

    print_importance(found)
