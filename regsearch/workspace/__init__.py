"""Specify a study and name the documents in its folder: configuration, answer, status, machine, stores."""

__all__: list[str] = []
