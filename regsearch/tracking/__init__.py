"""The record of a study: its log, and MLflow and TensorBoard, which are written from it."""

__all__: list[str] = []
