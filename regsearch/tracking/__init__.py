"""Record a study: one durable log, and the processes that deliver it to MLflow and TensorBoard."""

__all__: list[str] = []
