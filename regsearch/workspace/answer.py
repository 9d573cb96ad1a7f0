"""The answer of a study: one object for programs, a sentence for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.analysis.finals_form import check_finals
from regsearch.system import documents, schema
from regsearch.system.files import JsonMapping, JsonObject

if TYPE_CHECKING:
    from regsearch.analysis.finals_summary import FinalsSummary
    from regsearch.data import Opened
    from regsearch.workspace.folder import StudyFolder

_FINALS = ("winner", "baseline", "p_better", "claim", "sentence")


@dataclass(frozen=True)
class _Trials:
    complete: int
    pruned: int
    failed: int


@dataclass(frozen=True)
class _Best:
    number: int
    value: float | None
    params: dict[str, float | str | bool | None]


@dataclass(frozen=True)
class _Front:
    number: int
    values: dict[str, float | None]
    params: dict[str, float | str | bool | None]


@dataclass(frozen=True)
class _Shared:
    others: int = 0
    share: float = 0.0
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Pack:
    width: int
    workers: int


@dataclass(frozen=True)
class _Constraints:
    asked: list[str]
    kept_by: int
    of: int


@dataclass(frozen=True, kw_only=True)
class _AnswerForm:
    """What stands in `answer.json`; of the finals see `regsearch.analysis.finals_form`."""

    study: str
    trials: _Trials
    best: _Best | None
    front: list[_Front] | None = None
    constraints: _Constraints | None = None
    pack: _Pack
    finals: dict[str, object] | None
    timing: dict[str, float]
    test_opened: int
    sentence: str
    test_shared: _Shared = _Shared()


@dataclass(frozen=True)
class Answer:
    """What a study found.

    Args:
        study: the study's name.
        complete, pruned, failed: how many trials ended so.
        best: the best trial: `number`, `value` of the objective and `params`, its active knobs by flat name; None where
            no trial completed.
        pack: `width`, slots of a pack, 1 for one trial at a time, and `workers`, packs trained at once.
        finals: what the finals say, as `regsearch.analysis.finals_words.answer` gives it; None where there were none.
        sentence: the answer in one sentence.
        test_opened: for how many decisions the sealed test of these data has been opened, by whatever study.
        test_shared: what is known of other studies that opened it, and of other tests that have some of its rows, see
            `regsearch.data.Opened`.
        front: with several objectives the trials that no other dominates: `number`, `values` by objective, `params`.
        constraints: where there are some: `asked`, and `kept_by` so many `of` the complete trials.
        timing: seconds per part, shares, and trial-steps per second, by name; parts that end later are added to it.
    """

    study: str
    complete: int
    pruned: int
    failed: int
    best: JsonMapping | None
    pack: Mapping[str, int]
    finals: JsonMapping | None
    sentence: str
    test_opened: int = 0
    test_shared: JsonMapping = field(default_factory=dict)
    timing: dict[str, float] = field(default_factory=dict)
    front: Sequence[JsonMapping] | None = None
    constraints: JsonMapping | None = None

    def to_json(self, full: bool = False) -> JsonObject:
        """Encode the answer as `--json` prints it; plain JSON throughout, a number that is not finite is null.

        A knob at infinity is off, so `best.params`, which holds active knobs, leaves it out.

        Args:
            full: keep what is not part of that contract too, so that `from_json` gives this answer again.
        """
        finals = self.finals
        if finals is not None and not full:
            finals = {name: finals[name] for name in _FINALS}
        best = self.best and {"number": self.best["number"], "value": self.best["value"], **_setting(self.best)}
        contract = {
            "study": self.study,
            "trials": {"complete": self.complete, "pruned": self.pruned, "failed": self.failed},
            "best": best,
            **({} if self.front is None else {"front": [{**each, **_setting(each)} for each in self.front]}),
            **({} if self.constraints is None else {"constraints": self.constraints}),
            "pack": self.pack,
            "finals": finals,
            "timing": self.timing,
            "test_opened": self.test_opened,
        }
        content: JsonObject = plain(contract)
        if not full:
            return content
        more = {"sentence": self.sentence, "test_shared": plain(self.test_shared)}
        return {schema.KEY: schema.ANSWER, **content, **more}

    @classmethod
    def from_json(cls, fields: JsonMapping, file: Path | None = None) -> Answer:
        """Read the answer that `to_json(full=True)` wrote; a field that it does not write is refused.

        What stands below `pack`, `timing`, `test_shared`, `front` and `constraints` may have more fields.

        Args:
            file: it stands in, named in what is refused.

        Raises:
            UserError: it has an unknown field, is damaged, or a newer regsearch wrote it.
        """
        schema.check(fields, schema.ANSWER, documents.field_names(_AnswerForm), file)
        mend = documents.FROM_A_COPY if file is None else documents.concluded_anew(file)
        documents.check_shape(fields, _AnswerForm, mend, file)
        schema.check_fields(fields["trials"], documents.field_names(_Trials), file, "trials")
        schema.check_fields(fields["best"] or {}, documents.field_names(_Best), file, "best")
        if fields["finals"] is not None:
            check_finals(fields["finals"], mend, file, "finals")
        shared = {name: fields[name] for name in ("study", "best", "pack", "finals", "sentence", "test_opened")}
        more = {name: fields[name] for name in ("front", "constraints", "test_shared") if name in fields}
        return cls(**fields["trials"], **shared, timing=dict(fields["timing"]), **more)

    @classmethod
    def load(cls, file: Path) -> Answer:
        """Read the answer in this file, as it was when it was written.

        Raises:
            UserError: it has an unknown field, is damaged, or a newer regsearch wrote it.
        """
        return cls.from_json(documents.read_object(file, schema.ANSWER, documents.concluded_anew(file)), file)

    @classmethod
    def read(cls, folder: StudyFolder) -> Answer:
        """Read the answer that a study keeps in its folder, with the openings of its test as they are by now.

        Raises:
            UserError: answer or data have an unknown field, are damaged, or a newer regsearch wrote them.
        """
        from regsearch.data import Manifest, opened

        known = cls.load(folder.answer)
        return known.after(opened(folder.ledger, Manifest.load(folder.data).test_digest))

    def after(self, opened: Opened) -> Answer:
        """Copy this answer, with how often its test has been opened."""
        shared: JsonObject = {"others": opened.others, "share": opened.share} if opened.others else {}
        if len(opened.by) > 1:
            shared["by"] = [*opened.by]
        return replace(self, test_opened=opened.times, test_shared=shared)

    @cached_property
    def summary(self) -> FinalsSummary | None:
        """What the finals say, in numbers; None where there were none."""
        from regsearch.analysis.finals_summary import FinalsSummary

        return None if self.finals is None else FinalsSummary.from_json(self.finals)

    def openings(self) -> str:
        """Say how often the test was opened, and what is known of other tests of its rows."""
        from regsearch.data import Opened

        return str(Opened(self.test_opened, **self.test_shared))


def _setting(trial: JsonMapping) -> JsonObject:
    """The trial's active knobs; one at infinity is off."""
    knobs = trial["params"].items()
    return {"params": {name: value for name, value in knobs if not isinstance(value, float) or math.isfinite(value)}}


def plain(value: object) -> Any:
    """Convert `value` to what JSON can hold: tuples to lists, names to text, a number that is not finite to null."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
