"""Serve the command `regsearch`: one file for each of the longer commands, and what all of them share."""

__all__: list[str] = []
