"""A target: where requests are sent."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import attrs

from albkit.errors import ConfigurationError
from albkit.model.validation import Faults

__all__ = ("Target", "fault_of_unix_host", "is_host", "target_from")

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?")
# The characters that RFC 6265 section 4.1.1 allows in a cookie value.
_ROUTE = re.compile(r"[!#-+\--:<-\[\]-~]{1,100}")
_FORMS = "give 'host:port', '[v6-address]:port', 'http://host[:port]' or 'unix:/path'"
_WEBSOCKET = {"ws": "http", "wss": "https"}
_UNIX_PATH_MAX = 107  # sun_path has 108 bytes on Linux, one of them for the final zero (unix(7)).


@attrs.frozen(cache_hash=True)
class Target:
    """A place to send requests to: a host and port, or a unix socket.

    Args:
        host: A host name or an IP address (IPv6 without brackets), or `unix:` and the path of a socket.
        port: 1 to 65535; none for a unix socket.
        weight: The target's share of the group's new requests, relative to the weights of the others, 0 to 999. 0 gets none, unless all
            weights are 0. Default: `1`.
        protocol: `"HTTP"` or `"HTTPS"`. Default: `None`, the group's.
        standby: Whether it gets requests only while no other target of its group is in use, after the others have failed a request, or if
            the group fails open. Default: `False`.
        max_concurrency: The most requests that it handles at the same time, tunnels included, 1 or more. When all targets have reached
            their limit, requests wait in a queue (`TargetGroup(waiting_line=..., waiting_timeout=...)`). Default: `None`, no limit.
        route: The target's name in session ids, for `RouteSuffix`. Default: `None`, its address.
        server_name: The name to send (SNI) and to verify in the certificate, with HTTPS. Default: `None`, its host.

    A target's identity is its address: two targets with the same host and port are the same target.

    Raises:
        ConfigurationError: lists every fault.
    """

    host: str
    port: int | None = None
    weight: int = attrs.field(default=1, kw_only=True)
    protocol: str | None = attrs.field(default=None, kw_only=True)
    standby: bool = attrs.field(default=False, kw_only=True)
    max_concurrency: int | None = attrs.field(default=None, kw_only=True)
    route: str | None = attrs.field(default=None, kw_only=True)
    server_name: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Target")
        faults.attribute(self, "weight", "standby")
        if self.protocol not in (None, "HTTP", "HTTPS"):
            faults.add("protocol", f"{self.protocol!r} is not 'HTTP', 'HTTPS' or None")
        if self.max_concurrency is not None:
            faults.attribute(self, "max_concurrency")
        if self.route is not None and not (isinstance(self.route, str) and _ROUTE.fullmatch(self.route)):
            faults.add(
                "route",
                f'{self.route!r} is not a route; use 1 to 100 visible ASCII characters except , ; " and \\',
            )
        if self.server_name is not None and not (isinstance(self.server_name, str) and is_host(self.server_name)):
            faults.add("server_name", f"{self.server_name!r} is not a host name or IP address")
        if not isinstance(self.host, str) or not self.host:
            faults.add("host", f"{self.host!r} is not a host; {_FORMS}")
        elif self.host.startswith("unix:"):
            wrong = fault_of_unix_host(self.host)
            if wrong:
                faults.add("host", wrong)
            if self.port is not None:
                faults.add("port", "a unix socket has no port; leave it out")
        else:
            if not is_host(self.host):
                words = "; give the whole URL as text, 'https://host:port', or use protocol=" if "://" in self.host else ""
                faults.add("host", f"{self.host!r} is not a host name or IP address{words}")
            if self.port is None:
                faults.add("port", f"missing; {_FORMS}")
            elif isinstance(self.port, bool) or not isinstance(self.port, int) or not 1 <= self.port <= 65535:
                faults.add("port", f"{self.port!r} is not a port; give a number from 1 to 65535")
        faults.raise_if_any()

    @property
    def path(self) -> str | None:
        """The path of the unix socket; `None` for a host and port."""
        return self.host.removeprefix("unix:") if self.host.startswith("unix:") else None

    def __str__(self) -> str:
        if self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def fault_of_unix_host(host: str) -> str | None:
    """Say what is wrong with the path of a unix socket after `unix:`; `None` if it is valid."""
    path = host.removeprefix("unix:")
    try:
        size = len(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= _UNIX_PATH_MAX or "\0" in path:
        return f"{host!r} has no usable socket path; give 1 to {_UNIX_PATH_MAX} bytes after 'unix:'"
    return None


def is_host(host: str) -> bool:
    """Whether this is a valid host name or IP address."""
    if ":" not in host:
        return _NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def target_from(value: Any) -> Target:
    """Make a target from any of the accepted forms.

    Args:
        value: A `Target`, `"host:port"`, `"[v6]:port"`, `"http://host[:port]"`, `"https://host[:port]"` or `"unix:/path"`.

    Raises:
        ConfigurationError: the value has none of these forms.
    """
    if isinstance(value, Target):
        return value
    if not isinstance(value, str):
        raise ConfigurationError("Target", [f"{value!r} is not a target; {_FORMS}, or a Target"])
    if value.startswith("unix:"):
        return Target(value)
    scheme, separator, rest = value.partition("://")
    if not separator:
        return _from_authority(value, value, None, None)
    # A frequent mistake, so it gets an error text of its own.
    if scheme.lower() in _WEBSOCKET:
        http = f"{_WEBSOCKET[scheme.lower()]}://{rest.partition('/')[0]}"
        words = f"{value!r} is a WebSocket URL; write {http!r}: a WebSocket starts as an HTTP request and uses the same connection"
        raise ConfigurationError("Target", [words])
    if scheme.lower() not in ("http", "https"):
        raise ConfigurationError("Target", [f"{value!r} has the scheme {scheme!r}; use http:// or https://"])
    if "/" in rest.removesuffix("/") or "?" in rest or "#" in rest:
        raise ConfigurationError("Target", [f"{value!r} has a path, query or fragment; a target is only a host and a port; leave it out"])
    default_port = 80 if scheme.lower() == "http" else 443
    return _from_authority(value, rest.removesuffix("/"), default_port, scheme.upper())


def _from_authority(value: str, authority: str, default_port: int | None, protocol: str | None) -> Target:
    match = re.fullmatch(r"(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:@\[\]/]*))(?::(?P<port>[0-9]{1,5}))?", authority)
    if match is None:
        raise ConfigurationError("Target", [f"{value!r} is not a target; {_FORMS}"])
    port = int(match["port"]) if match["port"] else default_port
    host = match["host"] if match["v6"] is None else match["v6"]
    try:
        return Target(host, port, protocol=protocol)
    except ConfigurationError as error:
        raise ConfigurationError("Target", [f"{value!r}: {fault}" for fault in error.faults]) from None
