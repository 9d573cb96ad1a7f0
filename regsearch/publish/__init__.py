"""Publish what a study leaves behind: champion, pictures, importance, descriptions and the report."""

__all__: list[str] = []
