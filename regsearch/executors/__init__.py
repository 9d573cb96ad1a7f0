"""Train lanes in packs on the workers of this machine or of a Ray cluster; a worker that is lost costs no trial."""

__all__: list[str] = []
