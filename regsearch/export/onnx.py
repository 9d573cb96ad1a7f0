"""The exported program in ONNX form, for runtimes that have no torch; held against torch before it is kept."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.system.files import JsonObject
from regsearch.system.streams import hushed

if TYPE_CHECKING:
    import numpy as np
    import torch

TOLERANCE = 1e-5
"""How far the ONNX form may be from the torch program: |difference| ≤ TOLERANCE · (1 + |output|)."""
_CHECKED_ROWS = (1, 7)


class MissingForm(RuntimeError):
    """There is no ONNX form, and why, in one line."""


def write_onnx(program: Path, out: Path, manifest: JsonObject) -> None:
    """Write the program of `model.pt2`, rows [N, F...] → outputs [N, C...], as ONNX with any number of rows.

    Raises:
        MissingForm: a package is missing, an operation has no ONNX form, or its answers differ from torch's.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter is made of it
    except ModuleNotFoundError as error:
        raise MissingForm(f"no model.onnx: {error.name} is not installed; pip install 'regsearch[onnx]'") from None
    import torch

    exported = torch.export.load(program)
    try:
        with _quietly():
            onnx_program = torch.onnx.export(
                exported,
                dynamo=True,
                input_names=["rows"],
                output_names=["outputs"],
                verbose=False,
                external_data=False,
            )
            if onnx_program is None:
                raise MissingForm("no model.onnx: torch gave none")
            onnx_program.save(out)
    except MissingForm:
        raise
    except Exception as error:  # the exporter's own kinds, one for each of its stages
        out.unlink(missing_ok=True)
        raise MissingForm(f"no model.onnx: {_reason(error)}") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
        apart = max(_apart(session, exported.module(), rows) for rows in _rows(manifest))
    except Exception as error:  # what the runtime cannot load or run, it says in kinds of its own
        out.unlink(missing_ok=True)
        raise MissingForm(f"no model.onnx: the ONNX runtime cannot run it: {_first_line(error)}") from None
    if not apart <= TOLERANCE:
        out.unlink(missing_ok=True)
        raise MissingForm(
            f"no model.onnx: its answers are {apart:.1e} away from torch's, and {TOLERANCE:.0e} is allowed"
        )


def _rows(manifest: JsonObject) -> list[np.ndarray]:
    """Drawn rows to compare on: a single one, and some."""
    import numpy as np

    draw = np.random.default_rng(0)
    shape = tuple(manifest["inputs"])
    if manifest.get("dtype") == "int64":
        most = np.array(manifest.get("vocabulary") or [2])
        return [draw.integers(0, most, size=(count, *shape)) for count in _CHECKED_ROWS]
    return [draw.normal(size=(count, *shape)).astype(np.float32) for count in _CHECKED_ROWS]


def _apart(session: Any, program: torch.nn.Module, rows: np.ndarray) -> float:
    """The largest relative distance of the two answers to `rows` [N, F...]."""
    import numpy as np
    import torch

    (outputs,) = session.run(None, {"rows": rows})
    padded = np.concatenate([rows, rows])  # the program takes two rows or more
    with torch.no_grad():
        wanted = program(torch.from_numpy(padded)).numpy()[: len(rows)]
    if outputs.shape != wanted.shape:
        return float("inf")
    return float((np.abs(outputs - wanted) / (1 + np.abs(wanted))).max())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter talks on every channel there is."""
    with warnings.catch_warnings(), hushed():
        warnings.simplefilter("ignore")
        yield


def _reason(error: BaseException) -> str:
    """The innermost cause: the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"the model has no ONNX form: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
