"""The longer commands of `regsearch study`, one file each, and what all commands share."""

__all__: list[str] = []
