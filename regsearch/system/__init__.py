"""Ask the operating system: files written whole, locks, the guard of sealed rows, addresses, processes."""

__all__: list[str] = []
