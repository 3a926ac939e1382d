"""What of a listener's settings goes together: every fault with its path and words, and good combinations without any."""

from __future__ import annotations

from typing import Any

import pytest

import albkit as alb

ANSWER = alb.FixedResponse(200)
CERTIFICATE = alb.Certificate("cert.pem", "key.pem")
MUTUAL = alb.MutualAuthentication(mode="passthrough")
LEAF = "X-Amzn-Mtls-Clientcert-Leaf"
VERSION = "X-Amzn-Tls-Version"
SECURE: dict[str, Any] = {"protocol": "HTTPS", "certificates": CERTIFICATE}


def group(*targets: Any, **settings: Any) -> alb.TargetGroup:
    return alb.TargetGroup("group", list(targets) or "10.0.0.1:80", **settings)


def to(*targets: Any, **settings: Any) -> alb.Forward:
    return alb.Forward(group(*targets, **settings))


def rule(action: Any = ANSWER) -> alb.Rule:
    return alb.Rule(1, alb.PathPattern("/a"), action)


def faults_of(default: Any = ANSWER, rules: Any = (), **settings: Any) -> tuple[str, ...]:
    with pytest.raises(alb.ConfigurationError) as caught:
        alb.Listener(443, default, rules, **settings)
    assert caught.value.subject == "Listener"
    return caught.value.faults


GOOD: list[tuple[Any, Any, dict[str, Any]]] = [
    (ANSWER, (), {}),
    (ANSWER, rule(), SECURE),
    (ANSWER, (), {**SECURE, "certificates": [CERTIFICATE, CERTIFICATE]}),
    (ANSWER, (), {**SECURE, "certificates": alb.Certificate(b"-----BEGIN CERTIFICATE-----")}),
    (ANSWER, (), {**SECURE, "ssl_policy": "ELBSecurityPolicy-2016-08"}),
    (ANSWER, (), {**SECURE, "mutual_authentication": MUTUAL}),
    (ANSWER, (), {**SECURE, "request_header_names": {LEAF: "X-Client-Cert", VERSION: "X-Tls"}}),
    (ANSWER, (), {**SECURE, "request_header_names": {LEAF.lower(): "X-Client-Cert"}}),
    (ANSWER, (), {**SECURE, "request_header_names": (("x-amzn-tls-version", "X-Tls"),)}),
    (ANSWER, (), {**SECURE, "proxy_protocol": "required"}),
    (ANSWER, (), {**SECURE, "proxy_protocol": "optional", "trusted_networks": "10.0.0.0/8"}),
    (ANSWER, (), {**SECURE, "proxy_protocol": "required", "trusted_networks": ["10.0.0.0/8", "::1", "127.0.0.1"]}),
    (ANSWER, (), {"proxy_protocol": "optional", "host": "unix:/run/web.sock"}),
    (ANSWER, (), {"proxy_protocol": "required"}),
    (alb.Redirect(protocol="HTTPS", port=443), (), {}),
    (alb.Redirect(protocol="HTTPS", port=444), (), SECURE),
    (alb.Redirect(path="/elsewhere"), (), SECURE),
    (to("https://10.0.0.1:443", "http://10.0.0.2:80"), (), SECURE),
    (to(protocol="HTTPS"), rule(to(protocol="HTTP")), {}),
    (to(proxy_protocol="v2"), (), SECURE),
    (ANSWER, (), {**SECURE, "http2": False, "http2_websocket": False}),
    (to(protocol_version="HTTP2"), rule(to(protocol_version="GRPC")), {}),
    (to(protocol_version="GRPC"), (), {**SECURE, "http2_websocket": False}),
    (to(), (), {"protocol": "TCP"}),
    (to(), (), {"protocol": "TCP", "http2": True, "http2_websocket": True}),
    (to(protocol="TCP"), (), {"protocol": "TCP", "proxy_protocol": "required"}),
    (to(protocol="TLS"), (), {"protocol": "TCP"}),
    (to(protocol="TLS", client_certificate=CERTIFICATE), (), {**SECURE, "protocol": "TLS", "alpn_policy": "HTTP2Preferred"}),
    (to(), (), {**SECURE, "protocol": "TLS", "proxy_protocol": "optional", "trusted_networks": "::/0"}),
    (to(), (), {**SECURE, "protocol": "TLS", "mutual_authentication": MUTUAL}),
    (to(stickiness=alb.SourceAddress()), (), {"protocol": "TCP"}),
    (to(algorithm="ip_hash"), (), {"protocol": "TCP"}),
    (to(algorithm=alb.ConsistentHash(key=lambda request: request.client.host)), (), {"protocol": "TCP"}),
    (alb.Forward({group(): 1, alb.TargetGroup("other", "10.0.0.2:80"): 2}), (), {"protocol": "TCP"}),
]


