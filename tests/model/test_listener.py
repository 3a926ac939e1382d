from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb

_ANSWER = alb.FixedResponse(200)


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def _rule(priority: int, action: Any = _ANSWER) -> alb.Rule:
    return alb.Rule(priority, alb.PathPattern("/a"), action)


@pytest.mark.parametrize("port", [0, 1, 65535])
def test_listener_takes_any_port(port: int) -> None:
    """1 to 65535 as ALB, and 0 for a free one (docs/alb.md 1.3)."""
    assert alb.Listener(port, _ANSWER).port == port


@pytest.mark.parametrize("port", [-1, 65536, "80", 80.0, None, True], ids=repr)
def test_listener_refuses_other_ports(port: Any) -> None:
    """Out of range, or no whole number."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(port, _ANSWER)
    assert _paths(raised.value) == ["port"]


def test_listener_takes_one_rule_and_action_or_lists() -> None:
    """Lists and single items make equal listeners, and equal listeners are one key."""
    listener = alb.Listener(80, _ANSWER, _rule(1))
    assert listener == alb.Listener(80, [_ANSWER], rules=[_rule(1)])
    assert {listener, alb.Listener(80, [_ANSWER], [_rule(1)])} == {listener}
    assert listener.default_action is _ANSWER
    assert alb.Listener(80, _ANSWER).rules == ()


def test_listener_has_the_decided_defaults() -> None:
    """HTTP on all interfaces, without a name."""
    listener = alb.Listener(80, _ANSWER)
    assert (listener.name, listener.host, listener.protocol) == (None, None, "HTTP")


def test_listener_with_a_priority_twice_is_refused() -> None:
    """Priorities are unique per listener (docs/alb.md 1.4); the fault names both rules."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, _ANSWER, [_rule(1), _rule(2), _rule(1), _rule(1)])
    assert _paths(raised.value) == ["rules[2].priority", "rules[3].priority"]
    assert "rules[0]" in raised.value.faults[0]


def test_listener_with_every_fault_tells_them_all() -> None:
    """All at once, each with its path from the listener."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(70000, [], ["/a", _rule(1), _rule(1)], name="-a", host="", protocol="HTTP3")
    assert raised.value.subject == "Listener"
    assert sorted(_paths(raised.value)) == ["default_actions", "host", "name", "port", "protocol", "rules[0]", "rules[2].priority"]


@pytest.mark.parametrize("action", ["404", None, alb.TargetGroup("api")], ids=["text", "None", "a group"])
def test_listener_without_a_default_action_is_refused(action: Any) -> None:
    """DefaultActions are required (docs/alb.md 1.3), and only actions are."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, action)
    assert _paths(raised.value)[0].startswith("default_actions")


@pytest.mark.parametrize("host", ["", 7, b"127.0.0.1"], ids=repr)
def test_listener_host_that_is_no_text_is_refused(host: Any) -> None:
    """None means all interfaces; nothing else does."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, _ANSWER, host=host)
    assert _paths(raised.value) == ["host"]


def test_listener_knows_every_group_of_weighted_forwards() -> None:
    """Those of all weights, 0 among them."""
    groups = [alb.TargetGroup(name) for name in "abc"]
    rules = [_rule(1, alb.Forward({groups[2]: 0, groups[0]: 1}))]
    assert alb.Listener(80, alb.Forward({groups[0]: 1, groups[1]: 0}), rules).groups == tuple(groups)


_ALBS_FIELDS = [
    "Strict-Transport-Security",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Credentials",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
]


@pytest.mark.parametrize("name", [*_ALBS_FIELDS, "Server", "X-Anything"])
def test_listener_takes_albs_response_headers(name: str) -> None:
    """The fields of docs/alb.md 1.3 and others, with values of up to 1 KB of ALB's characters."""
    value = ("max-age=1; A_ :;.,/'?!(){}[]@<>=-+*#&`|~^%" + "x" * 1024)[:1024]
    assert alb.Listener(80, _ANSWER, response_headers={name: value}).response_headers == ((name, value),)


