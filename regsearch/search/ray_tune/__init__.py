"""Ray Tune as the search layer; the only importers of `ray.tune`."""

from regsearch.search.ray_tune.proxy import Asked
from regsearch.search.ray_tune.session import TuneSearch, check

__all__ = ["Asked", "TuneSearch", "check"]
