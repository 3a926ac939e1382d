from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.attributes import ATTRIBUTES
from albkit.model.tunnel import fault_of_close


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


async def _allowed(_: alb.Tunnel) -> bool:
    return True


def test_tunnel_policy_has_the_decided_defaults() -> None:
    """Without a word there are no pings and no limits, frames are followed, and the idle timeout is the load balancer's."""
    assert attrs.asdict(alb.TunnelPolicy()) == {
        "idle_timeout": None,
        "ping_interval": None,
        "pong_timeout": 20,
        "max_age": None,
        "max_tunnels": None,
        "recheck": None,
        "recheck_every": 60,
        "max_message_size": None,
        "drain_code": 1001,
        "drain_spread": 30,
        "protocols": None,
        "frames": True,
    }


def test_tunnel_policy_takes_its_first_settings_by_place() -> None:
    """In the order of the contract; all behind `recheck_every` have to be named."""
    assert alb.TunnelPolicy(300, 20, 10, 3600, 50, _allowed, 30) == alb.TunnelPolicy(
        idle_timeout=300, ping_interval=20, pong_timeout=10, max_age=3600, max_tunnels=50, recheck=_allowed, recheck_every=30
    )
    with pytest.raises(TypeError):
        alb.TunnelPolicy(300, 20, 10, 3600, 50, _allowed, 30, 1024)  # type: ignore[misc]


def test_tunnel_policy_is_a_value() -> None:
    """Frozen, hashable, and equal to what was described alike."""
    policy = alb.TunnelPolicy(60, 20, protocols=["websocket"])
    assert {policy, alb.TunnelPolicy(60, 20, protocols="websocket")} == {policy}
    assert policy != alb.TunnelPolicy(60, 20)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        policy.idle_timeout = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("idle_timeout", "ping_interval", "max_age") for value in (None, 0.001, 1, 1.5, 31_536_000)],
        *[(name, value) for name in ("pong_timeout", "recheck_every") for value in (0.001, 1, 1.5, 31_536_000)],
        *[(name, value) for name in ("max_tunnels", "max_message_size") for value in (None, 1, 10**12)],
        *[("drain_code", value) for value in (1000, 1001, 1003, 1007, 1012, 1014, 3000, 4999)],
        *[("drain_spread", value) for value in (0, 0.1, 3600)],
        *[("frames", value) for value in (True, False)],
    ],
)
def test_tunnel_policy_takes_what_its_range_says(name: str, value: Any) -> None:
    """Fractions of a second, both ends of each range, and `None` where a setting may be left out."""
    assert getattr(alb.TunnelPolicy(**{name: value}), name) == value


_NO_NUMBERS = ("20", b"", True, False, math.nan, [], (), alb.TunnelPolicy())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("idle_timeout", "ping_interval", "max_age") for value in (0, -1, -0.5, -math.inf, *_NO_NUMBERS)],
        *[(name, value) for name in ("pong_timeout", "recheck_every") for value in (0, -1, None, -math.inf, *_NO_NUMBERS)],
        *[(name, value) for name in ("max_tunnels", "max_message_size") for value in (0, -1, 1.0, 1.5, math.inf, *_NO_NUMBERS)],
        *[("drain_code", value) for value in (0, 999, 5000, 1001.0, None, math.inf, *_NO_NUMBERS)],
        *[("drain_spread", value) for value in (-0.1, None, -math.inf, *_NO_NUMBERS)],
        *[("frames", value) for value in (0, 1, "yes", "", None)],
        *[("recheck", value) for value in ("ask", "", 7, True, False, [_allowed])],
    ],
)
def test_tunnel_policy_refuses_other_values(name: str, value: Any) -> None:
    """Out of range or of the wrong kind, one fault, and it names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TunnelPolicy(**{name: value})
    assert raised.value.subject == "TunnelPolicy"
    assert _paths(raised.value) == [name]


def test_every_number_of_a_tunnel_policy_stands_in_the_table_of_settings() -> None:
    """What is no number and no switch is a callable or a list of protocols, and has its range on the reference page alone."""
    names = {field.name for field in attrs.fields(alb.TunnelPolicy)}
    assert names - {name for owner, name in ATTRIBUTES if owner == "TunnelPolicy"} == {"recheck", "protocols"}


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999])
def test_tunnel_policy_refuses_a_drain_code_that_no_frame_may_hold(code: int) -> None:
    """Reserved codes are for what was not received (RFC 6455 section 7.4.1), and 1016 to 2999 are nobody's yet; the fault says what is."""
    with pytest.raises(alb.ConfigurationError, match="3000 to 4999") as raised:
        alb.TunnelPolicy(drain_code=code)
    assert _paths(raised.value) == ["drain_code"]


@pytest.mark.parametrize(
    ("protocols", "kept"),
    [
        (None, None),
        ([], ()),
        ("websocket", ("websocket",)),
        (["WebSocket", "foo/2"], ("WebSocket", "foo/2")),
        (("h2c2", "x-a.b!~1"), ("h2c2", "x-a.b!~1")),
        ({"websocket"}, ("websocket",)),
    ],
    ids=repr,
)
def test_tunnel_policy_takes_one_protocol_or_a_list(protocols: Any, kept: tuple[str, ...] | None) -> None:
    """As in an Upgrade field; `None` is for any, an empty list for none."""
    assert alb.TunnelPolicy(protocols=protocols).protocols == kept


