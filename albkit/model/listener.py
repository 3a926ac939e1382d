"""A listener: where clients connect, and the rules that decide what happens to their requests."""

from __future__ import annotations

from functools import cached_property

import attrs

from albkit.model.actions import Action
from albkit.model.actions.action import RoutingAction
from albkit.model.actions.forward import Forward
from albkit.model.listener_checks import check_actions_of_protocol, check_protocol_settings
from albkit.model.listener_settings import ListenerSettings
from albkit.model.rule import Rule, check_actions, routing_action
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults, as_tuple

__all__ = ("Listener",)


@attrs.frozen
class Listener(ListenerSettings):
    """Listens on a port and routes each request by its rules (docs/alb.md 1.3).

    Args:
        port: 0 to 65535; 0 takes a free port, which `LoadBalancer.listeners` contains. For a unix or inherited socket, it is the port that
            targets are told in X-Forwarded-Port; 0 then means the socket's own port, or 80 (443 with TLS) for a unix socket.
        default_actions: What to do with a request that no rule matches: `Forward(...)`, `Redirect(...)` or `FixedResponse(...)`, after any
            number of `async` callables that may answer.
        rules: Rules, each with a priority of its own.
        name: 1 to 32 letters, digits and hyphens, unique within the load balancer. Default: `None`.
        host: The local address to listen on. `"unix:/run/web.sock"` listens on a unix socket, with 1 to 107 bytes of path: a stale socket
            file is replaced, a live socket is left alone, and the file is removed when the listener closes. Clients of a unix socket have
            no address: none is appended to X-Forwarded-For, and no `SourceIp` matches. Default: `None`, all addresses of IPv4 and IPv6.
        protocol: `"HTTP"` or `"HTTPS"`; `"TCP"` or `"TLS"` pass bytes unchanged to a target that is chosen once per connection, and take a
            single `Forward` and no rules. Default: `"HTTP"`.
        certificates: `Certificate(...)`, one or a list, for HTTPS and TLS. The first is the default: clients get it if they send no server
            name, or one that no other certificate of the list matches. The default takes part in that matching only if it is given twice
            (docs/alb.md 1.10). Among the matching certificates, ECDSA precedes RSA; then the order is: not expired, strongest hash, longest
            key, longest validity. Changed files take effect without a restart.
        ssl_policy: ALB's name of the TLS versions and ciphers to offer. Default: `"ELBSecurityPolicy-TLS13-1-2-Res-2021-06"`, TLS 1.2 and
            1.3 with forward secrecy and authenticated encryption.
        alpn_policy: For TLS listeners: which protocol to negotiate with clients that use ALPN, in NLB's words: `"None"`, `"HTTP1Only"`,
            `"HTTP2Only"`, `"HTTP2Optional"` or `"HTTP2Preferred"`. HTTPS listeners negotiate by `http2`. Default: `"None"`.
        http2: For HTTP and HTTPS listeners: whether to accept HTTP/2 from clients, besides HTTP/1.1 on the same port. HTTPS clients
            negotiate it by ALPN. HTTP clients use it by prior knowledge (RFC 9113 section 3.3), which ALB does not accept; `False` answers
            them with 505. Default: `True`.
        http2_websocket: Whether HTTP/2 clients may open WebSockets on a stream of their connection (RFC 8441). Default: `True`.
        mutual_authentication: `MutualAuthentication(...)`: whether to request certificates from clients, and what to do with them. Default:
            `None`.
        proxy_protocol: `"required"`: every connection begins with a PROXY protocol header (v1 or v2); rules, logs, hashes and
            X-Forwarded-For use the client address in it. `"optional"`: connections from `trusted_networks` may begin with one. Default:
            `None`.
        trusted_networks: Networks (`"10.0.0.0/8"`) of trusted proxies in front of the load balancer, one or a list. The load balancer
            believes their `X-Forwarded-For`, `-Proto`, `-Port` and `-Host` headers. The client is the right-most address in X-Forwarded-For
            that is not in these networks; rules, logs, hashes and stickiness use it, and redirects and targets use its protocol and port.
            With `proxy_protocol`, these networks are the peers whose PROXY protocol headers are accepted: without any, `"required"` accepts
            them from every peer, and `"optional"` is an error. Peers on a unix socket are trusted if any network is given. By default no
            peer is trusted, and `X-Forwarded-Proto` and `-Port` from clients are overwritten.
        request_header_names: Other names for the headers that describe a client's TLS to targets, by their usual names
            (`{"X-Amzn-Mtls-Clientcert-Leaf": "X-Client-Cert"}`). Headers of either name are removed from client requests.
        max_connections: How many client connections may be open, tunnels included; further ones are closed at once. Default: `None`, which
            leaves the process's file descriptors as the only limit.
        max_connections_per_client: The same for one client address, or for one /64 network of IPv6. Default: `None`, no limit.
        response_headers: Headers by name that every response of this listener carries, whatever the target has sent (docs/alb.md 1.3);
            `{"Server": None}` removes the load balancer's own Server header.
        socket_mode: The permissions of the unix socket's file, 0 to 0o777, set before any client can connect. A process needs write
            permission to connect. Default: `None`, which leaves them to the process's umask.
        inherited_socket: A stream socket, bound or listening, that the process has inherited; it replaces `host`. Either the number of its
            file descriptor, 0 or more, or the name that FileDescriptorName= of a systemd socket unit gives it, 1 to 255 visible ASCII
            characters without a colon; all sockets of that name are used. The socket stays open when the listener closes. Default: `None`.
        access_log: `AccessLog(...)`: where to log what this listener serves. `None` uses the access log of the load balancer, `False` logs
            nothing. Default: `None`.
        connection_log: `ConnectionLog(...)`: where to log the connections of this listener. `None` uses the connection log of the load
            balancer, `False` logs nothing. Default: `None`.
        reuse_port: Share the port with the sockets of other processes that also set SO_REUSEPORT. Not for a unix or inherited socket.
            Default: `False`.
        backlog: How many connections may wait to be accepted, 1 to 65535; the system may have a lower limit. Default: `4096`.

    `LoadBalancer.apply` keeps the listening socket open if host and port, the path of the unix socket or `inherited_socket` stay the same.
    A new `backlog` then takes effect at once; `socket_mode`, `reuse_port`, and the `port` of a unix or inherited socket take effect at the
    next start.

    Raises:
        ConfigurationError: lists every fault.
    """

    default_actions: tuple[Action, ...] = attrs.field(converter=as_tuple)
    rules: tuple[Rule, ...] = attrs.field(default=(), converter=as_tuple)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Listener")
        self.check(faults)
        check_actions(faults, "default_actions", self.default_actions)
        faults.instances("rules", self.rules, Rule, "a Rule")
        seen: dict[int, int] = {}
        for index, rule in enumerate(self.rules):
            if isinstance(rule, Rule):
                first = seen.setdefault(rule.priority, index)
                if first != index:
                    faults.add(f"rules[{index}].priority", f"{rule.priority} is already the priority of rules[{first}]")
        check_protocol_settings(self, faults)
        check_actions_of_protocol(self, self.default_actions, self.rules, faults)
        faults.raise_if_any()

    @property
    def default_action(self) -> RoutingAction:
        """The routing action for a request that no rule matches."""
        return routing_action(self.default_actions)

    @cached_property
    def forwards(self) -> tuple[Forward, ...]:
        """Every `Forward` of the default actions and of the rules, in this order."""
        from_rules = [action for rule in self.rules for action in rule.actions]
        return tuple(action for action in (*self.default_actions, *from_rules) if isinstance(action, Forward))

    @cached_property
    def groups(self) -> tuple[TargetGroup, ...]:
        """Every target group that a rule or the default action can forward to, without duplicates, in order of appearance."""
        return tuple(dict.fromkeys(group for forward in self.forwards for group, _ in forward.groups))
