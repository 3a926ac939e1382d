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
    """Listens on a port and decides by its rules where each request goes (docs/alb.md 1.3).

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
            or one that no other certificate of the list is for; it is not among those itself unless it is given twice (docs/alb.md 1.10).
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
        response_headers: Fields by name that every response of this listener carries, whatever the target sent (docs/alb.md 1.3);
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
                    faults.add(f"rules[{index}].priority", f"{rule.priority} is in use already, by rules[{first}]")
        check_protocol_settings(self, faults)
        check_actions_of_protocol(self, self.default_actions, self.rules, faults)
        faults.raise_if_any()

    @property
    def default_action(self) -> RoutingAction:
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
