"""One cookie among those of a request, and the lines that set one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ("cookie_value", "sets_cookie")

_SET_COOKIE = b"set-cookie:"
_BLANKS = b" \t"
_SEMICOLON = ord(";")
_PLACE = len(_SET_COOKIE)


def cookie_value(cookies: bytes, name: bytes) -> bytes:
    """The value of the first cookie with exactly this name (given with its `=`), empty when there is none."""
    start = cookies.find(name)
    while start > 0 and not _begins_pair(cookies, start):
        start = cookies.find(name, start + 1)
    if start < 0:
        return b""
    start += len(name)
    end = cookies.find(b";", start)
    return cookies[start:end].rstrip() if end >= 0 else cookies[start:].rstrip()


def _begins_pair(cookies: bytes, place: int) -> bool:
    """Whether only blanks stand between this place and the separator before it."""
    place -= 1
    while place > 0 and cookies[place] in _BLANKS:
        place -= 1
    return cookies[place] == _SEMICOLON


def sets_cookie(lines: Sequence[bytes], name: bytes) -> bool:
    """Whether one of a response's lines sets the cookie with this name (given with its `=`)."""
    for line in lines:
        if line[:1] in b"Ss" and line[:_PLACE].lower() == _SET_COOKIE and line[_PLACE:].lstrip(b" \t").startswith(name):
            return True
    return False