@pytest.mark.parametrize(("default", "rules", "settings"), GOOD, ids=map(str, range(len(GOOD))))
def test_good_combination_has_no_fault(default: Any, rules: Any, settings: dict[str, Any]) -> None:
    """Each is taken."""
    alb.Listener(443, default, rules, **settings)


POLICY = "is not a supported security policy"
BAD: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    # TLS.
    ({"protocol": "HTTPS"}, [("certificates", 'HTTPS needs at least one; give certificates=Certificate("cert.pem", "key.pem")')]),
    ({"protocol": "TLS", "default": to()}, [("certificates", "TLS needs at least one")]),
    ({"certificates": CERTIFICATE}, [("certificates", "HTTP listeners use no certificates; use protocol='HTTPS'")]),
    (
        {"protocol": "TCP", "default": to(), "certificates": CERTIFICATE},
        [("certificates", "TCP listeners use no certificates; use protocol='TLS'")],
    ),
    ({**SECURE, "certificates": ["cert.pem"]}, [("certificates[0]", "'cert.pem' is not a Certificate")]),
    ({**SECURE, "certificates": [CERTIFICATE, None]}, [("certificates[1]", "None is not a Certificate")]),
    ({"mutual_authentication": MUTUAL}, [("mutual_authentication", "HTTP listeners cannot request certificates; use protocol='HTTPS'")]),
    (
        {"protocol": "TCP", "default": to(), "mutual_authentication": MUTUAL},
        [("mutual_authentication", "TCP listeners cannot request certificates; use protocol='TLS'")],
    ),
    ({**SECURE, "mutual_authentication": "verify"}, [("mutual_authentication", "'verify' is not MutualAuthentication(...) or None")]),
    ({**SECURE, "ssl_policy": "TLS13-1-2-2021-06"}, [("ssl_policy", "lacks the prefix")]),
    ({**SECURE, "ssl_policy": None}, [("ssl_policy", POLICY)]),
    ({"ssl_policy": "none"}, [("ssl_policy", POLICY)]),
    ({**SECURE, "alpn_policy": "HTTP1Only"}, [("alpn_policy", "is for TLS listeners only, not for HTTPS")]),
    ({"alpn_policy": "HTTP2Only"}, [("alpn_policy", "is for TLS listeners only, not for HTTP")]),
    ({**SECURE, "protocol": "TLS", "default": to(), "alpn_policy": "h2"}, [("alpn_policy", "'h2'")]),
    # HTTP/2.
    ({"http2": 1, "http2_websocket": "yes"}, [("http2", "1 is neither True nor False"), ("http2_websocket", "'yes' is neither True nor")]),
    (
        {"protocol": "TCP", "default": to(), "http2": False},
        [("http2", "TCP listeners pass every version of HTTP unchanged; leave it out, or use HTTP or HTTPS")],
    ),
    (
        {**SECURE, "protocol": "TLS", "default": to(), "http2_websocket": False},
        [("http2_websocket", "TLS listeners pass every version of HTTP unchanged; leave it out, or use HTTP or HTTPS")],
    ),
    (
        {**SECURE, "http2": False, "rules": rule(to(protocol_version="GRPC"))},
        [("http2", "target group 'group' has protocol_version='GRPC', so all requests would get 464; leave it out")],
    ),
    # The PROXY protocol.
    ({"proxy_protocol": "maybe"}, [("proxy_protocol", "'maybe'")]),
    ({"proxy_protocol": True}, [("proxy_protocol", "True")]),
    ({"proxy_protocol": "optional"}, [("trusted_networks", "missing; with proxy_protocol='optional' any client could claim any address")]),
    (
        {"protocol": "TCP", "default": to(), "trusted_networks": "10.0.0.0/8"},
        [("trusted_networks", "TCP listeners read no headers; add proxy_protocol='required'")],
    ),
    (
        {"proxy_protocol": "required", "trusted_networks": ["10.0.0.0/8", "ten", "10.0.0.1/8", "::/200"]},
        [
            ("trusted_networks[1]", "'ten' is not a network such as '10.0.0.0/8'"),
            ("trusted_networks[2]", "has host bits set"),
            ("trusted_networks[3]", "'::/200' is not a network"),
        ],
    ),
    (
        {"proxy_protocol": "required", "trusted_networks": [10, None, b"\x7f\0\0\1", True]},
        [(f"trusted_networks[{place}]", "is not a network such as '10.0.0.0/8'") for place in range(4)],
    ),
    (
        {"protocol": "TCP", "default": to(), "proxy_protocol": "optional", "trusted_networks": "::/0"},
        [("proxy_protocol", "'optional' would wait for a client that may wait for the server to send first; use 'required'")],
    ),
    # Names of fields.
    ({"request_header_names": {LEAF: "X-Leaf"}}, [("request_header_names", "is for HTTPS listeners only, not for HTTP")]),
    (
        {**SECURE, "protocol": "TLS", "default": to(), "request_header_names": {LEAF: "X-Leaf"}},
        [("request_header_names", "is for HTTPS listeners only, not for TLS")],
    ),
    ({**SECURE, "request_header_names": "X-Leaf"}, [("request_header_names[0]", "'X-Leaf' is not a pair of names; give a mapping")]),
    ({**SECURE, "request_header_names": {LEAF: None}}, [("request_header_names[0]", "is not a pair of names")]),
    ({**SECURE, "request_header_names": [("a", "b", "c")]}, [("request_header_names[0]", "is not a pair of names")]),
    (
        {**SECURE, "request_header_names": {"X-Other": "X-Leaf"}},
        [("request_header_names['X-Other']", "is not one of X-Amzn-Tls-Version, ")],
    ),
    ({**SECURE, "request_header_names": {LEAF: "X Leaf"}}, [(f"request_header_names['{LEAF}']", "'X Leaf' is not a header name")]),
    ({**SECURE, "request_header_names": {LEAF: ""}}, [(f"request_header_names['{LEAF}']", "'' is not a header name")]),
    (
        {**SECURE, "request_header_names": {LEAF: "Content-Length"}},
        [(f"request_header_names['{LEAF}']", "Content-Length cannot be set for a whole listener")],
    ),
    ({**SECURE, "request_header_names": {LEAF: "X-A", VERSION: "x-a"}}, [(f"request_header_names['{VERSION}']", "given twice")]),
    (
        {**SECURE, "request_header_names": {LEAF: "X-A", LEAF.lower(): "X-B"}},
        [(f"request_header_names['{LEAF.lower()}']", "given twice")],
    ),
    (
        {**SECURE, "request_header_names": {VERSION: "Host", LEAF: "cookie"}},
        [
            (f"request_header_names['{VERSION}']", "'Host' has another meaning"),
            (f"request_header_names['{LEAF}']", "'cookie' has another meaning"),
        ],
    ),
    ({**SECURE, "request_header_names": {VERSION: "X-Forwarded-For"}}, [(f"request_header_names['{VERSION}']", "has another meaning")]),
    ({**SECURE, "request_header_names": {VERSION: LEAF}}, [(f"request_header_names['{VERSION}']", "has another meaning")]),
    # Actions.
    (
        {**SECURE, "default": alb.Redirect(protocol="HTTP", port=80)},
        [("default_actions", "redirects from HTTPS to HTTP, which ALB rejects (ALB guide, 'Redirect actions'); use protocol='HTTPS'")],
    ),
    (
        {**SECURE, "rules": [rule(), alb.Rule(2, alb.PathPattern("/b"), alb.Redirect(protocol="HTTP", port=80))]},
        [("rules[1].actions", "redirects from HTTPS to HTTP")],
    ),
    ({"default": to(protocol="TCP")}, [("target group 'group' has protocol='TCP', which is for TCP and TLS listeners", "")]),
    ({**SECURE, "rules": rule(to(protocol="TLS"))}, [("target group 'group' has protocol='TLS', which is for TCP and TLS listeners", "")]),
    # Listeners of bytes.
    ({"protocol": "TCP"}, [("default_actions", "a TCP listener takes a single Forward(...) and nothing else")]),
    (
        {"protocol": "TCP", "default": alb.Redirect(path="/a")},
        [("default_actions", "a TCP listener takes a single Forward(...) and nothing else")],
    ),
    ({"protocol": "TCP", "default": to(), "rules": rule()}, [("rules", "a TCP listener reads no requests, so it has no rules")]),
    (
        {"protocol": "TCP", "default": to(), "response_headers": {"X-A": "b"}},
        [("response_headers", "a TCP listener sends no HTTP responses")],
    ),
    (
        {"protocol": "TCP", "default": alb.Forward(group(), stickiness=60)},
        [("default_actions", "the stickiness of a Forward needs HTTP cookies; leave it out")],
    ),
]
OF_STREAM_GROUPS: list[tuple[alb.Forward, str]] = [
    (to(protocol="HTTP"), "its protocol is HTTP; use 'TCP', 'TLS' or None"),
    (to(protocol="HTTPS"), "its protocol is HTTPS; use 'TCP', 'TLS' or None"),
    (to(protocol_version="HTTP2"), "its protocol_version is HTTP2, but bytes are passed unchanged; leave it out, or use HTTP or HTTPS"),
    (to("https://10.0.0.1:443"), "its targets must not have http:// or https:// before them; TargetGroup(protocol='TLS') encrypts"),
    (to("10.0.0.2:80", "http://10.0.0.1:80"), "its targets must not have http:// or https:// before them"),
    (to(stickiness=alb.LbCookie()), "its stickiness depends on requests; use SourceAddress() or None"),
    (to(stickiness=alb.AppCookie("a")), "its stickiness depends on requests; use SourceAddress() or None"),
    (to(algorithm="consistent_hash"), "consistent_hash hashes host and path; use 'ip_hash'"),
    (to(algorithm=alb.ConsistentHash()), "consistent_hash hashes host and path; use 'ip_hash'"),
    (to(alb.Target("10.0.0.1", 80, max_concurrency=1)), "max_concurrency limits requests; use TunnelPolicy(max_tunnels=...)"),
]


