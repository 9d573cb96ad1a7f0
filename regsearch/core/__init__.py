"""Train many trials as one tensor program: the step and its sites, packs and their slots, and `vmap` over trials."""

__all__: list[str] = []
