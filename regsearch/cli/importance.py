"""The command `regsearch study importance`."""

from __future__ import annotations

from typing import Annotated

import typer

from regsearch.cli.options import Json, Name, print_json


def importance(
    name: Name,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store of a study that was run elsewhere.")] = None,
    as_json: Json = False,
) -> None:
    """Show which knob mattered, for the validation loss and for the gap."""
    from regsearch.publish.importance import importance_of

    study_importance = importance_of(name, tracking_uri)
    if as_json:
        print_json({"study": name, **study_importance.to_json()})
        return
    from regsearch.cli.printing import print_importance

    print_importance(study_importance)
