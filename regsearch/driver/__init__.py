"""Drive a search over its trials: ask, hand to the executor, decide over reports, and record every step."""

__all__: list[str] = []
