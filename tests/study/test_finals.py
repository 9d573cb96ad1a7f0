"""Finals in full: candidates, other cuts, the refit, what the store and the ledger hold, and finals held again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from regsearch.cli.printing import answer_notes
from regsearch.data import Manifest, openings
from regsearch.data.sealing import _cut
from regsearch.errors import UserError
from regsearch.study.study import Study
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import RunEnd, RunStart
from regsearch.workspace.folder import write_record
from tests.made_store import made_store

STUDY = """
name: small
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: {name: mlp, hidden: [16]}
train: {epochs: 4, batch_size: 32, learning_rate: 5.0e-3}
space: {choose: one, from: [l2, weight_decay, dropout], early_stopping: {patience: 2}}
search: {trials: 12, parallel: 8, width: 8, workers: 1, pruner: none, sampler: random}
finalize: {top: 3, seeds: 2, splits: 2, refit: true}
"""


def study(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = STUDY) -> Study:
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(folder / "mlruns")))
    (folder / "small.yaml").write_text(text)
    return Study.from_file(folder / "small.yaml")


def runs_of(study: Study, kind: str) -> dict[int, Any]:
    client = MlflowClient(study.uri)
    experiment = client.get_experiment_by_name(study.config.name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`regsearch.kind` = '{kind}'")
    return {int(run.data.tags.get("regsearch.trial", 0)): run for run in found}


@pytest.mark.slow
def test_finals_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study(tmp_path, monkeypatch)
    answer = made.run()
    assert answer.finals is not None and answer.test_opened == 1 and not answer.finals["missing"]
    kept = json.loads((made.folder / "finals" / "summary.json").read_text())
    roles = [other["role"] for other in kept["others"]]
    assert "default" in roles and kept["splits"] == 2
    assert all(other["p_adjusted"] >= other["p"] for other in kept["others"])
    default = next(other for other in kept["others"] if other["role"] == "default")
    assert default["number"] is None
    setting = {"dropout.p": 0.5, "weight_decay.strength": 0.01, "early_stopping.patience": 2.0}
    assert default["params"] == setting

    finals = runs_of(made, "final")
    role = {number: run.data.tags["regsearch.role"] for number, run in finals.items()}
    counts = Counter(role.values())
    assert counts.pop("refit") == 1
    assert set(counts.values()) == {4}, "two seeds on two cuts of each candidate"
    assert "winner" in counts
    every = {each for run in finals.values() for each in run.data.tags["regsearch.roles"].split(",")}
    assert every == {"winner", "baseline", "single", "default", "runner_up", "refit"}
    _winner_is_the_best_on_validation(made, finals, role)
    _every_final_has_its_test(finals, role, kept)
    parent = runs_of(made, "study")[0]
    manifest = Manifest.load(made.folder / "data")
    assert parent.data.tags["regsearch.test_digest"] == manifest.test_digest
    assert parent.data.tags["regsearch.claim"] == str(answer.finals["claim"]).lower()
    assert "Test opened once." in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["difference"] == kept["contrast"]["difference"]
    assert parent.data.metrics["test_balanced_accuracy"] == kept["winner"]["test_metric"]["value"]
    _refit_has_no_gap_and_is_the_champion(made, finals, role)
    assert not (made.folder / "splits").exists()


@pytest.mark.sweep
def test_finals_held_again_are_another_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same finals are no new decision and no new record; others open the test again, and old ones keep theirs."""
    made = study(tmp_path, monkeypatch)
    answer, outbox = made.run(), made.folder / "outbox.jsonl"
    before, finals = _told(outbox), runs_of(made, "final")
    again = made.finalize()
    assert again.test_opened == 1 and again.finals == answer.finals and _told(outbox) == before
    other = Study.open("small").finalize(top=1, splits=1, refit=False)
    assert other.test_opened == 2
    assert len(openings(made.spec.folder.root / "ledger", Manifest.load(made.folder / "data").test_digest)) == 3
    now = runs_of(made, "final")
    assert set(now) == set(finals), "every one of the second finals was one of the first"
    assert all(now[number].data.metrics == finals[number].data.metrics for number in finals)
    assert "earlier" in {run.data.tags["regsearch.role"] for run in now.values()}
    assert Study.open("small").config.finalize.model_dump() == {"top": 1, "seeds": 2, "splits": 1, "refit": False}
    version = MlflowClient(made.uri).get_model_version_by_alias("small", "champion")
    assert "regsearch.refit" not in version.tags
    assert Study.open("small").show().test_opened == 2
    assert any("test opened 2 times" in line for line in answer_notes(Study.open("small").resume()))


