"""MLflow: its store, the writer that fills it and all that is read from it."""

__all__: list[str] = []