def test_listener_with_response_headers_is_a_value() -> None:
    """A mapping makes a hashable listener; Server may be left out."""
    listener = alb.Listener(80, _ANSWER, response_headers={"Server": None, "X-A": "b"})
    assert listener.response_headers == (("Server", None), ("X-A", "b"))
    assert {listener, alb.Listener(80, _ANSWER, response_headers=[("Server", None), ("X-A", "b")])} == {listener}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"X-A": "b" * 1025}, "response_headers['X-A']"),
        ({"X-A": ""}, "response_headers['X-A']"),
        ({"X-A": None}, "response_headers['X-A']"),
        ({"X-A": 7}, "response_headers['X-A']"),
        ({"X-A": "b\r\nX-B: c"}, "response_headers['X-A']"),
        ({"X-A": "\u00e4"}, "response_headers['X-A']"),
        ({"X A": "b"}, "response_headers['X A']"),
        ({"": "b"}, "response_headers['']"),
        ({7: "b"}, "response_headers[7]"),
        ({"Content-Length": "0"}, "response_headers['Content-Length']"),
        ({"transfer-encoding": "chunked"}, "response_headers['transfer-encoding']"),
        ({"Connection": "close"}, "response_headers['Connection']"),
        ({"Set-Cookie": "a=b"}, "response_headers['Set-Cookie']"),
        ({"X-A": "b", "x-a": "c"}, "response_headers['x-a']"),
        ("X-A: b", "response_headers[0]"),
        (["X-A"], "response_headers[0]"),
        (7, "response_headers[0]"),
    ],
    ids=str,
)
def test_listener_refuses_other_response_headers(fields: Any, path: str) -> None:
    """Too long, no field value, framing, a name twice, or no mapping: the fault names the field."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, _ANSWER, response_headers=fields)
    assert [fault.partition(": ")[0] for fault in raised.value.faults] == [path]


def test_listener_knows_its_groups_once_each() -> None:
    """Every group that a rule or the default action sends to, in order of appearance."""
    first, second = alb.TargetGroup("first"), alb.TargetGroup("second")
    rules = [_rule(1, alb.Forward(second)), _rule(2), _rule(3, alb.Forward(first)), _rule(4, alb.Forward(second))]
    assert alb.Listener(80, alb.Forward(first), rules).groups == (first, second)
    assert alb.Listener(80, _ANSWER).groups == ()


def test_listener_knows_its_forwards() -> None:
    """The default action's, then those of the rules in their order, hooks and answers left out, and the same one as often as it stands."""

    async def hook(_: alb.Request) -> alb.Response | None:
        return None

    to_first, to_second = alb.Forward(alb.TargetGroup("first")), alb.Forward(alb.TargetGroup("second"))
    rules = [_rule(2, [hook, to_second]), _rule(1), _rule(3, to_first)]
    assert alb.Listener(80, [hook, to_first], rules).forwards == (to_first, to_second, to_first)
    assert alb.Listener(80, _ANSWER, _rule(1, to_second)).forwards == (to_second,)
    assert alb.Listener(80, _ANSWER).forwards == ()


