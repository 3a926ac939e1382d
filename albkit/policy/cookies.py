"""Finds cookies by name in requests, and the lines of responses that set one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ("MOST_TRIED", "cookie_values", "sets_cookie")

MOST_TRIED = 8
"""Cookies of one name that are read. A browser may send two, for two paths or domains; a hostile client may send thousands."""

_SET_COOKIE = b"set-cookie:"
_BLANKS = b" \t"
_SEMICOLON = ord(";")
_PLACE = len(_SET_COOKIE)


def cookie_values(cookies: bytes, name: bytes) -> list[bytes]:
    """Return the non-empty values of the first cookies with exactly this name (given with its `=`), at most `MOST_TRIED`."""
    values: list[bytes] = []
    start = cookies.find(name)
    while start >= 0:
        behind = start + len(name)
        if start == 0 or cookies[start - 2 : start] == b"; " or _begins_pair(cookies, start):
            end = cookies.find(b";", behind)
            value = (cookies[behind:end] if end >= 0 else cookies[behind:]).rstrip()
            if value:
                values.append(value)
                if len(values) == MOST_TRIED:
                    break
            if end < 0:
                break
            behind = end
        start = cookies.find(name, behind)
    return values


def _begins_pair(cookies: bytes, place: int) -> bool:
    """Return whether only blanks are between this place and the separator before it."""
    place -= 1
    while place > 0 and cookies[place] in _BLANKS:
        place -= 1
    return cookies[place] == _SEMICOLON


def sets_cookie(lines: Sequence[bytes], name: bytes) -> bool:
    """Return whether one of the lines of a response sets the cookie with this name (given with its `=`)."""
    for line in lines:
        if line[:1] in b"Ss" and line[:_PLACE].lower() == _SET_COOKIE and line[_PLACE:].lstrip(b" \t").startswith(name):
            return True
    return False
