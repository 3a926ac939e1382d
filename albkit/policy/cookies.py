"""The cookies of one name among those of a request, and the lines that set one."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ("MOST_TRIED", "cookie_values", "sets_cookie")

MOST_TRIED = 8
"""Cookies of one name that are looked at. A browser sends two, of two paths or domains; somebody else may send thousands."""

_SET_COOKIE = b"set-cookie:"
_BLANKS = b" \t"
_SEMICOLON = ord(";")
_PLACE = len(_SET_COOKIE)


def cookie_values(cookies: bytes, name: bytes) -> list[bytes]:
    """The values of all cookies with exactly this name (given with its `=`) that hold anything, in their order, up to a bound."""
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
