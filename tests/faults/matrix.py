"""Every fault, by family."""

from __future__ import annotations

from tests.faults import disks, drivers, nodes, outages, poisons, stores, workers
from tests.faults.campaign import Strike

_FAMILIES = (drivers, workers, nodes, outages, stores, disks, poisons)
FAULTS: tuple[Strike, ...] = tuple(fault for family in _FAMILIES for fault in family.FAULTS)
