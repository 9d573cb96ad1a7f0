"""The finals: who enters them, their training, the sealed test and what it decides."""

__all__: list[str] = []
