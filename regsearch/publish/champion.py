"""Package the models of a study: its champion, and the others that `tracking.models` asks to keep."""

from __future__ import annotations

import io
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regsearch.data import Manifest
from regsearch.driver.executor import StudyExecutors
from regsearch.driver.retrain import Weights, trained_again
from regsearch.finals.hold import FinalsResult
from regsearch.system.streams import hushed
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Model, RunKind
from regsearch.tracking.mlflow.package import seal
from regsearch.trial import Trial
from regsearch.workspace.spec import StudySpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from regsearch.core.program import Program

CHAMPION = "champion"


class Packager:
    """Package trained models and hand them to the tracker.

    Args:
        program: of the study.
        executors: train again what is kept of the search. A model that trains one trial at a time mostly cannot be
            exported for the reason that it cannot be packed, which is then said, not raised.
        say: is told in a line what a user should know of.
    """

    def __init__(
        self,
        spec: StudySpec,
        program: Program,
        executors: StudyExecutors,
        outbox: Outbox,
        say: Callable[[str], None],
    ) -> None:
        self._spec, self._program, self._executors, self._outbox, self._say = spec, program, executors, outbox, say

    def register_finals(self, finals: FinalsResult) -> None:
        """Register the champion of the finals, and log the models of all finals where the study asks for that."""
        champion = finals.champion
        tags = {"regsearch.trial": str(finals.trial.number), "regsearch.claim": str(finals.summary.claim).lower()}
        tags |= {"regsearch.refit": "true"} if finals.refit else {}
        self._register("final", champion.trial, champion.weights or {}, tags)
        if self._spec.config.tracking.models == "champion":
            return
        for run in (run for contender in finals.contenders for run in contender.runs):
            if run.weights is not None and not self._log("final", run.trial, run.weights):
                return

    def register_unfinalized(self, best: Trial) -> None:
        """Register the best trial of a search without finals, of which nobody knows how good it is on unseen rows."""
        tags = {"regsearch.trial": str(best.number), "regsearch.unfinalized": "true"}
        for trial, weights in self._trained_again([best]):
            self._register("trial", trial, weights, tags)

    def log_trials(self, trials: Iterable[Trial]) -> None:
        """Log the models of complete trials. The search keeps no weights, so they are trained once more, to the bit."""
        for trial, weights in self._trained_again(trials):
            if not self._log("trial", trial, weights):
                return

    def _trained_again(self, trials: Iterable[Trial]) -> list[tuple[Trial, Weights]]:
        return trained_again(trials, self._executors.own(), self._spec.config.train.epochs)

    def _register(self, kind: RunKind, trial: Trial, weights: Weights, tags: Mapping[str, str]) -> None:
        out = self._spec.folder.finals / CHAMPION
        if self._package(out, trial.params, weights, "no champion is registered"):
            self._outbox.append(Model(str(out), self._spec.name, CHAMPION, kind, trial.number, tags))

    def _log(self, kind: RunKind, trial: Trial, weights: Weights) -> bool:
        """Log a trained model with its run; False where it cannot be packaged."""
        out = self._spec.folder.finals / "models" / f"{kind}-{trial.number:03d}"
        packaged = self._package(out, trial.params, weights, "no other models are kept")
        if packaged:
            self._outbox.append(Model(str(out), "", "", kind, trial.number))
        return packaged

    def _package(self, out: Path, params: Mapping[str, float | str], weights: Weights, otherwise: str) -> bool:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            package_model(self._program, self._spec.folder.data, weights, params, out)
        except Exception as error:
            if self._executors.serial is None:
                raise
            self._say(f"{otherwise}, torch cannot export the model: {type(error).__name__}")
            return False
        return True


def package_model(program: Program, data: Path, weights: Weights, params: Mapping[str, float | str], out: Path) -> None:
    """Write the folder that becomes a logged model: program, manifest, preprocessing code, input example, sums.

    `model.pt2` maps rows [N, F...], of the manifest's dtype, to outputs [N, C...] and needs torch alone.
    """
    import torch

    from regsearch.core.trained_module import trained_module
    from regsearch.data import columns

    tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    module = trained_module(program, tensors, params)
    manifest = Manifest.load(data)
    example = torch.zeros((4, *manifest.inputs), dtype=getattr(torch, manifest.dtype))
    exported = export_rows(module, example)
    aside = out.with_name(out.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    # Through memory: of a full disk torch's own writing says no more than that it failed.
    program_file = io.BytesIO()
    torch.export.save(exported, program_file)
    (aside / "model.pt2").write_bytes(program_file.getvalue())
    shutil.copy(data / "manifest.json", aside / "manifest.json")
    shutil.copy(data / "example.json", aside / "example.json")
    shutil.copy(str(columns.__file__), aside / "columns.py")
    seal(aside)
    shutil.rmtree(out, ignore_errors=True)
    os.replace(aside, out)


def export_rows(module: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """Export a module as a program of its own for any number of rows from two up.

    Args:
        example: the rows [N, F...] that it is traced on.
    """
    import torch

    with warnings.catch_warnings():
        # Recurrent layers list their weights anew in each call, which the exporter takes for forgotten buffers.
        warnings.filterwarnings("ignore", message=r".*_flat_weights.*were assigned during export", category=UserWarning)
        batch = torch.export.Dim("batch", min=2)
        with hushed():  # of a model that it cannot export it prints all operations
            return torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
