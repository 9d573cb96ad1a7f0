"""A study from its file to its answer."""

__all__: list[str] = []
