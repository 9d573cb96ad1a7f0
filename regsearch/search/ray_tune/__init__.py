"""Ray Tune as the search layer; the only importers of `ray.tune`."""

import os

# Read by ray when it is imported: no word about this use leaves the cluster.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from regsearch.search.ray_tune.proxy import Asked
from regsearch.search.ray_tune.session import TuneSearch, check

__all__ = ["Asked", "TuneSearch", "check"]
