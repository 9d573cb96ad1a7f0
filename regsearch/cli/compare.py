"""The command `regsearch study compare`: studies side by side, from any MLflow store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regsearch.cli.options import Json, print_json
from regsearch.errors import UserError
from regsearch.system.files import JsonObject, write_asked

if TYPE_CHECKING:
    from regsearch.analysis.study_comparison import Comparison
    from regsearch.tracking.mlflow.runs import StudyRuns


def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of two studies or more.")],
    by: Annotated[
        str | None,
        typer.Option(metavar="TAG", help="Tag or parameter of a study that names its method, like search.sampler."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row per study to this file.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", "--out", help="Write a page with tables and pictures to this file.")
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store; anyone's studies there will do.")] = None,
    as_json: Json = False,
) -> None:
    """Say which regularizer generalizes: studies of one data set over paired seeds, or methods over data sets."""
    for path in (csv, html):
        if path is not None and not path.absolute().parent.is_dir():
            raise UserError("no such folder", file=path, allowed="name a file in a folder that is there")
    comparison = compared(names, by=by, tracking_uri=tracking_uri)
    if csv is not None:
        _write_csv(comparison, csv)
    if html is not None:
        from regsearch.pages import comparison_page

        write_asked(html, comparison_page(comparison), "--html")
    if as_json:
        print_json(to_json(comparison))
    else:
        _print(comparison)


def compared(names: list[str], *, by: str | None = None, tracking_uri: str | None = None) -> Comparison:
    """Compare the studies of these names, as read from the MLflow store; nothing of their local state is needed.

    Args:
        by: see `regsearch.analysis.study_comparison.compare`.
        tracking_uri: the store, by default MLFLOW_TRACKING_URI or the local one.

    Raises:
        UserError: a store or study that cannot be used, or studies that nothing pairs.
    """
    from regsearch.analysis.study_comparison import compare as compare_runs
    from regsearch.tracking.mlflow import store
    from regsearch.workspace.folder import home

    uri = store.tracking_uri(tracking_uri, home())
    return compare_runs([_read(uri, name) for name in dict.fromkeys(names)], by)


def _read(uri: str, name: str) -> StudyRuns:
    """The study as the store has it; of one that was run here, what the store lost or is newer is refused."""
    from regsearch.tracking.mlflow.runs import read_study
    from regsearch.workspace.folder import StudyFolder, home
    from regsearch.workspace.forms import check_versions
    from regsearch.workspace.spec import StudySpec
    from regsearch.workspace.stores import refuse_lost

    folder = StudyFolder(home(), name)
    here = folder.exists() and StudySpec.open(name).uri == uri
    if here:
        check_versions(folder)
    try:
        runs = read_study(uri, name)
    except UserError as error:
        if here and error.key != "tracking.uri":  # a store that cannot be used has lost nothing
            refuse_lost(folder, ())
        raise
    if here:
        parent = [("study", 0)] if runs.params else []
        refuse_lost(folder, [*zip(runs.runs["kind"], runs.runs["number"], strict=True), *parent])
    return runs


def to_json(comparison: Comparison) -> JsonObject:
    """Encode the comparison as the object that `--json` prints; what is not finite is null."""
    from dataclasses import asdict

    from regsearch.analysis.study_comparison_words import notes, sentence
    from regsearch.workspace.answer import plain

    pairs = [{**asdict(pair), "holds": pair.holds, "powerless": pair.powerless} for pair in comparison.pairs]
    content: JsonObject = plain(
        {
            "unit": comparison.unit,
            "metric": comparison.metric,
            "sentence": sentence(comparison),
            "compared": comparison.compared,
            "ranks": comparison.ranks,
            "p_ranks": comparison.p_ranks,
            "scores": comparison.scores,
            "pairs": pairs,
            "unpaired": comparison.unpaired,
            "studies": [{name: value for name, value in asdict(each).items()} for each in comparison.studies],
            "notes": notes(comparison),
        }
    )
    return content


def _write_csv(comparison: Comparison, path: Path) -> None:
    """One row per study, one column per number."""
    import pandas as pd

    spans = {
        "gap": ("gap_median", "gap_10", "gap_90"),
        "test": (comparison.metric, "", ""),
        "final_gap": ("final_gap", "", ""),
    }
    rows = []
    for each in comparison.studies:
        row: JsonObject = {"data": each.data, "method": each.method, "study": each.study}
        row |= {"complete": each.complete, "pruned": each.pruned, "failed": each.failed, "best_val_loss": each.best}
        for name, (middle, low, high) in spans.items():
            span = getattr(each, name)
            row |= {middle: span.value, low or f"{middle}_low": span.low, high or f"{middle}_high": span.high}
        rows.append(
            {**row, f"baseline_{comparison.metric}": each.baseline, "seeds": len(each.scores), "digest": each.digest}
        )
    write_asked(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"), "--csv")


def _print(comparison: Comparison) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from regsearch.analysis.study_comparison_words import notes, pair_table, score_table, sentence, study_table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    shown = [("studies", study_table(comparison))]
    if comparison.unit == "data set":
        shown = [("data sets", score_table(comparison))]
    if comparison.pairs:
        shown.append(("pairs", pair_table(comparison)))
    for _, (head, rows) in shown:
        table = Table(*map(escape, head), header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.columns[0].no_wrap = True
        for row in rows:
            table.add_row(*map(escape, row))
        with console.capture() as capture:
            console.print(table)
        sys.stdout.write("\n" + "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
    sys.stdout.write("\n")
    for note in notes(comparison):
        sys.stdout.write(f"{note}\n")
    with console.capture() as capture:
        console.print(f"\n[bold]{escape(sentence(comparison))}[/]", soft_wrap=True)
    sys.stdout.write(capture.get())
