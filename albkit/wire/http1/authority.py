"""Host and authority to one normal form (docs/alb.md 2.7; RFC 9110 section 7.2)."""

from __future__ import annotations

import ipaddress
import re

from albkit.errors import Failure, FailureKind
from albkit.state.bounded_cache import BoundedCache

__all__ = ("Authorities", "Authority")

_AUTHORITY = re.compile(rb"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::(?P<port>[0-9]{0,5}))?")
_LONGEST = 512
_BARE = frozenset((80, 443))
_OBJECTS = 256
"""Bytes that an authority takes beside its text."""


class Authority:
    """One host as a client named it."""

    __slots__ = ("host", "line")

    def __init__(self, host: str, line: bytes) -> None:
        self.host = host
        """For rules: lower case, without a port and without a dot at its end."""
        self.line = line
        """The Host line that the target gets, where the client's own is not preserved."""


class Authorities:
    """Reads the hosts of one listener's requests; each spelling once, up to a bound.

    Args:
        port: The port that clients connect to. 80 and 443 are never written into a Host; any other is appended where it is missing.
    """

    __slots__ = ("_bare", "_known", "_port")

    def __init__(self, port: int) -> None:
        self._port = port
        self._bare: Authorities | None = None
        """For clients of a proxy on 80 or 443, as nearly all are."""
        self._known: BoundedCache[bytes, Authority] = BoundedCache()

    def seen_at(self, port: int) -> Authorities:
        """The same where clients connect to another port, that of a proxy in front."""
        if port == self._port or {port, self._port} <= _BARE:
            return self
        if port in _BARE:
            if self._bare is None:
                self._bare = Authorities(80)
            return self._bare
        return Authorities(port)

    def read(self, value: bytes) -> Authority:
        """The authority behind a Host value or an absolute-form target.

        Raises:
            Failure: 400, the value is empty, a list, holds userinfo or a path, or its port is no port.
        """
        known = self._known.recall(value)
        if known is not None:
            self._known.count()
            return known
        known = self._judge(value)
        if not self._known.rests():
            self._known.remember(value, known, 2 * len(value) + _OBJECTS)
        return known

    def _judge(self, value: bytes) -> Authority:
        match = _AUTHORITY.fullmatch(value) if len(value) <= _LONGEST else None
        if match is None or int(match["port"] or 0) > 65535 or not _is_host(match["host"]) or match["host"] == b".":
            raise Failure(FailureKind.REQUEST_HOST_INVALID, repr(value[:100]))
        # With a dot at its end it is the same name (RFC 3986 section 3.2.2).
        host = match["host"].lower().removesuffix(b".")
        bare = self._port in _BARE
        line = b"Host: " + host if bare else b"Host: %s:%s" % (host, match["port"] or b"%d" % self._port)
        return Authority(host.decode("ascii"), line)


def _is_host(host: bytes) -> bool:
    """Whether what stands in brackets is an IPv6 address."""
    if not host.startswith(b"["):
        return True
    try:
        ipaddress.IPv6Address(host[1:-1].decode("ascii"))
    except ValueError:
        return False
    return True
