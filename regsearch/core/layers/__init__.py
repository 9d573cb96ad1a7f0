"""Operations whose own lifted form replaces a slow or serial one."""
