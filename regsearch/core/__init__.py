"""The training core: many trials as one tensor program."""

__all__: list[str] = []
