"""Checks across a listener's settings: its protocol, TLS, the PROXY protocol and its actions."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from albkit.model.actions import Action
from albkit.model.actions.forward import Forward
from albkit.model.actions.redirect import Redirect
from albkit.model.attributes import default
from albkit.model.certificate import Certificate
from albkit.model.consistent_hash import ConsistentHash
from albkit.model.listener_settings import ListenerSettings
from albkit.model.mutual_authentication import MutualAuthentication
from albkit.model.redirect_loops import faults_of_redirects
from albkit.model.response_headers import fault_of_response_header
from albkit.model.rule import Rule
from albkit.model.ssl_policy import fault_of_ssl_policy
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.model.target_group import TargetGroup
from albkit.model.tls import TLS_FIELDS
from albkit.model.validation import Faults

__all__ = ("check_actions_of_protocol", "check_protocol_settings")

_TAKEN = frozenset(
    (
        *(name.lower() for name in TLS_FIELDS),
        "authorization",
        "cookie",
        "expect",
        "host",
        "x-amzn-trace-id",
        "x-forwarded-for",
        "x-forwarded-port",
        "x-forwarded-proto",
    )
)
"""Request headers that already have another meaning."""


def check_protocol_settings(listener: ListenerSettings, faults: Faults) -> None:
    """Check the settings of TLS, the PROXY protocol and header names against each other and against the listener's protocol."""
    _check_tls(listener, faults)
    _check_proxy_protocol(listener, faults)
    _check_names(listener, faults)


def _check_tls(listener: ListenerSettings, faults: Faults) -> None:
    wrong = fault_of_ssl_policy(listener.ssl_policy)
    if wrong:
        faults.add("ssl_policy", wrong)
    faults.instances("certificates", listener.certificates, Certificate, 'a Certificate; give Certificate("cert.pem", "key.pem")')
    mutual = listener.mutual_authentication
    if mutual is not None and not isinstance(mutual, MutualAuthentication):
        faults.add("mutual_authentication", f"{mutual!r} is not MutualAuthentication(...) or None")
    if listener.protocol in ("HTTP", "TCP"):
        secure = "HTTPS" if listener.protocol == "HTTP" else "TLS"
        if listener.certificates:
            faults.add("certificates", f"{listener.protocol} listeners use no certificates; use protocol={secure!r}")
        if listener.ssl_policy != default("Listener", "ssl_policy") and not wrong:
            faults.add("ssl_policy", f"{listener.protocol} listeners have no TLS; use protocol={secure!r}")
        if mutual is not None:
            faults.add("mutual_authentication", f"{listener.protocol} listeners cannot request certificates; use protocol={secure!r}")
    elif listener.is_secure and not listener.certificates:
        faults.add("certificates", f'{listener.protocol} needs at least one; give certificates=Certificate("cert.pem", "key.pem")')
    if listener.alpn_policy != "None" and listener.protocol != "TLS":
        faults.add("alpn_policy", f"is for TLS listeners only, not for {listener.protocol}; leave it out")
    if listener.is_stream:
        for name in ("http2", "http2_websocket"):
            if getattr(listener, name) != default("Listener", name):
                faults.add(name, f"{listener.protocol} listeners pass every version of HTTP unchanged; leave it out, or use HTTP or HTTPS")


def _check_proxy_protocol(listener: ListenerSettings, faults: Faults) -> None:
    if listener.proxy_protocol is not None:
        faults.attribute(listener, "proxy_protocol")
    for index, network in enumerate(listener.trusted_networks):
        try:
            # ip_network() also accepts integers and bytes, and reads them as packed addresses.
            ipaddress.ip_network(network if isinstance(network, str) else "")
        except ValueError as error:
            faults.add(f"trusted_networks[{index}]", f"{network!r} is not a network such as '10.0.0.0/8': {error}")
    if listener.proxy_protocol == "optional":
        if not listener.trusted_networks and not str(listener.host).startswith("unix:"):
            faults.add(
                "trusted_networks", "missing; with proxy_protocol='optional' any client could claim any address; name the networks to trust"
            )
        if listener.protocol == "TCP":
            faults.add("proxy_protocol", "'optional' would wait for a client that may wait for the server to send first; use 'required'")
    elif listener.proxy_protocol is None and listener.trusted_networks and listener.protocol in ("TCP", "TLS"):
        faults.add("trusted_networks", f"{listener.protocol} listeners read no headers; add proxy_protocol='required'")


def _check_names(listener: ListenerSettings, faults: Faults) -> None:
    known = {name.lower() for name in TLS_FIELDS}
    renamed: set[str] = set()
    given: set[str] = set()
    for index, item in enumerate(listener.request_header_names):
        if not isinstance(item, tuple) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            faults.add(f"request_header_names[{index}]", f"{item!r} is not a pair of names; give a mapping")
            continue
        name, other = item
        if name.lower() not in known:
            faults.add(f"request_header_names[{name!r}]", f"is not one of {', '.join(TLS_FIELDS)}")
        wrong = _fault_of_other_name(name.lower(), other) or (
            "is given twice" if name.lower() in renamed or other.lower() in given else None
        )
        if wrong:
            faults.add(f"request_header_names[{name!r}]", wrong)
        renamed.add(name.lower())
        given.add(other.lower())
    if given and listener.protocol != "HTTPS":
        faults.add("request_header_names", f"is for HTTPS listeners only, not for {listener.protocol}; leave it out")


