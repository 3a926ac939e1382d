from __future__ import annotations

import math
from typing import Any

import attrs
import pytest

import albkit as alb


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


async def _well(_: alb.Target) -> bool:
    return True


class _Unhashable:
    __hash__ = None  # type: ignore[assignment]

    async def __call__(self, _: alb.Target) -> bool:
        return True


def test_health_check_has_albs_defaults() -> None:
    """GET / on the targets' own port every 30 seconds, 5 for an answer, 200 passes, 5 up and 2 down (docs/alb.md 1.8)."""
    assert attrs.asdict(alb.HealthCheck()) == {
        "path": "/",
        "port": None,
        "protocol": None,
        "interval": 30,
        "timeout": 5,
        "healthy_threshold": 5,
        "unhealthy_threshold": 2,
        "matcher": "200",
        "probe": None,
    }


def test_health_check_takes_its_path_by_place_and_nothing_else() -> None:
    """What people write most stands first; all else has to be named."""
    assert alb.HealthCheck("/up") == alb.HealthCheck(path="/up")
    with pytest.raises(TypeError):
        alb.HealthCheck("/up", 9000)  # type: ignore[misc]


def test_health_check_is_a_value() -> None:
    """Frozen, hashable, and equal to what was described alike."""
    check = alb.HealthCheck("/up", interval=10, probe=_well)
    assert {check, alb.HealthCheck("/up", interval=10, probe=_well)} == {check}
    assert check != alb.HealthCheck("/up", interval=10)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        check.path = "/"  # type: ignore[misc]


def test_health_check_takes_albs_word_for_the_targets_own_port() -> None:
    """`traffic-port` is `None` in other words (docs/alb.md 1.8), and equal to it."""
    assert alb.HealthCheck(port="traffic-port") == alb.HealthCheck()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("path", value) for value in ("/", "/up", "/up?full=1&x=%20", "/?", "//", "/" + "x" * 1023)],
        *[("port", value) for value in (None, 1, 80, 65535)],
        *[("protocol", value) for value in (None, "HTTP", "HTTPS", "TCP", "WEBSOCKET")],
        *[("interval", value) for value in (0.001, 0.5, 1, 300)],
        *[("timeout", value) for value in (0.001, 0.5, 1, 120)],
        *[(name, value) for name in ("healthy_threshold", "unhealthy_threshold") for value in (1, 2, 10)],
        *[("matcher", value) for value in ("200", "499", "200,202", "200-299", "200-200", "200-299,301,400-499", "404,200")],
        *[("matcher", value) for value in ("0", "99", "12", "0,12", "0, 12", "0-99", "0-5,12,20-99")],
        *[("probe", value) for value in (None, _well)],
    ],
)
def test_health_check_takes_what_its_range_says(name: str, value: Any) -> None:
    """Both ends of each range, fractions of a second, and `None` where a setting may be left out."""
    assert getattr(alb.HealthCheck(**{name: value}), name) == value