@pytest.mark.parametrize(
    "protocol",
    ["", " ", "a b", "a,b", "a/", "/a", "a/b/c", "websocket\n", "wébsocket", "h2c", "H2C", b"websocket", 7, True, None, ["websocket"]],
    ids=repr,
)
def test_tunnel_policy_refuses_what_is_no_protocol(protocol: Any) -> None:
    """No token, no text, or h2c, which is never passed on: the fault names its place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TunnelPolicy(protocols=["websocket", protocol])
    assert _paths(raised.value) == ["protocols[1]"]


def test_tunnel_policy_keeps_no_list_of_its_caller() -> None:
    """A list that its owner changes later changes no policy."""
    protocols = ["websocket"]
    policy = alb.TunnelPolicy(protocols=protocols)  # type: ignore[arg-type]
    protocols.append("foo")
    assert policy.protocols == ("websocket",)


@pytest.mark.parametrize("interval", [10, 10.5, 1000])
def test_tunnel_policy_with_pings_behind_its_idle_timeout_is_refused(interval: float) -> None:
    """The tunnel would end before its first ping; the fault names both figures."""
    with pytest.raises(alb.ConfigurationError, match=f"{interval:g} is not below the idle timeout of 10 seconds") as raised:
        alb.TunnelPolicy(idle_timeout=10, ping_interval=interval)
    assert _paths(raised.value) == ["ping_interval"]
    assert alb.TunnelPolicy(idle_timeout=10, ping_interval=9.99).ping_interval == 9.99


def test_tunnel_policy_without_an_idle_timeout_is_judged_by_the_one_it_will_have() -> None:
    """Alone it takes any interval, and says what is wrong under an idle timeout of the load balancer's."""
    policy = alb.TunnelPolicy(ping_interval=90)
    assert policy.fault_of_idle_timeout(91) is None
    assert "90" in (policy.fault_of_idle_timeout(90) or "")
    assert alb.TunnelPolicy().fault_of_idle_timeout(1) is None


@pytest.mark.parametrize("name", ["ping_interval", "max_message_size"])
def test_tunnel_policy_without_frames_can_do_nothing_between_frames(name: str) -> None:
    """Pings and a limit on messages need frames; the fault names the setting that would have no effect."""
    settings: dict[str, Any] = {name: 5}
    with pytest.raises(alb.ConfigurationError, match="requires frames=True") as raised:
        alb.TunnelPolicy(frames=False, **settings)
    assert _paths(raised.value) == [name]


def test_tunnel_policy_without_frames_takes_all_that_needs_none() -> None:
    """Deadlines, limits on tunnels and protocols hold for bytes as well."""
    alb.TunnelPolicy(60, None, 5, 3600, 10, _allowed, 30, drain_code=1012, drain_spread=5, protocols="foo", frames=False)


def test_tunnel_policy_with_every_fault_tells_them_all() -> None:
    """All at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TunnelPolicy(
            idle_timeout=0,
            ping_interval="20",  # type: ignore[arg-type]
            pong_timeout=0,
            max_age=-1,
            max_tunnels=0,
            recheck="ask",  # type: ignore[arg-type]
            recheck_every=0,
            max_message_size=0,
            drain_code=1005,
            drain_spread=-1,
            protocols=["h2c", ""],  # type: ignore[arg-type]
            frames=None,  # type: ignore[arg-type]
        )
    assert sorted(_paths(raised.value)) == [
        "drain_code",
        "drain_spread",
        "frames",
        "idle_timeout",
        "max_age",
        "max_message_size",
        "max_tunnels",
        "ping_interval",
        "pong_timeout",
        "protocols[0]",
        "protocols[1]",
        "recheck",
        "recheck_every",
    ]


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4000, 4999])
def test_close_code_that_may_be_sent_is_no_fault(code: int) -> None:
    """Those of RFC 6455 section 7.4 and of the registry behind it, and those for libraries and programs."""
    assert fault_of_close(code, "") is None


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 1000.0, "1000", True, None], ids=repr)
def test_close_code_that_may_not_be_sent_is_a_fault(code: Any) -> None:
    """It names the code and those that may be sent."""
    wrong = fault_of_close(code, "")
    assert wrong is not None
    assert repr(code) in wrong
    assert "1007 to 1014" in wrong


@pytest.mark.parametrize("reason", ["", "x" * 123, "é" * 61 + "x", "\U0001f6d1" * 30], ids=["none", "123", "123 of UTF-8", "120 of UTF-8"])
def test_close_reason_that_has_room_is_no_fault(reason: str) -> None:
    """A control frame has 125 bytes, and the code takes two of them."""
    assert fault_of_close(1000, reason) is None


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("x" * 124, "124 bytes"),
        ("é" * 62, "124 bytes"),
        ("\ud800", "surrogates"),
        (b"bye", "not text"),
        (None, "not text"),
        (7, "not text"),
    ],
    ids=["124", "124 of UTF-8", "lone surrogate", "bytes", "None", "number"],
)
def test_close_reason_that_fits_no_frame_is_a_fault(reason: Any, said: str) -> None:
    """Too long, not UTF-8, or no text at all."""
    assert said in (fault_of_close(1000, reason) or "")


def test_tunnel_ends_are_words() -> None:
    """They compare and print as text; programs outside know them by these words."""
    assert [str(end) for end in alb.TunnelEnd] == [
        "client",
        "target",
        "idle",
        "pong timeout",
        "max age",
        "recheck",
        "drain",
        "stop",
        "closed",
        "message too large",
        "error",
    ]
    assert alb.TunnelEnd.PONG_TIMEOUT == "pong timeout"
