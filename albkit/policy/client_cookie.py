"""A cookie of the load balancer that names one of several things: a target, or a target group (docs/alb.md 5.3).

An entry is eight hexadecimal digits of expiry and a digest of what it names. It needs no key: all load balancers with the same
configuration compute the same digests, and a client that forges one can only choose its target. With secrets, the value is encrypted and
authenticated as well.

A value contains one entry, followed by entries of other groups: all groups of a host share the name of the cookie, and a client that moves
between them keeps its session with each.
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
"""Seconds. ALB's cookies always expire after 7 days; the duration of the session is in the value."""
_EXPIRY_DIGITS = 8
_DIGEST_BYTES = 16
_ENTRY = _EXPIRY_DIGITS + 2 * _DIGEST_BYTES
_MOST_ENTRIES = 4
"""Entries in a value, so that cookies stay short. Further ones are dropped: those of the groups that answered the client longest ago."""
_DIGITS = b"0123456789abcdef"

Named = TypeVar("Named")


class ClientCookie(Generic[Named]):
    """Reads values that name things from requests, and writes them into `Set-Cookie` lines.

    Args:
        names: The cookies that can contain a value, each with its `=`, in order of precedence.
        write: Returns the lines that set a value, without a line end after the last. Its arguments are the value and the current second.
        keys: The things that can be named, each with a text that identifies it.
        duration: Seconds that a value is accepted.
        secrets: Secrets to encrypt values with; none for values without a key.
        entropy: Returns unpredictable bytes.
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
        """Add a thing that can be named."""
        digest = self._digests[named] = _digest(key)
        self._named[digest] = named

    def forget(self, named: Named) -> None:
        """Remove a thing."""
        digest = self._digests.pop(named, None)
        self._lines.pop(named, None)
        if digest is not None and self._named.get(digest) is named:
            del self._named[digest]

    def find(self, cookies: bytes, now: float) -> Named | None:
        """Return what the first valid, unexpired cookie names; `None` if there is none. The request is then balanced normally."""
        for name in self._names:
            for brought in cookie_values(cookies, name):
                value = self._opened(brought)
                for entry in (value,) if len(value) <= _ENTRY else _entries(value):
                    named = self._named.get(entry[_EXPIRY_DIGITS:])
                    if named is not None and _expiry(entry) > now:
                        return named
        return None

    def holds(self, cookies: bytes, now: float) -> bool:
        """Return whether the request has an unexpired entry, even if what it names has been removed."""
        brought = (value for name in self._names for value in cookie_values(cookies, name))
        return any(_expiry(entry) > now for value in brought for entry in _entries(self._opened(value)))

    def came(self, cookies: bytes) -> bool:
        """Return whether the request has such a cookie, with any value."""
        return any(cookie_values(cookies, name) for name in self._names)

    def others(self, cookies: bytes, now: float) -> bytes:
        """Return the unexpired entries of other groups in the cookies of a request."""
        for name in self._names:
            values = [value for value in map(self._opened, cookie_values(cookies, name)) if value]
            if len(values) == 1 and len(values[0]) == _ENTRY and values[0][_EXPIRY_DIGITS:] in self._named:
                # The usual case: a single entry, which is ours.
                return b""
            if values:
                kept: dict[bytes, bytes] = {}
                for entry in (entry for value in values for entry in _entries(value)):
                    if self._is_others(entry) and _expiry(entry) > now:
                        digest = entry[_EXPIRY_DIGITS:]
                        # Entries begin with the expiry, so the greatest one expires last.
                        kept[digest] = max(entry, kept.get(digest, b""))
                return b"".join(islice(kept.values(), _MOST_ENTRIES - 1))
        return b""

    def _is_others(self, entry: bytes) -> bool:
        """Return whether an entry is another group's, and consists of digits only, so that it is safe to write into a header line."""
        return entry[_EXPIRY_DIGITS:] not in self._named and not entry.translate(None, _DIGITS)

    def with_others(self, others: bytes, now: float) -> bytes:
        """Return the `Set-Cookie` lines for a response that adds no entry and keeps those of other groups."""
        return self._write(self._sealed(others), int(now))

    def lines(self, named: Named, now: float, cookies: bytes = b"") -> bytes:
        """Return the `Set-Cookie` lines, without a line end after the last.

        Without entries of other groups, all responses of a second that name the same thing share their lines.

        Args:
            named: What to name.
            now: The current time.
            cookies: The cookies of the request.
        """
        digest = self._digests.get(named)
        if digest is None:
            # It was removed while it answered: no session can be bound to it.
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
        """Return the entries in the value of one cookie; empty if the value is not one of ours."""
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
    # int() alone would also accept signs, spaces and underscores.
    return int(digits, 16) if not digits.translate(None, _DIGITS) else 0
