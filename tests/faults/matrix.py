"""Every fault, by family."""

from __future__ import annotations

from tests.faults import disks, drivers, stores, workers
from tests.faults.campaign import Strike

FAULTS: tuple[Strike, ...] = (*drivers.FAULTS, *workers.FAULTS, *disks.FAULTS, *stores.FAULTS)