def _fault_of_other_name(name: str, other: str) -> str | None:
    wrong = fault_of_response_header(other, "x")
    if wrong is None and other.lower() in _TAKEN - {name}:
        return f"{other!r} has another meaning, and its value from clients would be lost; use another name"
    return wrong


def check_actions_of_protocol(listener: ListenerSettings, default_actions: Sequence[Action], rules: Sequence[Rule], faults: Faults) -> None:
    """Check the actions and target groups against the listener's protocol."""
    if listener.is_stream:
        _check_stream(listener, default_actions, rules, faults)
        return
    actions = [("default_actions", default_actions), *((f"rules[{n}].actions", rule.actions) for n, rule in _rules(rules))]
    for path, of_rule in actions:
        for action in of_rule:
            if isinstance(action, Redirect) and action.protocol == "HTTP" and listener.protocol == "HTTPS":
                faults.add(path, "redirects from HTTPS to HTTP, which ALB rejects (ALB guide, 'Redirect actions'); use protocol='HTTPS'")
    for path, wrong in faults_of_redirects(listener, default_actions, rules):
        faults.add(path, wrong)
    for group in _groups(default_actions, rules):
        if group.protocol in ("TCP", "TLS"):
            faults.add("", f"target group {group.name!r} has protocol={group.protocol!r}, which is for TCP and TLS listeners only")
        if group.protocol_version != "HTTP1" and listener.http2 is False:
            wrong = (
                f"target group {group.name!r} has protocol_version={group.protocol_version!r}, so all requests would get 464; leave it out"
            )
            faults.add("http2", wrong)


def _check_stream(listener: ListenerSettings, default_actions: Sequence[Action], rules: Sequence[Rule], faults: Faults) -> None:
    """Check a TCP or TLS listener. It forwards a connection before it reads anything, so it cannot match, answer or set a cookie."""
    if rules:
        faults.add("rules", f"a {listener.protocol} listener reads no requests, so it has no rules; leave them out, or use HTTP or HTTPS")
    if [type(action) for action in default_actions] != [Forward]:
        faults.add("default_actions", f"a {listener.protocol} listener takes a single Forward(...) and nothing else")
    if listener.response_headers:
        faults.add("response_headers", f"a {listener.protocol} listener sends no HTTP responses; leave it out")
    for forward in default_actions:
        if isinstance(forward, Forward) and forward.stickiness is not None:
            faults.add("default_actions", "the stickiness of a Forward needs HTTP cookies; leave it out")
    for group in _groups(default_actions, rules):
        for wrong in _faults_of_stream_group(group):
            faults.add("", f"target group {group.name!r} of a {listener.protocol} listener: {wrong}")


def _faults_of_stream_group(group: TargetGroup) -> list[str]:
    wrong: list[str] = []
    if group.protocol in ("HTTP", "HTTPS"):
        wrong.append(f"its protocol is {group.protocol}; use 'TCP', 'TLS' or None")
    if group.protocol_version != "HTTP1":
        wrong.append(
            f"its protocol_version is {group.protocol_version}, but bytes are passed unchanged; leave it out, or use HTTP or HTTPS"
        )
    if any(target.protocol is not None for target in group.fixed_targets):
        wrong.append("its targets must not have http:// or https:// before them; TargetGroup(protocol='TLS') encrypts")
    if group.stickiness is not None and (not isinstance(group.stickiness, BuiltInStickiness) or group.stickiness.reads_requests):
        wrong.append("its stickiness depends on requests; use SourceAddress() or None")
    if group.algorithm == "consistent_hash" or (isinstance(group.algorithm, ConsistentHash) and group.algorithm.key is None):
        wrong.append("consistent_hash hashes host and path; use 'ip_hash', or ConsistentHash with a key that uses request.client only")
    if any(target.max_concurrency is not None for target in group.fixed_targets):
        wrong.append("max_concurrency limits requests; use TunnelPolicy(max_tunnels=...)")
    return wrong


def _rules(rules: Sequence[Rule]) -> list[tuple[int, Rule]]:
    """Return the items that are rules, with their indexes. Every other item is reported as a fault elsewhere."""
    return [(number, rule) for number, rule in enumerate(rules) if isinstance(rule, Rule)]


def _groups(default_actions: Sequence[Action], rules: Sequence[Rule]) -> Iterator[TargetGroup]:
    """Return every target group that an action forwards to, without duplicates."""
    actions = [*default_actions, *(action for _, rule in _rules(rules) for action in rule.actions)]
    forwards = [action for action in actions if isinstance(action, Forward)]
    yield from dict.fromkeys(group for forward in forwards for group, _ in forward.groups)
