"""The machine: files, locks, addresses, memory."""

__all__: list[str] = []
