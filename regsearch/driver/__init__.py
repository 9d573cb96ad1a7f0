"""The search of a study: its loop, its decisions, its executor and its end."""

__all__: list[str] = []
