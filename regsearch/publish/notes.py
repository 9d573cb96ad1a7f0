"""What MLflow's pages say of a study: the descriptions, in Markdown, of its experiment and of its parent run."""

from __future__ import annotations

import re
from collections.abc import Iterable

from regsearch.analysis.finals_summary import FinalsSummary
from regsearch.analysis.finals_words import flattery, held, table
from regsearch.config import StudyConfig
from regsearch.data import Manifest, Opened
from regsearch.tasks import Task
from regsearch.tracking.log.records import Note
from regsearch.tracking.mlflow.views import FINALS, TRIALS, experiment_tags
from regsearch.trial import Trial, TrialState

DESCRIPTION = "mlflow.note.content"
ANSWER_TAG, ANSWER_LENGTH, OPENED_TAG = "regsearch.answer", 480, "regsearch.test_opened"
_RUNS = "#/experiments/{experiment}/runs"
_CLOCK = (
    "Times of runs are those of the study's logical clock, which are the same wherever it runs; they are no durations."
)


def begun(config: StudyConfig, manifest: Manifest, task: Task, time_ms: int) -> Note:
    """Write the note of a study that searches, and how its pages show it.

    Args:
        time_ms: when the study began, milliseconds since 1970.
    """
    search = config.search
    objectives = " and ".join(search.objectives)
    plan = (
        f"Searching: {search.trials:,} trials of {config.model.name or config.model.factory} on {manifest.source} "
        f"({manifest.sizes['train']:,} training rows), ranked by {objectives}. There is no answer yet."
    )
    now = f"`regsearch study show {config.name}` says how far it is, `regsearch study resume {config.name}` goes on."
    first = search.objectives[0]
    tags = experiment_tags(first, first.partition("_")[2] in task.higher, task.metric, task.metrics_names, time_ms)
    return Note(
        {DESCRIPTION: "\n\n".join([f"**{_plain(plan)}**", now, _links(_trials_links()), _CLOCK])},
        experiment={**tags, DESCRIPTION: "\n\n".join([_plain(plan), _links(_trials_links())])},
    )


def answered(
    config: StudyConfig,
    sentence: str,
    trials: Iterable[Trial],
    winner: Trial | None = None,
    summary: FinalsSummary | None = None,
    opened: Opened | None = None,
) -> Note:
    """Write the note of a study that has its answer.

    Args:
        winner: the trial that won the finals, or the search where there were none.
        summary: of the finals, None where there were none.
        opened: how often the sealed test of these data has been opened.
    """
    name, times = config.name, opened.times if opened else 0
    links = _trials_links()
    if winner is not None:
        links["the winner's curves"] = f"{_RUNS}/{{run:trial:{winner.number}}}/model-metrics"
    if summary is not None:
        links |= {"finals": f"{_RUNS}?viewStateShareKey={FINALS}", "the champion": f"#/models/{name}"}
    parts = [f"**{_plain(sentence)}**", _links(links)]  # MLflow folds what comes after the first lines
    if summary is not None:
        words = f"{_sentence(held(summary))} {_sentence(str(opened))}" if opened else _sentence(held(summary))
        parts += [_table(summary), words if summary.same else f"{words} {_plain(_sentence(flattery(summary)))}"]
    elif opened is not None and opened.times:
        parts.append(_sentence(str(opened)))
    states = [trial.state for trial in trials]
    counts = {word: states.count(state) for word, state in _STATES.items()}
    parts.append(f"{len(states):,} trials: " + ", ".join(f"{count:,} {word}" for word, count in counts.items()) + ".")
    commands = {f"study resume {name}": "prints this answer again"}
    if winner is not None:
        commands[f"trial replay {name} {winner.number}"] = "trains the winner again and compares every number"
    commands[f"study report {name}"] = "writes it all on one page"
    parts += ["\n".join(f"- `regsearch {words}` {what}" for words, what in commands.items()), _CLOCK]
    study = {"the study": f"{_RUNS}/{{run:study:0}}"}
    return Note(
        {DESCRIPTION: "\n\n".join(parts), ANSWER_TAG: sentence[:ANSWER_LENGTH], OPENED_TAG: str(times)},
        experiment={DESCRIPTION: "\n\n".join([_plain(sentence), _links(study | links)])},
    )


_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def _trials_links() -> dict[str, str]:
    view = f"{_RUNS}?viewStateShareKey={TRIALS}"
    return {"trials, best first": view, "their curves": f"{view}&compareRunsMode=CHART"}


def _links(links: dict[str, str]) -> str:
    return " · ".join(f"[{words}]({address})" for words, address in links.items())


def _table(summary: FinalsSummary) -> str:
    header, rows = table(summary)
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    if text == "---":
        return text
    indent = len(text) - len(text.lstrip())
    return "&nbsp;" * indent + _plain(text.lstrip()).replace("|", "&#124;")


def _plain(text: str) -> str:
    """The text as Markdown that shows it letter by letter."""
    escaped = re.sub(r"([\\`*_{}\[\]#])", r"\\\1", text)
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
