"""Parses `Host` and the authority of an absolute-form target (docs/alb.md 2.7; RFC 9110 section 7.2)."""

from __future__ import annotations

import ipaddress
import re

from albkit.errors import Failure, FailureKind
from albkit.state.bounded_cache import BoundedCache

__all__ = ("Authority", "AuthorityReader")

_AUTHORITY = re.compile(rb"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]+)(?::(?P<port>[0-9]{0,5}))?")
_MAX_LENGTH = 512
_DEFAULT_PORTS = frozenset((80, 443))
_ENTRY_OVERHEAD = 256
"""Bytes that a cached `Authority` takes in addition to its text."""


class Authority:
    """A host that a client asked for."""

    __slots__ = ("host", "line")

    def __init__(self, host: str, line: bytes) -> None:
        self.host = host
        """For rules: in lower case, without a port and without a trailing dot."""
        self.line = line
        """The Host line for the target. Not used with `preserve_host_header`."""


class AuthorityReader:
    """Parses the hosts of one listener's requests, and caches the results.

    Args:
        port: The port that clients connect to. The Host line for the target has no port if this is 80 or 443. Otherwise it has the
            client's, or this one if the client sent none.
    """

    __slots__ = ("_cache", "_for_default_port", "_port")

    def __init__(self, port: int) -> None:
        self._port = port
        # Nearly all proxies in front listen on 80 or 443. This reader keeps its cache; those for other ports do not.
        self._for_default_port: AuthorityReader | None = None
        self._cache: BoundedCache[bytes, Authority] = BoundedCache()

    def for_port(self, port: int) -> AuthorityReader:
        """Return a reader for clients that connected to another port: that of a proxy in front."""
        if port == self._port or {port, self._port} <= _DEFAULT_PORTS:
            return self
        if port in _DEFAULT_PORTS:
            if self._for_default_port is None:
                self._for_default_port = AuthorityReader(80)
            return self._for_default_port
        return AuthorityReader(port)

    def read(self, value: bytes) -> Authority:
        """Parse the value of a Host field, or the authority of an absolute-form target.

        Raises:
            Failure: 400, the value is empty, a list, contains userinfo or a path, or has an invalid port.
        """
        authority = self._cache.get(value)
        if authority is not None:
            self._cache.count_hit()
            return authority
        authority = self._parse(value)
        if not self._cache.skip_put():
            self._cache.put(value, authority, 2 * len(value) + _ENTRY_OVERHEAD)
        return authority

    def _parse(self, value: bytes) -> Authority:
        match = _AUTHORITY.fullmatch(value) if len(value) <= _MAX_LENGTH else None
        if match is None or int(match["port"] or 0) > 65535 or not _is_host(match["host"]) or match["host"] == b".":
            raise Failure(FailureKind.REQUEST_HOST_INVALID, repr(value[:100]))
        # A trailing dot denotes the root of the DNS, so `example.com.` is the same name (RFC 3986 section 3.2.2). Without this, a client
        # could get around a rule for the host.
        host = match["host"].lower().removesuffix(b".")
        without_port = self._port in _DEFAULT_PORTS
        line = b"Host: " + host if without_port else b"Host: %s:%s" % (host, match["port"] or b"%d" % self._port)
        return Authority(host.decode("ascii"), line)


def _is_host(host: bytes) -> bool:
    """Whether brackets, if there are any, contain an IPv6 address. The regular expression has checked the rest."""
    if not host.startswith(b"["):
        return True
    # A zone id (`%eth0`) cannot get here: the expression has no percent sign in brackets.
    try:
        ipaddress.IPv6Address(host[1:-1].decode("ascii"))
    except ValueError:
        return False
    return True
