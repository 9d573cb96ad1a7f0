"""Addresses of servers and databases: their secrets come from the environment, and none is ever shown.

`${NAME}` in an address stands for the environment's NAME, so that a study file holds no password.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote, urlsplit

from regsearch.errors import UserError, without_passwords

_NAME = re.compile(r"\$\{(\w+)\}")


def expand(address: str, key: str) -> str:
    """Fill in the environment's values for `${NAME}` in an address; in its user part they are percent-encoded.

    Args:
        key: where the address stands, for the refusal.

    Raises:
        UserError: the environment has no such name.
    """
    before, mark, after = address.partition("://")
    user, at, place = after.rpartition("@")

    def value(match: re.Match[str]) -> str:
        known = os.environ.get(match[1])
        if known is None:
            allowed = f"set the environment variable {match[1]}"
            raise UserError(f"{match[1]} is not in the environment", key=key, value=address, allowed=allowed)
        return known

    user = _NAME.sub(lambda match: quote(value(match), safe=""), user)
    return _NAME.sub(value, before) + mark + user + at + _NAME.sub(value, place)


def password(address: str) -> str | None:
    """Find the password that an address holds itself, decoded; None where it has none or only names it."""
    user, _, _ = address.partition("://")[2].rpartition("@")
    text = user.partition(":")[2]
    if not text:
        match = re.search(r"[?&](?:password|sslpassword)=([^&]*)", address)
        text = match[1] if match else ""
    return unquote(text) if _NAME.sub("", text) else None


def scrub(text: str, address: str) -> str:
    """Mask the passwords of addresses in what another library says."""
    text = without_passwords(text)
    secret = password(address)
    for each in {secret, quote(secret, safe="")} if secret else ():
        text = text.replace(each, "***")
    return text


def host(address: str) -> str:
    """Host and port of an address."""
    return urlsplit(address).netloc.rpartition("@")[2]


__all__ = ["expand", "host", "password", "scrub"]