def test_listener_cannot_be_changed() -> None:
    """A listener is a value."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        alb.Listener(80, _ANSWER).port = 81  # type: ignore[misc]


_WEB = "unix:/run/web.sock"


def test_listener_has_the_decided_sockets() -> None:
    """A port of its own with room for 4096 connections that wait."""
    listener = alb.Listener(80, _ANSWER)
    assert (listener.socket_mode, listener.inherited_socket, listener.reuse_port, listener.backlog) == (None, None, False, 4096)


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "unix:/"},
        {"host": "unix:" + "x" * 107},
        {"host": "unix:./@web"},
        {"host": _WEB, "socket_mode": 0},
        {"host": _WEB, "socket_mode": 0o777},
        {"inherited_socket": 0},
        {"inherited_socket": 2**31 - 1},
        {"inherited_socket": "web.socket"},
        {"inherited_socket": "x" * 255},
        {"reuse_port": True},
        {"backlog": 1},
        {"backlog": 65535},
    ],
    ids=str,
)
def test_listener_takes_every_kind_of_socket(settings: Any) -> None:
    """Up to the bounds."""
    listener = alb.Listener(0, _ANSWER, **settings)
    assert {name: getattr(listener, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("settings", "paths"),
    [
        ({"host": "unix:"}, ["host"]),
        ({"host": "unix:" + "x" * 108}, ["host"]),
        ({"host": "unix:" + "\u00e4" * 54}, ["host"]),
        ({"host": "unix:/a\0b"}, ["host"]),
        ({"host": "unix:/\ud800"}, ["host"]),
        ({"host": "unix:@web"}, ["host"]),
        ({"host": _WEB, "reuse_port": True}, ["reuse_port"]),
        ({"socket_mode": 0o600}, ["socket_mode"]),
        ({"host": "127.0.0.1", "socket_mode": 0o600}, ["socket_mode"]),
        ({"host": _WEB, "socket_mode": -1}, ["socket_mode"]),
        ({"host": _WEB, "socket_mode": 0o1000}, ["socket_mode"]),
        ({"host": _WEB, "socket_mode": "660"}, ["socket_mode"]),
        ({"host": _WEB, "socket_mode": True}, ["socket_mode"]),
        ({"inherited_socket": -1}, ["inherited_socket"]),
        ({"inherited_socket": 2**31}, ["inherited_socket"]),
        ({"inherited_socket": True}, ["inherited_socket"]),
        ({"inherited_socket": 3.0}, ["inherited_socket"]),
        ({"inherited_socket": ""}, ["inherited_socket"]),
        ({"inherited_socket": "a:b"}, ["inherited_socket"]),
        ({"inherited_socket": "a b"}, ["inherited_socket"]),
        ({"inherited_socket": "x" * 256}, ["inherited_socket"]),
        ({"inherited_socket": 3, "host": "127.0.0.1"}, ["inherited_socket"]),
        ({"inherited_socket": 3, "host": _WEB, "socket_mode": 0o600}, ["inherited_socket"]),
        ({"inherited_socket": 3, "socket_mode": 0o600}, ["socket_mode"]),
        ({"inherited_socket": 3, "reuse_port": True}, ["reuse_port"]),
        ({"reuse_port": 1}, ["reuse_port"]),
        ({"backlog": 0}, ["backlog"]),
        ({"backlog": 65536}, ["backlog"]),
        ({"backlog": 1.5}, ["backlog"]),
        ({"backlog": True}, ["backlog"]),
        ({"host": "unix:", "socket_mode": 0o1000, "reuse_port": "no", "backlog": 0}, ["backlog", "host", "reuse_port", "socket_mode"]),
    ],
    ids=ascii,
)
def test_listener_refuses_other_sockets(settings: Any, paths: list[str]) -> None:
    """Out of range, or two that do not go together; each fault once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Listener(80, _ANSWER, **settings)
    assert sorted(_paths(raised.value)) == paths


def test_listener_on_a_unix_socket_knows_its_path() -> None:
    """And no other listener has one."""
    assert alb.Listener(0, _ANSWER, host=_WEB).socket_path == "/run/web.sock"
    assert alb.Listener(0, _ANSWER, host="127.0.0.1").socket_path is None
    assert alb.Listener(0, _ANSWER, inherited_socket="web").socket_path is None


def test_listeners_on_one_socket_are_refused_together() -> None:
    """As two on one port are: by path whatever the port is, and by what is inherited; free ports are not shared."""

    def fault(*listeners: alb.Listener) -> list[str]:
        with pytest.raises(alb.ConfigurationError) as raised:
            alb.LoadBalancer(listeners)
        return list(raised.value.faults)

    assert fault(alb.Listener(1, _ANSWER, host=_WEB), alb.Listener(2, _ANSWER, host=_WEB)) == [
        "listeners[1].host: 'unix:/run/web.sock' is already used by listeners[0]"
    ]
    assert fault(alb.Listener(1, _ANSWER, inherited_socket="web"), alb.Listener(2, _ANSWER, inherited_socket="web")) == [
        "listeners[1].inherited_socket: 'web' is already used by listeners[0]"
    ]
    assert fault(alb.Listener(80, _ANSWER, reuse_port=True), alb.Listener(80, _ANSWER, reuse_port=True)) == [
        "listeners[1].port: 80 is already used by listeners[0]"
    ]
    different = [
        {"host": _WEB},
        {"host": "unix:/run/b"},
        {"inherited_socket": 3},
        {"inherited_socket": 4},
        {"inherited_socket": "3"},
        {},
        {},
    ]
    alb.LoadBalancer([alb.Listener(0, _ANSWER, **settings) for settings in different])  # type: ignore[arg-type]
