"""The log that every record of a study goes to first."""

__all__: list[str] = []
