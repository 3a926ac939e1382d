"""What every request passes first: may it come from here, and who asks?"""

from __future__ import annotations

import hmac
import ipaddress
import logging
from collections.abc import Collection
from urllib.parse import urlsplit

from aiohttp import web

from albkit.admin.problem import Problem
from albkit.admin.settings import AdminSettings
from albkit.report.log_throttle import LogThrottle

__all__ = ("Guard", "peer_of")

_log = logging.getLogger("albkit")
_OPEN = ("/", "/health", "/ready")
"""They tell nothing about the configuration, so they need no token."""
_PROBES = ("/health", "/ready")
"""Probes may send any Host."""
_WRITES = ("POST", "PUT", "PATCH", "DELETE")
_LOOPBACK_NAMES = ("localhost",)


class Guard:
    """Refuses requests from other sites and without the token.

    A page in somebody's browser must not drive the load balancer. So writes need a content type that no form can send, an `Origin` must be
    the admin API's own, and `Host` must be an address or name of the admin API: with DNS rebinding, a hostile page reaches it under a name
    of its own.

    Args:
        settings: The token and the names.
    """

    def __init__(self, settings: AdminSettings) -> None:
        self.unauthorized = 0
        self.refused = 0
        self._token = settings.token.encode() if settings.token is not None else None
        self._names: Collection[str] = frozenset((*_LOOPBACK_NAMES, *settings.hosts, *([settings.host.lower()] if settings.host else ())))
        self._throttle = LogThrottle()

    def check(self, request: web.Request) -> None:
        """Check a request before anything else is done with it.

        Raises:
            Problem: 401, 403 or 415.
        """
        if request.path not in _PROBES:
            self._check_host(request)
        self._check_origin(request)
        if request.path not in _OPEN:
            self._check_token(request)
        if request.method in _WRITES:
            _check_content_type(request)

    def _check_host(self, request: web.Request) -> None:
        # Twice the field, or none: a name that is neither checked nor compared with the origin.
        given = request.headers.getall("Host", [])
        name = _host_name(given[0]) if len(given) == 1 else None
        if name is None or not (name in self._names or _is_own_address(name, request)):
            shown = ", ".join(given)[:100] or "no Host"
            self._refuse(request, f"the Host {shown!a} is not of this admin API; give the name as hosts=[...] if it should be")

    def _check_origin(self, request: web.Request) -> None:
        origins = request.headers.getall("Origin", [])
        if origins and not (len(origins) == 1 and _is_same(origins[0], request.headers.get("Host", ""))):
            self._refuse(request, f"the request comes from another site, {origins[0][:100]!a}")
        # Opening the page by a link on another site is fine: that site sees nothing of it.
        if request.headers.get("Sec-Fetch-Site", "") in ("cross-site", "same-site") and request.path not in _OPEN:
            self._refuse(request, "the request comes from another site (Sec-Fetch-Site)")

    def _check_token(self, request: web.Request) -> None:
        if self._token is None:
            return
        given = request.headers.getall("Authorization", [])
        scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        # Compared in constant time, so that the time says nothing about how much of the token was right.
        is_right = hmac.compare_digest(token.strip().encode("utf-8", "surrogateescape"), self._token)
        if scheme.lower() != "bearer" or not is_right:
            self.unauthorized += 1
            why = "the token is wrong" if given else "a token is missing; send it as 'Authorization: Bearer TOKEN'"
            self._say(request, 401, why)
            raise Problem(401, why, headers={"WWW-Authenticate": 'Bearer realm="albkit"'})

    def _refuse(self, request: web.Request, why: str) -> None:
        self.refused += 1
        self._say(request, 403, why)
        raise Problem(403, why)

    def _say(self, request: web.Request, status: int, why: str) -> None:
        if self._throttle.may_say():
            _log.warning(
                "admin API: %s of %s answered %d: %s%s",
                request.method,
                peer_of(request),
                status,
                why,
                self._throttle.also(),
                extra={
                    "albkit_event": "admin_refused",
                    "albkit_client": peer_of(request),
                    "albkit_method": request.method,
                    "albkit_status": status,
                },
            )


def peer_of(request: web.Request) -> str:
    """The address that the request comes from. Header fields that name another one can be forged, so they are not read."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return (f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}") if peer else "unknown"


def _host_name(host: str) -> str | None:
    """The name of a Host field without its port, in lower case; `None` if it is invalid. The port does not count: it may be forwarded."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname
        _ = parts.port
    except ValueError:
        return None
    return name.removesuffix(".") if name and "@" not in host and not parts.path and not parts.query else None


def _is_own_address(name: str, request: web.Request) -> bool:
    """Whether this is a loopback address, or the address that the client has connected to."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    own = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if not own:
        return False
    reached = ipaddress.ip_address(own[0].partition("%")[0])
    # A socket for IPv4 and IPv6 shows IPv4 addresses as ::ffff:192.0.2.1 (RFC 4291 section 2.5.5.2).
    return address in (reached, getattr(reached, "ipv4_mapped", None))


def _is_same(origin: str, host: str) -> bool:
    """Whether an origin is that of the requested host. The scheme may be https: a proxy in front may terminate TLS."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower() and bool(host)


def _check_content_type(request: web.Request) -> None:
    if request.content_type != "application/json":
        raise Problem(415, "send Content-Type: application/json, also with an empty body ({})")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "send the body without Content-Encoding")
