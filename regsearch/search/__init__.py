"""Propose settings and decide which trials end early, with Optuna or Ray Tune, and remember both durably."""

__all__: list[str] = []
