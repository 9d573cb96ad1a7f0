"""What a finished study leaves behind: the champion, pictures, notes and the report."""

__all__: list[str] = []
