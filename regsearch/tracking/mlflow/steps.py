"""Deliver the steps of a batch: changes of runs, files, models; give up on what the store refuses for what it holds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.tracking.log.cursor import Status
from regsearch.tracking.log.records import Artifact, Model
from regsearch.tracking.mlflow.changes import Change, RunKey, Step
from regsearch.tracking.mlflow.delivered import latest_models
from regsearch.tracking.mlflow.failures import is_permanent, one_line

if TYPE_CHECKING:
    from regsearch.tracking.mlflow.delivery import ClientLane
    from regsearch.tracking.mlflow.delivery_sqlite import BulkLane

TRIES_BEFORE_REFUSAL = 3


@dataclass
class Refusals:
    """Count what the store refused.

    Args:
        tries: how often each key was refused.
        refused: the keys that are given up.
    """

    tries: dict[RunKey, int] = field(default_factory=dict)
    refused: set[RunKey] = field(default_factory=set)


class StepDelivery:
    """Deliver steps to an open store.

    Args:
        study: the lane of MLflow's client.
        lane: the quickest lane that the store allows, for changes.
        status: is told what was given up.
        suspect: is asked before content is blamed for an error, and raises where the store lost something.
    """

    def __init__(
        self,
        outbox: Path,
        study: ClientLane,
        lane: ClientLane | BulkLane,
        status: Status,
        refusals: Refusals,
        suspect: Callable[[Exception], None],
    ) -> None:
        self._outbox, self._study, self._lane, self._status = outbox, study, lane, status
        self._refusals, self._suspect = refusals, suspect

    def deliver(self, step: Step) -> None:
        """Deliver one step; of changes those that are delivered are taken out of it.

        Raises:
            Exception: the store did not take it, and may do so later.
        """
        if isinstance(step, list):
            with self._status.clock("delivery"):
                step[:] = [change for change in step if change.key not in self._refusals.refused]
                self._deliver_changes(step)
            return
        key = (f"{step.type} of {step.kind}", step.number)
        if key in self._refusals.refused:
            return
        if isinstance(step, Artifact) and not Path(step.path).exists():
            logging.warning("artifact %s is gone before it was delivered", step.path)
            self._status.refused += 1
            return
        if isinstance(step, Model) and _key(latest_models(self._outbox)[step.folder]) != _key(step):
            logging.warning("the model of %s %s is gone: a later one took its folder", step.kind, step.number)
            return
        with self._status.clock("models"):
            try:
                self._deliver_file(step)
            except Exception as error:
                self._judge(key, error)

    def _deliver_file(self, step: Artifact | Model) -> None:
        if isinstance(step, Artifact):
            self._study.artifact(step)
        else:
            from regsearch.tracking.mlflow.champion import deliver_model

            deliver_model(self._study, step)

    def _deliver_changes(self, changes: list[Change]) -> None:
        try:
            self._lane.apply(changes)
        except Exception as error:
            if not is_permanent(error):
                raise
            self._suspect(error)
            logging.warning("a batch was refused, its changes are tried one by one", exc_info=True)
            self._study.reconcile()
            while changes:
                try:
                    self._study.apply(changes[:1])
                except Exception as alone:
                    self._judge(changes[0].key, alone)
                del changes[0]

    def _judge(self, key: RunKey, error: Exception) -> None:
        """Give up on what the store refuses again and again for its content; else let the round be tried again."""
        self._refusals.tries[key] = self._refusals.tries.get(key, 0) + 1
        if not is_permanent(error) or self._refusals.tries[key] < TRIES_BEFORE_REFUSAL:
            raise error
        self._suspect(error)
        logging.error("the store refuses %s %s: %s", *key, one_line(error), exc_info=error)
        self._refusals.refused.add(key)
        self._status.refused += 1


def _key(model: Model) -> RunKey:
    return (model.kind, model.number)
