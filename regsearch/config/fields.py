"""The kinds of field that a study file has, each with its check beside the words for its refusal."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from regsearch.config.refusal import Allowed


def as_tuple(value: object) -> object:
    """Convert a list to a tuple (the models are frozen), and leave anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


Count = Annotated[int, Field(ge=1), Allowed("allowed are whole numbers from 1 up")]
Natural = Annotated[int, Field(ge=0), Allowed("allowed are whole numbers from 0 up")]
Seed = Annotated[int, Field(ge=0, lt=2**63), Allowed("allowed are whole numbers from 0 up")]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), Allowed("allowed are numbers above 0")]
Share = Annotated[float, Field(ge=0, lt=1), Allowed("allowed are numbers from 0 to below 1")]
Part = Annotated[float, Field(gt=0, le=1), Allowed("allowed are numbers above 0 to 1")]
Size = Annotated[float, Allowed("allowed are shares from 0 to 1 and whole numbers of rows from 2 up")]
Flag = Annotated[bool, Allowed("allowed are true and false")]
Text = Annotated[str, Field(min_length=1), Allowed("text is needed (a number in quotes is text)")]
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    BeforeValidator(as_tuple),
    Allowed("allowed is a list of whole numbers from 1 up, like [128, 128]"),
]

Options = dict[str, Any]
"""What a study file gives a pruner, a searcher, a scheduler or a model by keyword; each of them knows its own."""


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion ("10" is not 10)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
