"""What has to be true before finals are held."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.config import StudyConfig, refuse_splits
from regsearch.data import Manifest, verify_digest
from regsearch.errors import UserError
from regsearch.stores import keep_store, write_study
from regsearch.study import Study
from regsearch.tracking.outbox import read_from
from regsearch.tracking.protocol import RunEnd

if TYPE_CHECKING:
    from regsearch.display import Progress


def asked(
    config: StudyConfig,
    *,
    top: int | None = None,
    seeds: int | None = None,
    splits: int | None = None,
    refit: bool | None = None,
) -> StudyConfig:
    """The study with these in place of what its `finalize` says.

    Raises:
        UserError: one of them is below 1.
    """
    numbers = {"top": top, "seeds": seeds, "splits": splits}
    given = {name: value for name, value in numbers.items() if value is not None}
    for name, value in given.items():
        if value < 1:
            raise UserError(
                "cannot be used", key=f"--{name}", value=value, allowed="allowed are whole numbers from 1 up"
            )
    finalize = config.finalize.model_copy(update={**given, **({} if refit is None else {"refit": refit})})
    return config.model_copy(update={"finalize": finalize})


def make_ready(study: Study, config: StudyConfig, progress: Progress | None) -> None:
    """Let a study that is locked hold finals as `config` says: keep that, and forget the answer that it has.

    Raises:
        UserError: the data changed, or there would be nothing to compare, or nothing to test it on: finals are switched
            off, there are no test rows, no trial or not the baseline has finished, or the MLflow store could not take
            what they show.
    """
    _refuse_unready(config, study.folder)
    verify_digest(config.data, config.folder, study.folder / "data")
    keep_store(study.folder, study.uri, progress, needed=True)
    write_study(study.folder, config, study.created_ms or 0)
    (study.folder / "answer.json").unlink(missing_ok=True)


def _refuse_unready(config: StudyConfig, folder: Path) -> None:
    finalize, manifest = config.finalize, Manifest.load(folder / "data")
    if not finalize.seeds:
        allowed = "say --seeds N, like --seeds 10"
        raise UserError("the study file skips finals", key="finalize.seeds", value=0, allowed=allowed)
    if not manifest.sizes["test"]:
        what, allowed = "the split has no test rows", "start a study with test rows: data.split.test above 0"
        raise UserError(what, key="data.split.test", value=config.data.split.test, allowed=allowed)
    if finalize.splits > 1:
        refuse_splits(finalize, config.data, "--splits")
    outbox = folder / "outbox.jsonl"
    ends = [record for record, _ in read_from(outbox)] if outbox.exists() else []
    states = {record.number: record.status for record in ends if isinstance(record, RunEnd) and record.kind == "trial"}
    resume = f"`regsearch study resume {config.name}` goes on with the search"
    if "COMPLETE" not in states.values():
        why = f"{len(states)} failed or were pruned" if states else "none has ended yet"
        raise UserError(f"no trial has finished ({why})", key="NAME", value=config.name, allowed=resume)
    if states.get(0, "COMPLETE") != "COMPLETE":
        what = "the baseline, trial 0, failed: finals have nothing to compare with"
        raise UserError(what, key="NAME", value=config.name, allowed="mend the model or its training; start --replace")
