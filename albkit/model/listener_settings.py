"""How a listener accepts clients: address, protocol, TLS, the PROXY protocol, limits. Its actions and rules are in `listener`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

import attrs

from albkit.model.access_log import AccessLog
from albkit.model.attributes import default
from albkit.model.certificate import Certificate
from albkit.model.connection_log import ConnectionLog
from albkit.model.mutual_authentication import MutualAuthentication
from albkit.model.names import fault_of_name
from albkit.model.response_headers import fault_of_response_header
from albkit.model.target import fault_of_unix_host
from albkit.model.validation import Faults, as_tuple

__all__ = ("ListenerSettings",)

_MOST_PERMISSIONS = 0o777
_LAST_DESCRIPTOR = 2**31 - 1
_DESCRIPTOR_NAME = re.compile(r"[!-9;-~]{1,255}")
"""The characters that FileDescriptorName= accepts (systemd.socket(5))."""


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else as_tuple(value)


@attrs.frozen
class ListenerSettings:
    """Every setting of a `Listener` except its actions and rules. `Listener` documents them."""

    port: int
    name: str | None = attrs.field(default=None, kw_only=True)
    host: str | None = attrs.field(default=None, kw_only=True)
    protocol: str = attrs.field(default=cast("str", default("Listener", "protocol")), kw_only=True)
    certificates: tuple[Certificate, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    ssl_policy: str = attrs.field(default=cast("str", default("Listener", "ssl_policy")), kw_only=True)
    alpn_policy: str = attrs.field(default=cast("str", default("Listener", "alpn_policy")), kw_only=True)
    http2: bool = attrs.field(default=cast("bool", default("Listener", "http2")), kw_only=True)
    http2_websocket: bool = attrs.field(default=cast("bool", default("Listener", "http2_websocket")), kw_only=True)
    mutual_authentication: MutualAuthentication | None = attrs.field(default=None, kw_only=True)
    proxy_protocol: str | None = attrs.field(default=None, kw_only=True)
    trusted_networks: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    request_header_names: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, kw_only=True)
    max_connections: int | None = attrs.field(default=None, kw_only=True)
    max_connections_per_client: int | None = attrs.field(default=None, kw_only=True)
    response_headers: tuple[tuple[str, str | None], ...] = attrs.field(default=(), converter=_pairs, kw_only=True)
    socket_mode: int | None = attrs.field(default=None, kw_only=True)
    inherited_socket: int | str | None = attrs.field(default=None, kw_only=True)
    access_log: AccessLog | Literal[False] | None = attrs.field(default=None, kw_only=True)
    connection_log: ConnectionLog | Literal[False] | None = attrs.field(default=None, kw_only=True)
    reuse_port: bool = attrs.field(default=cast("bool", default("Listener", "reuse_port")), kw_only=True)
    backlog: int = attrs.field(default=cast("int", default("Listener", "backlog")), kw_only=True)

    def check(self, faults: Faults) -> None:
        """Check each setting by itself. `listener_checks` checks the combinations."""
        faults.attribute(self, "port", "protocol", "reuse_port", "backlog", "alpn_policy", "http2", "http2_websocket")
        if self.name is not None:
            wrong = fault_of_name(self.name)
            if wrong:
                faults.add("name", wrong)
        self._check_host(faults)
        self._check_inherited_socket(faults)
        self._check_response_headers(faults)
        self._check_limits(faults)
        self._check_logs(faults)

    def _check_limits(self, faults: Faults) -> None:
        for name in ("max_connections", "max_connections_per_client"):
            if getattr(self, name) is not None:
                faults.attribute(self, name)

    def _check_logs(self, faults: Faults) -> None:
        log = self.access_log
        if log is not None and log is not False and not isinstance(log, AccessLog):
            faults.add("access_log", f'{log!r} is not AccessLog(...), False or None; give AccessLog("access.log")')
        if isinstance(log, AccessLog) and log.format == "combined" and self.is_stream:
            wrong = f"the combined format describes requests, which {self.protocol} listeners do not read; use format='alb' or 'json'"
            faults.add("access_log", wrong)
        connections = self.connection_log
        if connections is not None and connections is not False and not isinstance(connections, ConnectionLog):
            faults.add("connection_log", f'{connections!r} is not ConnectionLog(...), False or None; give ConnectionLog("connections.log")')

    def _check_host(self, faults: Faults) -> None:
        if self.host is not None and (not isinstance(self.host, str) or not self.host):
            faults.add("host", f"{self.host!r} is not an address; give one, or None for all addresses")
        is_unix = isinstance(self.host, str) and self.host.startswith("unix:")
        if is_unix:
            wrong = _fault_of_own_path(str(self.host))
            if wrong:
                faults.add("host", wrong)
            if self.reuse_port is True:
                faults.add("reuse_port", "a unix socket has no port to share; leave it out")
        mode = self.socket_mode
        if mode is not None and (isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= _MOST_PERMISSIONS):
            faults.add("socket_mode", f"{mode!r} is not a file mode; give 0 to 0o777, such as 0o660")
        elif mode is not None and not is_unix:
            faults.add("socket_mode", "is for unix sockets only; give host='unix:/path', or leave it out")

    def _check_inherited_socket(self, faults: Faults) -> None:
        inherited = self.inherited_socket
        if inherited is None:
            return
        if isinstance(inherited, str):
            good = _DESCRIPTOR_NAME.fullmatch(inherited) is not None
        else:
            good = isinstance(inherited, int) and not isinstance(inherited, bool) and 0 <= inherited <= _LAST_DESCRIPTOR
        if not good:
            faults.add(
                "inherited_socket", f"{inherited!r} is not a file descriptor; give its number, 0 or more, or its FileDescriptorName="
            )
        if self.host is not None:
            faults.add("inherited_socket", "an inherited socket already has an address; leave out host")
        if self.reuse_port is True:
            faults.add("reuse_port", "an inherited socket is already bound; leave it out, and set SO_REUSEPORT where the socket is created")

    def _check_response_headers(self, faults: Faults) -> None:
        seen: set[str] = set()
        for index, item in enumerate(self.response_headers):
            if not isinstance(item, tuple) or len(item) != 2:
                faults.add(f"response_headers[{index}]", f"{item!r} is not a pair of name and value; give a mapping")
                continue
            name, value = item
            wrong = fault_of_response_header(name, value)
            if not wrong and name.lower() in seen:
                wrong = "is given twice, in different case"
            if wrong:
                faults.add(f"response_headers[{name!r}]", wrong)
            else:
                seen.add(name.lower())

    @property
    def is_secure(self) -> bool:
        """Whether clients connect over TLS."""
        return self.protocol in ("HTTPS", "TLS")

    @property
    def is_stream(self) -> bool:
        """Whether bytes are passed on unchanged, without HTTP."""
        return self.protocol in ("TCP", "TLS")

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that certificates, keys, trust stores and revocation lists are read from."""
        mutual = self.mutual_authentication
        of_certificates = [path for certificate in self.certificates for path in certificate.files]
        return tuple(dict.fromkeys([*of_certificates, *(mutual.files if mutual is not None else ())]))

    @property
    def socket_path(self) -> str | None:
        """The path of the unix socket to listen on; `None` for a host and port, and for an inherited socket."""
        return self.host.removeprefix("unix:") if self.host is not None and self.host.startswith("unix:") else None

    @property
    def bind_key(self) -> tuple[object, ...]:
        """What it listens on. Two listeners with the same key cannot be open at the same time, unless both take a free port."""
        if self.inherited_socket is not None:
            return "inherited socket", self.inherited_socket
        # The port of a unix socket is only what targets are told, so it does not distinguish two sockets.
        return (self.host,) if self.socket_path is not None else (self.host, self.port)

    @property
    def takes_free_port(self) -> bool:
        """Whether it listens on any free port."""
        return self.inherited_socket is None and self.socket_path is None and not self.port


def _fault_of_own_path(host: str) -> str | None:
    if host.startswith("unix:@"):
        name = host.removeprefix("unix:")
        return f"{host!r} looks like an abstract socket, which has no permissions; give a path, or 'unix:./{name}' for a file of that name"
    return fault_of_unix_host(host)
