"""TensorBoard's event files, written from the log."""

__all__: list[str] = []
