"""Hold the finals of a search: who enters, on which seeds, who wins, and what the sealed test says."""

__all__: list[str] = []
