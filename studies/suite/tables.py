"""The suite's tables in Markdown: methods over data sets, their pairs, the optimism of a search's best score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regsearch.analysis.paired_tests import signed_rank
from regsearch.analysis.statistics import Interval, interval
from regsearch.analysis.study_comparison import Comparison, compare
from regsearch.analysis.study_comparison_pictures import ranks_picture
from regsearch.analysis.study_comparison_words import Table, notes, p_value, pair_table, score_table, sentence
from regsearch.study.study import home
from regsearch.tracking.mlflow.runs import StudyRuns, read_study
from regsearch.tracking.mlflow.store import tracking_uri

BEGIN, END = "<!-- suite -->", "<!-- end of suite -->"
PICTURE = Path(__file__).resolve().parent / "ranks.svg"
METRIC = "balanced_accuracy"
ROLES = ("baseline", "winner")


@dataclass(frozen=True)
class Optimism:
    """How much a score on the validation rows promises too much, on one data set; shares, not percent.

    Args:
        said: the best trial's validation score, what a search alone would report.
        held: what its setting reaches on the test rows, mean over fresh seeds.
        finals_said, finals_held: the winner's scores on validation and test rows, means over fresh seeds.
    """

    data: str
    said: float
    held: float
    finals_said: float
    finals_held: float

    @property
    def naive(self) -> float:
        return self.said - self.held

    @property
    def finals(self) -> float:
        return self.finals_said - self.finals_held


def suite_tables(studies: Mapping[str, Mapping[str, str]], smallest: Sequence[str]) -> str:
    """All of it, from the store; `studies` has the names by data set and method.

    Args:
        smallest: the data sets of the optimism table.
    """
    uri = tracking_uri(None, home())
    runs = {name: {method: read_study(uri, each) for method, each in row.items()} for name, row in studies.items()}
    every = [each for row in runs.values() for each in row.values()]
    found = compare(every)
    parts = [f"**{sentence(found)}**"]
    if found.unit == "data set":
        parts += [markdown(score_table(found))]
        if len(found.units) == len(studies) and len(studies) > 5:
            _draw(found)
            parts += ["![Mean ranks of the methods](suite/ranks.svg)"]
    parts += [markdown(pair_table(found)), "\n".join(f"- {each}" for each in notes(found))]
    measured = [optimism(name, runs[name]["cocktail"]) for name in smallest if name in runs]
    if len(measured) > 1:
        parts += [optimism_text(measured), markdown(optimism_table(measured))]
    return "\n\n".join(parts)


def optimism(data: str, study: StudyRuns) -> Optimism:
    """What the search's best trial said, and what it and the finals' winner hold."""
    runs = study.runs
    trials = runs[(runs["kind"] == "trial") & (runs["state"] == "COMPLETE")]
    finals = runs[(runs["kind"] == "final") & (runs["state"] == "COMPLETE")]
    best = trials.sort_values(["val_loss", "number"]).iloc[0]
    baseline, winner = (finals[[role in str(each).split(",") for each in finals["roles"]]] for role in ROLES)
    again = finals[finals["candidate"] == best["number"]]
    # A best trial with everything off is the baseline, and enters the finals as such.
    again = baseline if again.empty else again
    means = [
        float(each[f"{part}_{METRIC}"].mean()) for each, part in ((again, "test"), (winner, "val"), (winner, "test"))
    ]
    return Optimism(data, float(best[f"val_{METRIC}"]), *means)


def optimism_text(measured: Sequence[Optimism]) -> str:
    """What the table says, in two sentences."""
    naive, finals = ([getattr(each, name) for each in measured] for name in ("naive", "finals"))
    p, _ = signed_rank(np.subtract(naive, finals))
    return (
        f"Over the {len(measured)} smallest data sets, the validation score of the search's best trial promises "
        f"{_points(interval(naive))} more than its setting holds on unseen rows; the finals' validation score, of the "
        f"winner on fresh seeds, promises {_points(interval(finals))} more (signed-rank test of the two: "
        f"p = {p_value(p)}). What regsearch reports is neither, but the score on the sealed rows, which no choice saw."
    )


def optimism_table(measured: Sequence[Optimism]) -> Table:
    """A row per data set in percent and points, and the mean of the optimism with its interval."""
    head = ["data set", "best trial, validation", "the same, unseen", "optimism"]
    head += ["finals, validation", "finals, unseen", "optimism of finals"]
    rows = []
    for each in measured:
        scores = (each.said, each.held, each.naive, each.finals_said, each.finals_held, each.finals)
        texts = [
            f"{100 * score:+.1f}" if place % 3 == 2 else f"{100 * score:.1f} %" for place, score in enumerate(scores)
        ]
        rows.append([each.data, *texts])
    means = [_points(interval([getattr(each, name) for each in measured])) for name in ("naive", "finals")]
    rows.append(["mean (95 % interval)", "", "", means[0], "", "", means[1]])
    return head, rows


def markdown(table: Table) -> str:
    """The table as Markdown has it."""
    head, rows = table
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(each.replace("|", "\\|").replace("*", "\\*") for each in row) + " |" for row in lines
    )


def with_tables(page: str, text: str) -> str:
    """The page with this text between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"


def _points(span: Interval) -> str:
    return f"{100 * span.value:+.1f} points ({100 * span.low:+.1f} to {100 * span.high:+.1f})"


def _draw(found: Comparison) -> None:
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "regsearch"}):
        ranks_picture(found).savefig(PICTURE, format="svg", metadata={"Date": None})
