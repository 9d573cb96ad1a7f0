"""Where packs train: worker processes of this machine, or of a Ray cluster."""

__all__: list[str] = []