@pytest.mark.parametrize(("settings", "expected"), BAD, ids=map(str, range(len(BAD))))
def test_bad_combination_is_told_with_its_path_and_what_to_do(settings: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Every fault, and no other."""
    faults = faults_of(**settings)
    assert len(faults) == len(expected), faults
    for fault, (path, words) in zip(faults, expected, strict=True):
        assert fault.startswith(f"{path}: " if words else path), fault
        assert words in fault, fault


@pytest.mark.parametrize("protocol", ["TCP", "TLS"])
@pytest.mark.parametrize(("forward", "words"), OF_STREAM_GROUPS, ids=map(str, range(len(OF_STREAM_GROUPS))))
def test_group_that_reads_requests_does_not_go_with_bytes(forward: alb.Forward, words: str, protocol: str) -> None:
    """It is good for HTTP, and says by name why it is not for this."""
    secure = {"certificates": CERTIFICATE} if protocol == "TLS" else {}
    (fault,) = faults_of(forward, protocol=protocol, **secure)
    assert fault.startswith(f"target group 'group' of a {protocol} listener: {words}")
    alb.Listener(80, forward)


def test_all_faults_are_told_together() -> None:
    """One after the other would be a day's work."""
    faults = faults_of(
        protocol="HTTPS", ssl_policy="x", alpn_policy="HTTP2Only", proxy_protocol="optional", request_header_names={"X-Other": "Host"}
    )
    paths = [fault.partition(":")[0] for fault in faults]
    assert paths == [
        "ssl_policy",
        "certificates",
        "alpn_policy",
        "trusted_networks",
        "request_header_names['X-Other']",
        "request_header_names['X-Other']",
    ]


@pytest.mark.parametrize("protocol", ["https", "UDP", None, ["HTTP"], 443], ids=repr)
def test_unknown_protocol_is_one_fault(protocol: Any) -> None:
    """Nothing else is guessed from it."""
    faults = faults_of(protocol=protocol)
    assert [fault.partition(":")[0] for fault in faults] == ["protocol"]


@pytest.mark.parametrize("rules", ["/a", [None], [rule(), 5]])
@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_what_is_no_rule_does_not_hide_the_rest(rules: Any, protocol: str) -> None:
    """It is told, and no exception of another kind comes of it."""
    faults = faults_of(to(), rules, protocol=protocol, trusted_networks="10.0.0.1/8")
    assert any(fault.startswith("rules[") for fault in faults)
    assert any(fault.startswith("trusted_networks") for fault in faults)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"protocol": "UDP"}, "protocol"),
        ({"proxy_protocol": "v3"}, "proxy_protocol"),
        ({"proxy_protocol": "required"}, "proxy_protocol"),
        ({"client_certificate": "cert.pem"}, "client_certificate"),
        ({"verify": ""}, "verify"),
        ({"verify": None}, "verify"),
    ],
    ids=str,
)
def test_bad_settings_of_a_group_are_told(settings: dict[str, Any], path: str) -> None:
    """Before any listener has it."""
    with pytest.raises(alb.ConfigurationError) as caught:
        group(**settings)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [path]


@pytest.mark.parametrize("settings", [{"protocol": "TCP"}, {"protocol": "TLS"}], ids=str)
def test_target_with_a_scheme_clashes_with_a_group_of_bytes(settings: dict[str, Any]) -> None:
    """TargetGroup(protocol="TLS") says it already."""
    with pytest.raises(alb.ConfigurationError, match="differs from the group's protocol"):
        group("https://10.0.0.1:443", **settings)
