"""Operations whose own lifted form replaces a slow or serial one."""

__all__: list[str] = []
