"""Where the tensors of packs are: the CPU, or a GPU by CUDA."""

from __future__ import annotations

import torch

from regsearch.errors import UserError


def use(name: str) -> torch.device:
    """Make the device of this name the one on which torch makes tensors from now on, in this process.

    On a GPU algorithms are chosen that repeat their bits; products there are of float32, not of TensorFloat-32.
    """
    device = torch.device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.use_deterministic_algorithms(True, warn_only=True)
    # The CPU is what torch takes anyway; named as the default it would pass every operation through Python once more.
    torch.set_default_device(None if device.type == "cpu" else device)
    return device


def free_on(device: torch.device) -> int | None:
    """Measure most of the bytes that are free on a GPU; None on the CPU, where its processes share."""
    return int(0.8 * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else None


def devices(name: str) -> list[str]:
    """List the devices that a study asks for by this name: every GPU for `cuda`, else the one that it names."""
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] if name == "cuda" else [name]


def refuse_missing(name: str) -> None:
    """Refuse a device that this machine lacks.

    Raises:
        UserError: says what there is.
    """
    if name == "cpu":
        return
    known = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if name not in known and not (name == "cuda" and len(known) > 1):
        why = "" if torch.version.cuda else "; this torch is built for the CPU alone"
        raise UserError(
            "this machine has no such device",
            key="search.device",
            value=name,
            allowed=f"there {'is' if len(known) == 1 else 'are'} {', '.join(known)}{why}",
        )
