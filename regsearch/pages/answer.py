"""The first sections of a study's page: the answer, what to be careful about, and the intervals of the finals."""

from __future__ import annotations

from regsearch.analysis.finals_words import ROLES, decided, flattery, held, others, table
from regsearch.analysis.statistics import metric_of
from regsearch.pages.forest import Estimate, forest
from regsearch.pages.parts import Claim, Lines, Paragraph, Part, Section, Table
from regsearch.pages.record import StudyRecord

FEW_ROWS, FEW_SEEDS, MANY_FAILED = 200, 5, 0.1
"""Fewer test rows or seeds, or a larger share of failed trials, are worth a warning."""


def answer(record: StudyRecord) -> Section:
    """Make the section of the answer: the sentence, whether it is a claim, and the tables of the finals."""
    parts: list[Part] = [Paragraph(record.sentence, strong=True)]
    summary = record.summary
    if summary is None:
        return Section("answer", "Answer", parts)
    contrast = summary.contrast
    level = f"{100 * contrast.level:g} %"
    if summary.same:
        parts.append(Claim("No claim:", "the winner of the finals is the baseline itself.", False))
    elif contrast.claim:
        parts.append(Claim("Claim:", f"the whole {level} interval is on the winner's side.", True))
    else:
        parts.append(Claim("No claim:", f"the {level} interval does not lie on the winner's side as a whole.", False))
    header, rows = table(summary)
    said = [held(summary), *filter(None, [decided(summary)])]
    said += [] if summary.same else [flattery(summary)]
    note = " ".join(f"{each[:1].upper()}{each[1:]}." for each in said)
    parts.append(Table("Finals: winner against baseline", header, rows, note=note))
    if summary.others:
        first, *rest = others(summary)
        remark = "These contrasts explore; the one that counts is winner against baseline, above."
        parts.append(Table("Finals: the other candidates", first, rest, note=remark))
    return Section("answer", "Answer", parts)


def care(record: StudyRecord) -> Section:
    """List what a reader should allow for before believing the answer."""
    paragraphs = []
    if not record.ended:
        paragraphs.append("The study has not ended: all of this may change.")
    summary = record.summary
    if summary is not None:
        rows, seeds = summary.contrast.rows, summary.contrast.seeds
        if rows < FEW_ROWS:
            paragraphs.append(f"The test has {rows} rows: few, so that the intervals are wide and their ends rough.")
        if seeds == 1:
            paragraphs.append("One seed cannot tell a difference from chance.")
        elif seeds < FEW_SEEDS:
            paragraphs.append(f"{seeds} seeds are few: an interval over them is wide, and rough.")
        paragraphs += [f"{line[:1].upper()}{line[1:]}." for line in summary.missing]
        if summary.left_out:
            paragraphs.append(f"{summary.left_out} of {seeds + summary.left_out} seeds diverged and were left out.")
    elif record.ended:
        paragraphs.append("No finals were held: nothing here was tested on rows that the search had not seen.")
    if record.opened > 1:
        words = f"{record.opened_words[:1].upper()}{record.opened_words[1:]}"
        paragraphs.append(f"{words}: each look at the same rows makes a lucky one likelier.")
    if failed := record.count("FAIL"):
        share = "; that is many" if failed > MANY_FAILED * len(record.trials) else ""
        paragraphs.append(f"{_count(failed, 'trial')} of {len(record.trials)} failed{share}: {_reason(record)}.")
    if len(record.objectives) > 1:
        paragraphs.append(
            f"The search had several objectives: {', '.join(record.objectives)}. No one trial is best in all."
        )
    if not paragraphs:
        paragraphs.append(
            "Nothing out of the ordinary: enough test rows and seeds, a test opened once, few failed trials."
        )
    return Section("care", "What to be careful about", [Lines(paragraphs)])


def intervals(record: StudyRecord) -> Section:
    """Plot the finals as a forest plot: winner minus each of the others, and each candidate's own metric."""
    summary = record.summary
    if summary is None:
        return Section("intervals", "Intervals")
    metric = metric_of(summary.contrast.metric)
    share = 100.0 if metric.higher_is_better else 1.0
    # On a phone an axis has room for some sixty letters.
    word, unit = ("RMSE", "target's units; ") if metric.name == "rmse" else (metric.words, "")
    unit = "points; " if metric.higher_is_better else unit
    level = f"{100 * summary.contrast.level:g} %"
    differences: list[Estimate] = []
    if not summary.same:
        contrast = summary.contrast
        label = f"winner − baseline: {summary.winner.label or 'no regularization'}"
        ends = (share * contrast.low, share * contrast.high)
        differences.append(Estimate("winner", label, share * contrast.difference, *ends))
    for other in summary.others:
        change = other.contrast
        label = f"winner − {ROLES.get(other.role, other.role)}: {other.summary.label or 'no regularization'}"
        differences.append(Estimate("other", label, share * change.difference, share * change.low, share * change.high))
    better = "larger is better" if metric.higher_is_better else "smaller is better"
    parts: list[Part] = []
    if differences:
        name = f"difference in {word} ({unit}{better})"
        what = f"Winner minus another candidate on the test, with {level} intervals; one that crosses 0 may be chance."
        parts.append(forest("differences", "Differences", what, differences, name, zero=True))
    levels: list[Estimate] = []
    candidates = [("winner", "winner", summary.winner), ("baseline", "baseline", summary.baseline)]
    candidates += [("other", ROLES.get(each.role, each.role), each.summary) for each in summary.others]
    for style, role, candidate in candidates:
        span = candidate.test_metric
        label = f"{role}: {candidate.label or 'no regularization'}"
        levels.append(Estimate(style, label, share * span.value, share * span.low, share * span.high))
    name = f"{word} on the test ({'%; ' if metric.higher_is_better else unit}{better})"
    what = f"Means over seeds with {level} intervals. They may overlap though the paired difference is certain."
    parts.append(forest("levels", "Each candidate on the test", what, levels, name, zero=False))
    return Section("intervals", "Intervals of the finals", parts)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def _reason(record: StudyRecord) -> str:
    failed = record.trials[record.trials["state"].astype(str) == "FAIL"]
    first = failed.iloc[0]
    reason = first.get("reason") if "reason" in failed else None
    said = reason if isinstance(reason, str) and reason else "gave no reason"
    return f"trial {int(first['number'])} {said}".rstrip(".")
