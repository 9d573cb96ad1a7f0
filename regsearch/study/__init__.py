"""Run a study from its file to its answer: check, create, search, conclude, deliver, resume, replay."""

__all__: list[str] = []
