"""Ray Tune as the search layer; the only importers of `ray.tune`. A proxy imports `proxy` of it and no more."""

__all__: list[str] = []
