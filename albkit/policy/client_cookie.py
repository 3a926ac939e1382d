"""A cookie of the load balancer's own that names one of several things: a target, or a target group (docs/alb.md 5.3).

An entry is eight hexadecimal digits of expiry and a digest of what it names. It needs no key: any instance with the same configuration
computes the same digests, and whoever forges one only chooses a target. With secrets a value is sealed on top of that.

A value holds one entry, and those of other groups behind it: all groups of a host share the cookie's name, and a client that goes from one
to another keeps its session with each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from math import ceil
from typing import Generic, TypeVar

from albkit.policy.cookies import cookie_values
from albkit.policy.seal import Seal

__all__ = ("LIFETIME", "ClientCookie")

LIFETIME = 7 * 86400
"""Seconds: ALB's cookies always live 7 days; the session's own duration is inside the value."""
_EXPIRY_DIGITS = 8
_DIGEST_BYTES = 16
_ENTRY = _EXPIRY_DIGITS + 2 * _DIGEST_BYTES
_MOST_ENTRIES = 4
_DIGITS = b"0123456789abcdef"

Named = TypeVar("Named")


class ClientCookie(Generic[Named]):
    """Values that name things, read from requests and written into `Set-Cookie` lines.

    Args:
        names: The cookies that may hold a value, the one that takes precedence first, each with its `=`.
        write: Makes the lines for a value and the second in which it is set, without a line end behind the last.
        keys: What can be named, and the text that tells it from all others.
        duration: Seconds that a value is honoured.
        secrets: What values are sealed with; none for values that need no key.
        entropy: Gives unpredictable bytes.
    """

    __slots__ = ("_digests", "_duration", "_lines", "_named", "_names", "_seal", "_second", "_write")

    def __init__(
        self,
        names: Sequence[bytes],
        write: Callable[[bytes, int], bytes],
        keys: Mapping[Named, str],
        duration: float,
        secrets: Sequence[bytes],
        entropy: Callable[[int], bytes],
    ) -> None:
        self._names = tuple(names)
        self._write = write
        self._duration = ceil(duration)
        self._seal = Seal(secrets, [_ENTRY * count for count in range(1, _MOST_ENTRIES + 1)], entropy) if secrets else None
        self._digests = {named: _digest(key) for named, key in keys.items()}
        self._named = {digest: named for named, digest in self._digests.items()}
        self._second = -1
        self._lines: dict[Named, bytes] = {}

    def name(self, named: Named, key: str) -> None:
        """One more thing that can be named."""
        digest = self._digests[named] = _digest(key)
        self._named[digest] = named

    def forget(self, named: Named) -> None:
        """A thing that is not there any more."""
        digest = self._digests.pop(named, None)
        self._lines.pop(named, None)
        if digest is not None and self._named.get(digest) is named:
            del self._named[digest]

    def find(self, cookies: bytes, now: float) -> Named | None:
        """What the first valid, unexpired cookie names; `None` where there is none, which then is a fresh pick."""
        for name in self._names:
            for brought in cookie_values(cookies, name):
                value = self._opened(brought)
                for entry in (value,) if len(value) <= _ENTRY else _entries(value):
                    named = self._named.get(entry[_EXPIRY_DIGITS:])
                    if named is not None and _expiry(entry) > now:
                        return named
        return None

    def holds(self, cookies: bytes, now: float) -> bool:
        """Whether an unexpired entry came, be what it names still there or not."""
        brought = (value for name in self._names for value in cookie_values(cookies, name))
        return any(_expiry(entry) > now for value in brought for entry in _entries(self._opened(value)))

    def came(self, cookies: bytes) -> bool:
        """Whether a request brought such a cookie at all, whatever it holds."""
        return any(cookie_values(cookies, name) for name in self._names)

    def others(self, cookies: bytes, now: float) -> bytes:
        """The entries of other groups that a request brought, as far as they hold still."""
        for name in self._names:
            values = [value for value in map(self._opened, cookie_values(cookies, name)) if value]
            if len(values) == 1 and len(values[0]) == _ENTRY and values[0][_EXPIRY_DIGITS:] in self._named:
                # One entry, and ours: nearly always.
                return b""
            if values:
                kept: dict[bytes, bytes] = {}
                for entry in (entry for value in values for entry in _entries(value)):
                    if self._is_others(entry) and _expiry(entry) > now:
                        digest = entry[_EXPIRY_DIGITS:]
                        kept[digest] = max(entry, kept.get(digest, b""))
                return b"".join(islice(kept.values(), _MOST_ENTRIES - 1))
        return b""

    def _is_others(self, entry: bytes) -> bool:
        """Whether an entry names something elsewhere, and is made of nothing but digits, so that it may be written into a cookie again."""
        return entry[_EXPIRY_DIGITS:] not in self._named and not entry.translate(None, _DIGITS)

    def with_others(self, others: bytes, now: float) -> bytes:
        """The `Set-Cookie` lines for a response that names nothing, and keeps what others have named."""
        return self._write(self._sealed(others), int(now))

    def lines(self, named: Named, now: float, cookies: bytes = b"") -> bytes:
        """The `Set-Cookie` lines, without a line end behind the last; made once per thing and second, unless there are other entries.

        Args:
            named: What to name.
            now: The time.
            cookies: That the request brought.
        """
        digest = self._digests.get(named)
        if digest is None:
            # It has gone while it answered: nobody can be bound to it.
            return b""
        others = self.others(cookies, now) if cookies else b""
        if others:
            return self._write(self._sealed(b"%08x%s%s" % (int(now) + self._duration, digest, others)), int(now))
        second = int(now)
        if second != self._second:
            self._second = second
            self._lines.clear()
        line = self._lines.get(named)
        if line is None:
            value = self._sealed(b"%08x%s" % (second + self._duration, digest))
            line = self._lines[named] = self._write(value, second)
        return line

    def _opened(self, value: bytes) -> bytes:
        """The entries in the value of one cookie; empty where it is none of ours."""
        if self._seal is not None:
            value = self._seal.open(value)
        return value if len(value) % _ENTRY == 0 and len(value) <= _MOST_ENTRIES * _ENTRY else b""

    def _sealed(self, value: bytes) -> bytes:
        return value if self._seal is None else self._seal.close(value)


def _digest(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=_DIGEST_BYTES).hexdigest().encode()


def _entries(value: bytes) -> list[bytes]:
    return [value[start : start + _ENTRY] for start in range(0, len(value), _ENTRY)]


def _expiry(entry: bytes) -> int:
    digits = entry[:_EXPIRY_DIGITS]
    # int() alone would also take signs, blanks and underscores.
    return int(digits, 16) if not digits.translate(None, _DIGITS) else 0