def _told(outbox: Path) -> list[bytes]:
    return [line for line in outbox.read_bytes().splitlines() if b'"type":"artifact"' not in line]


def _winner_is_the_best_on_validation(made: Study, finals: dict[int, Any], role: dict[int, str]) -> None:
    """By the mean over seeds and cuts of the loss at the epoch whose weights were kept, from the store's curves."""
    client = MlflowClient(made.uri)
    losses: dict[tuple[str, str], list[float]] = {}
    for number, run in finals.items():
        if role[number] not in ("refit", "default"):
            curve = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "val_loss")}
            epoch = int(run.data.tags.get("regsearch.restored_epoch", max(curve)))
            losses.setdefault((role[number], run.data.params["candidate"]), []).append(curve[epoch])
    assert len(losses) >= 2
    assert min(losses, key=lambda key: float(np.mean(losses[key])))[0] == "winner"


def _every_final_has_its_test(finals: dict[int, Any], role: dict[int, str], kept: dict[str, Any]) -> None:
    names = {"test_loss", "test_balanced_accuracy", "optimism"}
    for number, run in finals.items():
        found = names & run.data.metrics.keys()
        wanted = set() if role[number] == "refit" else names - ({"optimism"} if role[number] == "default" else set())
        assert found == wanted, (number, role[number])
    mean = np.mean(
        [run.data.metrics["test_balanced_accuracy"] for number, run in finals.items() if role[number] == "winner"]
    )
    assert mean == pytest.approx(kept["winner"]["test_metric"]["value"], abs=1e-12)


def _refit_has_no_gap_and_is_the_champion(made: Study, finals: dict[int, Any], role: dict[int, str]) -> None:
    (number,) = [number for number, each in role.items() if each == "refit"]
    refit = finals[number]
    assert refit.data.metrics and all(name.startswith("train_") for name in refit.data.metrics)
    assert not [name for name in refit.data.params if name.startswith("early_stopping")]
    version = MlflowClient(made.uri).get_model_version_by_alias("small", "champion")
    assert version.run_id == refit.info.run_id and version.tags["regsearch.refit"] == "true"
    curve = MlflowClient(made.uri).get_metric_history(refit.info.run_id, "train_loss")
    assert len(curve) == int(refit.data.params["epochs"])


PLAIN = STUDY.replace(", splits: 2, refit: true", "").replace("top: 3, ", "")


def test_what_cannot_be_finalized_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"finalize.splits: a split by group cannot be cut anew.*got 2"):
        text = PLAIN.replace("test: 200}", "test: 200, by: {group: g}}").replace("seeds: 2", "seeds: 2, splits: 2")
        study(tmp_path, monkeypatch, text)
    made = study(tmp_path, monkeypatch, PLAIN.replace("seeds: 2", "seeds: 0"))
    for option in ("top", "seeds", "splits"):
        with pytest.raises(UserError, match=rf"^--{option}: cannot be used \(got 0\); allowed are whole numbers"):
            made.finalize(**{option: 0})
    made.folder.mkdir(parents=True)
    _cut(made.config.data, str(tmp_path), made.folder / "data", True)
    write_record(made.folder, made.config, 1)
    before = (made.folder / "study.json").read_bytes()

    def refusal(records: list[RunEnd], **given: int) -> str:
        (made.folder / "outbox.jsonl").unlink(missing_ok=True)
        with Outbox(made.folder / "outbox.jsonl") as outbox:
            for record in records:
                outbox.append(RunStart(record.kind, record.number, "", {}, {}, 1))
                outbox.append(record)
        with pytest.raises(UserError) as refused:
            Study.open("small").finalize(**given)
        return str(refused.value)

    assert "finalize.seeds: the study file skips finals (got 0); say --seeds N" in refusal([])
    assert "no trial has finished (none has ended yet) (got 'small'); `regsearch study resume" in refusal([], seeds=2)
    ended = [RunEnd("trial", 0, "FAIL", "diverged", 1), RunEnd("trial", 1, "PRUNED", None, 1)]
    assert "no trial has finished (2 failed or were pruned)" in refusal(ended, seeds=2)
    ended[1] = RunEnd("trial", 1, "COMPLETE", None, 1)
    assert "the baseline, trial 0, failed" in refusal(ended, seeds=2)
    with made.spec.folder.lock():
        assert "another process works on this study" in refusal(ended, seeds=2)
    assert (made.folder / "study.json").read_bytes() == before
