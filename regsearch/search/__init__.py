"""Who draws settings and ends trials: Optuna, and Ray Tune in a folder of its own."""

__all__: list[str] = []
