"""The command `regsearch`. Heavy packages are imported by the command that needs them, never for `--help`."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from regsearch.cli.compare import compare
from regsearch.cli.export import export
from regsearch.cli.importance import importance
from regsearch.cli.options import EXAMPLE, Json, Name, Ray, TensorBoard, print_json
from regsearch.cli.report import report
from regsearch.cli.watching import STOPPED, watched
from regsearch.errors import UserError, mended_by_hand
from regsearch.executors.server import start_server
from regsearch.system.files import JsonObject
from regsearch.system.garbage import settle_collector
from regsearch.system.streams import open_streams

if TYPE_CHECKING:
    from regsearch.workspace.answer import Answer

DIFFERS, REFUSED = 1, 2
SECTIONS = ("name", "data", "model", "train", "space", "search", "finalize", "tracking")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find the regularization a model needs, and prove it.",
)
study_app = typer.Typer(no_args_is_help=True, help="Start, resume and look at studies.")
app.add_typer(study_app, name="study")
trial_app = typer.Typer(no_args_is_help=True, help="Look into one trial of a study.")
app.add_typer(trial_app, name="trial")

P = ParamSpec("P")


def main() -> None:
    """Run the command."""
    open_streams()
    settle_collector()
    try:
        app(prog_name="regsearch")
    except SystemExit as end:
        if end.code == STOPPED:
            # Under `python -m` Python dies of SIGINT after an interrupt inside `exec`, though it was caught.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(STOPPED)
        raise


def command(group: typer.Typer, name: str, example: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command whose refusals are one line on standard error and exit code 2, and whose Ctrl-C is 130.

    Args:
        example: the words that may follow `regsearch` to use it; its help ends with them.
    """

    def register(run: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(run)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                run(*args, **kwargs)
            except UserError as error:
                _end(f"regsearch: {error}", REFUSED)
            except (ModuleNotFoundError, OSError) as error:
                line = mended_by_hand(error)
                if line is None:
                    raise
                _end(f"regsearch: {line}", REFUSED)
            except KeyboardInterrupt as error:
                _end(f"regsearch: {str(error) or 'stopped'}", STOPPED)

        return group.command(name, epilog=f"{EXAMPLE} regsearch {example}")(guarded)

    return register


@command(study_app, "start", "study start studies/digits.yaml --trials 50 --timeout 10m")
def start(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file (YAML).")],
    trials: Annotated[int | None, typer.Option(help="Number of trials, in place of search.trials.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the search, in place of search.seed.")] = None,
    timeout: Annotated[str | None, typer.Option(help="Stop then, resumable: seconds, or like 90s, 10m, 2h.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or one like cuda:0, in place of search.device.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store, in place of tracking.uri.")] = None,
    storage: Annotated[str | None, typer.Option(help="Database of the search, in place of search.storage.")] = None,
    ray: Ray = None,
    tensorboard: TensorBoard = None,
    replace: Annotated[bool, typer.Option("--replace", help="Delete the study of this name first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show the plan, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Search, hold finals, and print the answer."""
    from regsearch.config.words import as_seconds
    from regsearch.study.study import Study

    seconds = as_seconds(timeout, "--timeout")

    places = {"tracking_uri": tracking_uri, "storage": storage, "device": device, "ray": ray}
    study = Study.from_file(file, trials=trials, seed=seed, **places).with_tensorboard(tensorboard)
    if not dry_run:
        start_server()  # which imports, on another core, what this process would wait for
    with _named(file):
        _ = study.space  # refused before anything is begun
        if dry_run:
            _print_plan(study.check(), as_json)
            return
        with watched(study) as progress:
            answer = study.run(replace=replace, timeout=seconds, progress=progress)
    _print_answer(answer, as_json)


@command(study_app, "resume", "study resume digits")
def resume(
    name: Name,
    storage: Annotated[str | None, typer.Option(help="Fetch the study from this database of its search.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store of a study that is fetched.")] = None,
    ray: Ray = None,
    tensorboard: TensorBoard = None,
    as_json: Json = False,
) -> None:
    """Go on with a study that was stopped or killed, here or on another machine; print the answer of a finished one."""
    from regsearch.study.fetch import open_or_fetch

    study = open_or_fetch(name, storage, tracking_uri, ray).with_tensorboard(tensorboard)
    with watched(study) as progress:
        answer = study.resume(progress=progress)
    _print_answer(answer, as_json)


@command(study_app, "finalize", "study finalize digits --top 2 --seeds 6")
def finalize(
    name: Name,
    top: Annotated[int | None, typer.Option(help="How many of the best trials enter, for finalize.top.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Fresh seeds of each, for finalize.seeds.")] = None,
    splits: Annotated[int | None, typer.Option(help="Cuts of training and validation, for finalize.splits.")] = None,
    refit: Annotated[bool | None, typer.Option("--refit/--no-refit", help="Train it on validation rows too.")] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Hold the finals of a study, again if it had some: each time is another opening of its test."""
    from regsearch.study.study import Study

    study = Study.open(name, ray)
    with watched(study) as progress:
        answer = study.finalize(top=top, seeds=seeds, splits=splits, refit=refit, progress=progress)
    _print_answer(answer, as_json)


@command(study_app, "list", "study list --json")
def list_studies(as_json: Json = False) -> None:
    """List the studies kept here; 2 if the record of one cannot be read."""
    from regsearch.study.study import Study

    refused: list[UserError] = []
    rows = Study.list(refused.append)
    if as_json and (rows or not refused):
        print_json({"studies": rows})
    elif rows:
        from regsearch.cli.printing import print_studies

        print_studies(rows)
    elif not refused:
        typer.echo("no study yet; `regsearch study start FILE` starts one", err=True)
    for error in refused:
        typer.echo(f"regsearch: {error}", err=True)
    if refused:
        raise typer.Exit(REFUSED)


@command(study_app, "show", "study show digits")
def show(name: Name, as_json: Json = False) -> None:
    """Show a study: its answer, or how far it is."""
    from regsearch.study.study import Study
    from regsearch.workspace.answer import Answer

    state = Study.open(name).show()
    if as_json:
        print_json(state.to_json())
    elif isinstance(state, Answer):
        _print_answer(state, as_json)
    else:
        from regsearch.cli.printing import print_status

        print_status(state)


command(study_app, "compare", "study compare digits-dropout digits-decay --html comparison.html")(compare)
command(study_app, "importance", "study importance digits")(importance)
command(study_app, "report", "study report digits")(report)
command(study_app, "export", "study export digits champion")(export)


@command(trial_app, "replay", "trial replay digits 17")
def replay(
    name: Name,
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=0, help="Number of the trial; 0 is the baseline.")],
    as_json: Json = False,
) -> None:
    """Train a trial again in a new process and compare every metric of every epoch with the store; 1 if any differs."""
    from regsearch.study.study import Study

    agreement = Study.open(name).replay(number)
    if as_json:
        print_json(agreement.to_json())
    else:
        typer.echo(agreement.sentence())
    if not agreement.agrees:
        raise typer.Exit(DIFFERS)


@command(study_app, "delete", "study delete digits --yes")
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of the studies.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete studies: their state here and their runs in MLflow."""
    from regsearch.study.study import Study

    studies = [Study.open(name) for name in names]
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("nobody to ask whether to delete", key="--yes", allowed="give it to delete without asking")
        typer.confirm(f"Delete {', '.join(names)} and their MLflow runs?", abort=True, err=True)
    for study in studies:
        study.delete()
        typer.echo(f"deleted {study.config.name}", err=True)


@command(study_app, "cost", "study cost studies/digits.yaml")
def cost(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file (YAML).")], as_json: Json = False
) -> None:
    """Measure what each regularizer of a study adds to a training step; a minute or two, on an idle machine."""
    from regsearch.study.study import Study

    study = Study.from_file(file)
    with _named(file):
        step_cost = study.cost()
    if as_json:
        print_json({"study": study.config.name, **asdict(step_cost)})
        return
    from regsearch.cli.printing import print_cost

    print_cost(step_cost)


@command(study_app, "init", "study init patients.csv --target outcome")
def init(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Your table: a .csv or .parquet file.")],
    target: Annotated[str, typer.Option(help="The column that is to be predicted.")],
    name: Annotated[str | None, typer.Option(help="Name of the study, by default that of the table.")] = None,
) -> None:
    """Write a commented study file for a table of your own."""
    from regsearch.cli.starter import write_study_file

    path = write_study_file(table, target, name)
    typer.echo(f"{path} is written; `regsearch study start {path}` starts it")


@command(app, "regularizers", "regularizers weight_decay")
def regularizers(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One regularizer in full.")] = None,
) -> None:
    """List the regularizers, or show one with its knobs, its source and a snippet for a study file."""
    from regsearch.cli.printing import print_regularizer, print_regularizers

    print_regularizers() if name is None else print_regularizer(name)


@command(app, "ui", "ui --port 5001")
def ui(port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; 5000, or a free one.")] = None) -> None:
    """Browse the studies in MLflow's own pages, on this machine alone, until Ctrl-C."""
    from regsearch.study.study import home
    from regsearch.tracking.mlflow.ui import serve_ui

    raise typer.Exit(serve_ui(home(), port))


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"regsearch {version('regsearch')}")
        except PackageNotFoundError:
            typer.echo("regsearch, not installed")
        raise typer.Exit


@app.callback()
def regsearch(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the regularization a model needs, and prove it."""


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Name the study file in a refusal of one of its keys that does not know where it stands."""
    try:
        yield
    except UserError as error:
        section = (error.key or "").partition(".")[0]
        raise (error.within(file) if section in SECTIONS else error) from None


def _print_answer(answer: Answer, as_json: bool) -> None:
    if as_json:
        print_json(answer.to_json())
        return
    from regsearch.cli.printing import print_answer

    print_answer(answer)


def _print_plan(plan: JsonObject, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    from regsearch.cli.printing import print_plan

    print_plan(plan)


def _end(line: str, code: int) -> None:
    typer.echo(line, err=True)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
