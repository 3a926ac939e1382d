"""A door for clients, with its rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import attrs

from albkit.model.actions import Action, FixedResponse, Forward, Redirect
from albkit.model.attributes import default
from albkit.model.certificate import Certificate
from albkit.model.listener_checks import check_doors
from albkit.model.mutual_authentication import MutualAuthentication
from albkit.model.names import fault_of_name
from albkit.model.response_headers import fault_of_response_header
from albkit.model.rule import Rule, check_actions, routing_action
from albkit.model.target import fault_of_unix_host
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults, as_tuple

__all__ = ("Listener",)

_MOST_PERMISSIONS = 0o777
_LAST_DESCRIPTOR = 2**31 - 1
_DESCRIPTOR_NAME = re.compile(r"[!-9;-~]{1,255}")
"""What FileDescriptorName= of a systemd socket unit may hold."""


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else as_tuple(value)


@attrs.frozen
class Listener:
    """Listens on a port and decides by its rules where each request goes (alb-reference 1.3).

    Args:
        port: 0 to 65535; 0 takes a free port, which `LoadBalancer.listeners` then tells. With a unix socket or an inherited one it is
            what targets are told instead (X-Forwarded-Port); 0 tells them the socket's own port, or 80 for a unix socket.
        default_actions: What is done with a request that no rule matches: `Forward(...)`, `Redirect(...)` or
            `FixedResponse(...)`, behind any `async` callables that may answer.
        rules: Rules, each with a priority of its own.
        name: 1 to 32 letters, digits and hyphens, unique within the load balancer; may be left out.
        host: The local address to listen on; `None` (the default) for all, IPv4 and IPv6. `"unix:/run/web.sock"` listens on a unix
            socket, 1 to 107 bytes of path: a stale file of a socket makes way, a live one does not, and the file goes when the listener
            closes. Clients of a unix socket have no address: none is appended to X-Forwarded-For, and no `SourceIp` matches.
        protocol: `"HTTP"` (default) or `"HTTPS"`; `"TCP"` or `"TLS"` for bytes that are passed on as they are, to a target chosen once per
            connection: then without rules, and with one `Forward` alone.
        certificates: `Certificate(...)`, one or a list, for HTTPS and TLS. The first is the default, shown to clients that name no server
            or one that no other certificate of the list is for; it is not among those itself unless it is given twice (alb-reference 1.10).
            Among those for the name ECDSA goes before RSA, then what has not expired, the strongest hash, the longest key, the longest
            validity. Files that change are taken up while it runs.
        ssl_policy: ALB's name of the versions and ciphers that are offered; `"ELBSecurityPolicy-TLS13-1-2-Res-2021-06"` by default: TLS 1.2
            and 1.3 with forward secrecy and authenticated encryption.
        alpn_policy: For TLS: which protocol is agreed on where the client asks, in NLB's words: `"None"` (default), `"HTTP1Only"`,
            `"HTTP2Only"`, `"HTTP2Optional"` or `"HTTP2Preferred"`. HTTPS agrees on `http/1.1`.
        mutual_authentication: `MutualAuthentication(...)`: whether clients are asked for a certificate, and what becomes of it; `None`
            (default) for not.
        proxy_protocol: `"required"`: every connection begins with a PROXY protocol header (v1 or v2), whose client address is the one that
            rules, logs, hashes and X-Forwarded-For see; `"optional"`: those from `trusted_networks` may. `None` (default) for none.
        trusted_networks: Networks (`"10.0.0.0/8"`) of proxies in front that are believed, one or a list. Their `X-Forwarded-For`, `-Proto`,
            `-Port` and `-Host` fields tell of the client: its address, the right-most one that is not in these networks, is the one that
            rules, logs, hashes and stickiness see; redirects and targets are told of its protocol and port. With `proxy_protocol` they
            say whose PROXY protocol headers are believed: without any `"required"` believes everybody that can reach the port, and
            `"optional"` is refused. Peers on a unix socket are believed where any network is given. None by default: what clients send
            in `X-Forwarded-Proto` and `-Port` is overwritten.
        request_header_names: Other names for the fields that tell targets of a client's TLS, by their own
            (`{"X-Amzn-Mtls-Clientcert-Leaf": "X-Client-Cert"}`); what clients send under either name is removed.
        max_connections: How many client connections may be open, tunnels among them; a further one is closed at once. `None` (default) for
            as many as there are file descriptors for.
        max_connections_per_client: The same for one client address, of IPv6 for one /64 network; `None` (default) for no limit.
        response_headers: Fields by name that every response of this listener carries, whatever the target sent (alb-reference 1.3);
            `{"Server": None}` leaves out the load balancer's own Server field.
        socket_mode: The permissions of the unix socket's file, 0 to 0o777, set before anybody can connect; `None` (default) for what
            the process's umask leaves. Who may connect is who may write.
        inherited_socket: A stream socket, bound or listening, that the process has inherited, instead of `host`: the number of its
            descriptor, 0 and more, or the name that FileDescriptorName= of a systemd socket unit gives it, 1 to 255 visible ASCII
            characters without a colon; all sockets of that name are taken. It stays open when the listener closes. `None` by default.
        reuse_port: Share the port with other processes whose sockets say the same (SO_REUSEPORT); `False` by default. Not with a unix
            or inherited socket.
        backlog: How many connections may wait to be accepted, 1 to 65535, 4096 by default; the system may have a lower bound of its own.

    `LoadBalancer.apply` keeps what listens open where host and port, the path of the unix socket or `inherited_socket` stay. A new
    `backlog` is then in force at once; `socket_mode`, `reuse_port` and the `port` told of a unix or inherited socket are from the next
    start on.

    Raises:
        ConfigurationError: listing every fault.
    """

    port: int
    default_actions: tuple[Action, ...] = attrs.field(converter=as_tuple)
    rules: tuple[Rule, ...] = attrs.field(default=(), converter=as_tuple)
    name: str | None = attrs.field(default=None, kw_only=True)
    host: str | None = attrs.field(default=None, kw_only=True)
    protocol: str = attrs.field(default=cast("str", default("Listener", "protocol")), kw_only=True)
    certificates: tuple[Certificate, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    ssl_policy: str = attrs.field(default=cast("str", default("Listener", "ssl_policy")), kw_only=True)
    alpn_policy: str = attrs.field(default=cast("str", default("Listener", "alpn_policy")), kw_only=True)
    mutual_authentication: MutualAuthentication | None = attrs.field(default=None, kw_only=True)
    proxy_protocol: str | None = attrs.field(default=None, kw_only=True)
    trusted_networks: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    request_header_names: tuple[tuple[str, str], ...] = attrs.field(default=(), converter=_pairs, kw_only=True)
    max_connections: int | None = attrs.field(default=None, kw_only=True)
    max_connections_per_client: int | None = attrs.field(default=None, kw_only=True)
    response_headers: tuple[tuple[str, str | None], ...] = attrs.field(default=(), converter=_pairs, kw_only=True)
    socket_mode: int | None = attrs.field(default=None, kw_only=True)
    inherited_socket: int | str | None = attrs.field(default=None, kw_only=True)
    reuse_port: bool = attrs.field(default=cast("bool", default("Listener", "reuse_port")), kw_only=True)
    backlog: int = attrs.field(default=cast("int", default("Listener", "backlog")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Listener")
        faults.attribute(self, "port", "protocol", "reuse_port", "backlog")
        check_actions(faults, "default_actions", self.default_actions)
        faults.instances("rules", self.rules, Rule, "a Rule")
        seen: dict[int, int] = {}
        for index, rule in enumerate(self.rules):
            if isinstance(rule, Rule):
                first = seen.setdefault(rule.priority, index)
                if first != index:
                    faults.add(f"rules[{index}].priority", f"{rule.priority} is in use already, by rules[{first}]")
        if self.name is not None:
            wrong = fault_of_name(self.name)
            if wrong:
                faults.add("name", wrong)
        self._check_host(faults)
        self._check_inherited_socket(faults)
        self._check_response_headers(faults)
        self._check_limits(faults)
        check_doors(self, faults)
        faults.raise_if_any()

    def _check_limits(self, faults: Faults) -> None:
        for name in ("max_connections", "max_connections_per_client"):
            if getattr(self, name) is not None:
                faults.attribute(self, name)

    def _check_host(self, faults: Faults) -> None:
        if self.host is not None and (not isinstance(self.host, str) or not self.host):
            faults.add("host", f"{self.host!r} is not an address; give one, or None for all")
        is_unix = isinstance(self.host, str) and self.host.startswith("unix:")
        if is_unix:
            wrong = _fault_of_own_path(str(self.host))
            if wrong:
                faults.add("host", wrong)
            if self.reuse_port is True:
                faults.add("reuse_port", "a unix socket has no port to share; leave it out")
        mode = self.socket_mode
        if mode is not None and (isinstance(mode, bool) or not isinstance(mode, int) or not 0 <= mode <= _MOST_PERMISSIONS):
            faults.add("socket_mode", f"{mode!r} is no set of permissions; 0 to 0o777, such as 0o660")
        elif mode is not None and not is_unix:
            faults.add("socket_mode", "only the file of a unix socket has permissions; give host='unix:/path' or leave it out")

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
                "inherited_socket", f"{inherited!r} is neither a descriptor's number nor its name; 0 and more, or a FileDescriptorName="
            )
        if self.host is not None:
            faults.add("inherited_socket", "an inherited socket has its address already; leave out host")
        if self.reuse_port is True:
            faults.add("reuse_port", "an inherited socket is bound already; leave it out, and set it where the socket is made")

    def _check_response_headers(self, faults: Faults) -> None:
        seen: set[str] = set()
        for index, item in enumerate(self.response_headers):
            if not isinstance(item, tuple) or len(item) != 2:
                faults.add(f"response_headers[{index}]", f"{item!r} is not a name and a value; give a mapping of fields")
                continue
            name, value = item
            wrong = fault_of_response_header(name, value)
            if not wrong and name.lower() in seen:
                wrong = "given already, in other letters"
            if wrong:
                faults.add(f"response_headers[{name!r}]", wrong)
            else:
                seen.add(name.lower())

    @property
    def is_secure(self) -> bool:
        """Whether TLS is spoken with its clients."""
        return self.protocol in ("HTTPS", "TLS")

    @property
    def is_stream(self) -> bool:
        """Whether bytes are passed on as they are."""
        return self.protocol in ("TCP", "TLS")

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that it takes certificates, keys and the like from."""
        mutual = self.mutual_authentication
        of_certificates = [path for certificate in self.certificates for path in certificate.files]
        return tuple(dict.fromkeys([*of_certificates, *(mutual.files if mutual is not None else ())]))

    @property
    def socket_path(self) -> str | None:
        """The path of the unix socket to listen on, or `None` for a host and port, and for an inherited socket."""
        return self.host.removeprefix("unix:") if self.host is not None and self.host.startswith("unix:") else None

    @property
    def door(self) -> tuple[object, ...]:
        """What it listens on: two listeners with one door cannot be open at once, unless both take a free port."""
        if self.inherited_socket is not None:
            return "inherited socket", self.inherited_socket
        return (self.host,) if self.socket_path is not None else (self.host, self.port)

    @property
    def takes_free_port(self) -> bool:
        """Whether it asks for any port that is free."""
        return self.inherited_socket is None and self.socket_path is None and not self.port

    @property
    def default_action(self) -> Forward | FixedResponse | Redirect:
        """What is done with a request that no rule matches."""
        return routing_action(self.default_actions)

    @cached_property
    def forwards(self) -> tuple[Forward, ...]:
        """The default action and those of the rules that send to a target group, in this order."""
        from_rules = [action for rule in self.rules for action in rule.actions]
        return tuple(action for action in (*self.default_actions, *from_rules) if isinstance(action, Forward))

    @cached_property
    def groups(self) -> tuple[TargetGroup, ...]:
        """Every target group that a rule or the default action may send to, each once, in order of appearance."""
        return tuple(dict.fromkeys(group for forward in self.forwards for group, _ in forward.groups))


def _fault_of_own_path(host: str) -> str | None:
    if host.startswith("unix:@"):
        name = host.removeprefix("unix:")
        return f"{host!r} looks like an abstract name, where no permissions hold; give a path, or 'unix:./{name}' for a file of that name"
    return fault_of_unix_host(host)