_NO_NUMBERS = ("20", b"", True, False, math.nan, [], ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            ("path", value)
            for value in ("", "up", "?x", "http://a/", "*", "/a b", "/a\n", "/\r\nX: y", "/\x7f", "/ä", "/a#b", "/" + "x" * 1024)
        ],
        *[("path", value) for value in (None, 7, b"/", ["/"])],
        *[("port", value) for value in (0, 65536, -1, 80.0, math.inf, "traffic port", *_NO_NUMBERS)],
        *[("protocol", value) for value in ("http", "tcp", "UDP", "WS", "", 7, ["HTTP"])],
        *[("interval", value) for value in (0, -1, 300.1, None, math.inf, *_NO_NUMBERS)],
        *[("timeout", value) for value in (0, -1, 120.1, None, math.inf, *_NO_NUMBERS)],
        *[
            (name, value)
            for name in ("healthy_threshold", "unhealthy_threshold")
            for value in (0, 11, 1.0, 2.5, None, math.inf, *_NO_NUMBERS)
        ],
        *[("matcher", value) for value in ("199", "500", "200-500", "100-200", "2000", "299-200", "200-299-399")],
        *[("matcher", value) for value in ("100", "0-100", "99-0", "0-200", "0,200", "200,0", "12-", "-1", "0-1-2")],
        *[("matcher", value) for value in ("", ",", "200,", ",200", "200,,202", "200-", "-200", "2xx", "200;202", "200\n", "٢٠٠")],
        *[("matcher", value) for value in (None, 200, 200.0, True, b"200", ["200"], range(200, 300))],
        *[("probe", value) for value in ("ask", "", 7, True, False, [_well], alb.Target, _Unhashable())],
    ],
)
def test_health_check_refuses_other_values(name: str, value: Any) -> None:
    """Out of range or of the wrong kind, one fault, and it names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HealthCheck(**{name: value})
    assert raised.value.subject == "HealthCheck"
    assert _paths(raised.value) == [name]


@pytest.mark.parametrize("matcher", ["2 00", "2 0 0", "200 202", "200 - 2 99", " ", "\t200"], ids=repr)
def test_health_check_refuses_a_matcher_whose_blanks_are_within_a_status(matcher: str) -> None:
    """What cannot be read is a fault that names the setting, never an error of another kind."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HealthCheck(matcher=matcher)
    assert _paths(raised.value) == ["matcher"]


def test_health_check_with_every_fault_tells_them_all() -> None:
    """All faults come at once, each with its path."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HealthCheck(
            "up",
            port=0,
            protocol="UDP",
            interval=0,
            timeout=0,
            healthy_threshold=0,
            unhealthy_threshold=11,
            matcher="500",
            probe=7,  # type: ignore[arg-type]
        )
    assert _paths(raised.value) == [attribute.name for attribute in attrs.fields(alb.HealthCheck)]


@pytest.mark.parametrize(
    ("matcher", "passing", "failing"),
    [
        ("200", (200,), (199, 201, 204, 299, 404, 500)),
        ("200,202", (200, 202), (199, 201, 203)),
        ("200-299", (200, 204, 299), (199, 300, 500)),
        ("204,300-302", (204, 300, 301, 302), (200, 205, 299, 303)),
        ("200-499", (200, 301, 404, 499), (100, 199, 500, 503)),
        ("200, 202", (200, 202), (201,)),
    ],
)
def test_matcher_tells_which_statuses_pass(matcher: str, passing: tuple[int, ...], failing: tuple[int, ...]) -> None:
    """Single ones and ranges with both their ends (docs/alb.md 5.4)."""
    check = alb.HealthCheck(matcher=matcher)
    assert all(check.passes(status) for status in passing)
    assert not any(check.passes(status) for status in failing)


@pytest.mark.parametrize(
    ("matcher", "passing", "failing"),
    [
        ("0", (0,), (1, 12, 99)),
        ("0,12", (0, 12), (1, 11, 13)),
        ("0-99", (0, 16, 99), (100, 200)),
        ("0-2, 14", (0, 1, 2, 14), (3, 13, 15)),
        # Untouched, it is ALB's default for gRPC.
        ("200", (12,), (0, 200)),
    ],
)
def test_matcher_says_which_grpc_codes_pass(matcher: str, passing: tuple[int, ...], failing: tuple[int, ...]) -> None:
    """Single ones and ranges with both their ends (docs/alb.md 1.8)."""
    check = alb.HealthCheck(matcher=matcher)
    assert all(check.passes_grpc(code) for code in passing)
    assert not any(check.passes_grpc(code) for code in failing)


@pytest.mark.parametrize(
    ("path", "version", "requested"),
    [
        ("/", "HTTP1", "/"),
        ("/", "HTTP2", "/"),
        ("/", "GRPC", "/AWS.ALB/healthcheck"),
        ("/up", "HTTP2", "/up"),
        ("/grpc.health.v1.Health/Check", "GRPC", "/grpc.health.v1.Health/Check"),
    ],
)
def test_path_depends_on_the_protocol_version(path: str, version: str, requested: str) -> None:
    """The default path of a GRPC group is ALB's method (docs/alb.md 1.8)."""
    assert alb.HealthCheck(path).path_for(version) == requested
