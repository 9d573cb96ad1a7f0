"""A study on disk: its folder, what it is, how far it is and its answer."""

__all__: list[str] = []
