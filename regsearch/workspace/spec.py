"""Specify a study for whoever works on it: its configuration, its place and its cluster, none of which change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.config import StudyConfig, check_name, study_space
from regsearch.errors import UserError
from regsearch.space import SearchSpace
from regsearch.workspace.folder import StudyFolder, home, study_names

if TYPE_CHECKING:
    from regsearch.data import Manifest


@dataclass(frozen=True)
class StudySpec:
    """Hold what a study is.

    Args:
        config: the study file, read and checked.
        folder: where its documents lie.
        created_ms: when it began, milliseconds since 1970; 0 for one that has not begun.
        ray: the Ray cluster that trains its packs, see `regsearch.executors.ray.RayExecutor`; None for this machine.
    """

    config: StudyConfig
    folder: StudyFolder
    created_ms: int = 0
    ray: str | None = None

    @classmethod
    def of(cls, config: StudyConfig, created_ms: int | None = None, ray: str | None = None) -> StudySpec:
        """Specify the study of this configuration in the folder of all state, see `home`."""
        on = ray or ("local" if config.search.engine == "ray_tune" else None)
        return cls(config, StudyFolder(home(), config.name), created_ms or 0, on)

    @classmethod
    def open(cls, name: str, ray: str | None = None) -> StudySpec:
        """Specify the study that was started under `name`.

        Raises:
            UserError: there is none.
        """
        check_name(name)
        folder = StudyFolder(home(), name)
        if not folder.exists():
            known = ", ".join(study_names(folder.root)) or "none"
            raise UserError("no such study", key="NAME", value=name, allowed=f"there are: {known}")
        record = folder.read()
        return cls.of(record.config, record.created_ms, ray)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.config.name

    @property
    def uri(self) -> str:
        """The address of the MLflow store that has the study's runs."""
        from regsearch.tracking.mlflow.store import tracking_uri

        return tracking_uri(self.config.tracking.uri, self.folder.root)

    @property
    def event_files(self) -> Path | None:
        """The folder of the study's TensorBoard files; None where it writes none."""
        place = self.config.tracking.tensorboard
        return None if place is None else Path(place) / self.name

    @cached_property
    def space(self) -> SearchSpace:
        """The settings this study may try; a strength `per: layer` is one range here."""
        from regsearch.regularizers import knobs

        return study_space(self.config, knobs())

    def space_over(self, layers: Mapping[str, tuple[str, ...]]) -> SearchSpace:
        """Give the space that trials are drawn from, with a number for each layer where the study asks for that.

        Args:
            layers: the names of the model's layers, for each such knob by its flat name.
        """
        return self.space.over(layers)

    def drawn_space(self, manifest: Manifest) -> SearchSpace:
        """Give the space that trials are drawn from, over the layers of the study's model."""
        if not self.space.per_layer():
            return self.space
        from regsearch.core.build import build_program

        return self.space_over(build_program(self.config, manifest, self.space).layers)

    def with_config(self, config: StudyConfig) -> StudySpec:
        """Give this study with another configuration."""
        return replace(self, config=config)
