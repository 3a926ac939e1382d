from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.target import target_from

_FORMS = [
    pytest.param("10.0.0.5:8000", alb.Target("10.0.0.5", 8000), "10.0.0.5:8000", id="v4"),
    pytest.param("api.internal:80", alb.Target("api.internal", 80), "api.internal:80", id="name"),
    pytest.param("my_service:1", alb.Target("my_service", 1), "my_service:1", id="name with underscore"),
    pytest.param("localhost:65535", alb.Target("localhost", 65535), "localhost:65535", id="greatest port"),
    pytest.param("[::1]:8000", alb.Target("::1", 8000), "[::1]:8000", id="v6"),
    pytest.param("[2001:db8::10.0.0.1]:80", alb.Target("2001:db8::10.0.0.1", 80), "[2001:db8::10.0.0.1]:80", id="v6 with v4 in it"),
    pytest.param("[fe80::1%eth0]:80", alb.Target("fe80::1%eth0", 80), "[fe80::1%eth0]:80", id="v6 with zone"),
    pytest.param("http://10.0.0.7:8080", alb.Target("10.0.0.7", 8080, protocol="HTTP"), "10.0.0.7:8080", id="http"),
    pytest.param("http://10.0.0.7", alb.Target("10.0.0.7", 80, protocol="HTTP"), "10.0.0.7:80", id="http without port"),
    pytest.param("http://10.0.0.7/", alb.Target("10.0.0.7", 80, protocol="HTTP"), "10.0.0.7:80", id="http with slash"),
    pytest.param("HTTP://[::1]:81/", alb.Target("::1", 81, protocol="HTTP"), "[::1]:81", id="http v6"),
    pytest.param("https://10.0.0.7", alb.Target("10.0.0.7", 443, protocol="HTTPS"), "10.0.0.7:443", id="https without port"),
    pytest.param("HTTPS://[::1]:8443/", alb.Target("::1", 8443, protocol="HTTPS"), "[::1]:8443", id="https v6"),
    pytest.param("unix:/run/web.sock", alb.Target("unix:/run/web.sock"), "unix:/run/web.sock", id="unix"),
]

_BAD = [
    pytest.param("", id="empty"),
    pytest.param("10.0.0.5", id="no port"),
    pytest.param("10.0.0.5:", id="empty port"),
    pytest.param("10.0.0.5:0", id="port 0"),
    pytest.param("10.0.0.5:65536", id="port too large"),
    pytest.param("10.0.0.5:123456", id="port of six digits"),
    pytest.param("10.0.0.5:-1", id="negative port"),
    pytest.param("10.0.0.5:80a", id="port with letters"),
    pytest.param("10.0.0.5: 80", id="blank before port"),
    pytest.param("10.0.0.5:\u0668\u0660", id="port in other digits"),
    pytest.param(":80", id="no host"),
    pytest.param("a b:80", id="blank in host"),
    pytest.param("-a:80", id="hyphen first"),
    pytest.param("a/b:80", id="slash in host"),
    pytest.param("user@a:80", id="userinfo"),
    pytest.param("::1:80", id="v6 without brackets"),
    pytest.param("[::1]", id="v6 without port"),
    pytest.param("[::1:80", id="bracket open"),
    pytest.param("[]:80", id="brackets empty"),
    pytest.param("[::zz]:80", id="v6 with other letters"),
    pytest.param("[:]:80", id="v6 of one colon"),
    pytest.param("[1:2]:80", id="v6 too short"),
    pytest.param("[1::2::3]:80", id="v6 with two gaps"),
    pytest.param("[1:2:3:4:5:6:7:8:9]:80", id="v6 too long"),
    pytest.param("https://10.0.0.7/x", id="https with path"),
    pytest.param("ftp://10.0.0.7", id="another scheme"),
    pytest.param("http://", id="http without host"),
    pytest.param("http://a/path", id="http with path"),
    pytest.param("http://a//", id="http with slashes"),
    pytest.param("http://a?x", id="http with query"),
    pytest.param("http://a#x", id="http with fragment"),
    pytest.param("http://u:p@a:80", id="http with userinfo"),
    pytest.param("http://a:99999", id="http with port too large"),
    pytest.param("http://a:99999/", id="http with port too large and slash"),
    pytest.param("http://a:x/", id="http with port of letters and slash"),
    pytest.param("http://[::1/", id="http with bracket open and slash"),
    pytest.param("unix:", id="unix without path"),
    pytest.param("unix:/" + "a" * 107, id="unix path too long for a socket"),
    pytest.param("unix:/a\0b", id="unix path with NUL"),
    pytest.param(None, id="None"),
    pytest.param(80, id="number"),
    pytest.param(b"a:80", id="bytes"),
    pytest.param(("a", 80), id="pair"),
]


@pytest.mark.parametrize(("text", "target", "printed"), _FORMS)
def test_target_is_read_from_text_and_prints_as_host_and_port(text: str, target: alb.Target, printed: str) -> None:
    """Each form names the same target as its parts do, and what it prints is a form again, of the same address."""
    assert target_from(text) == target
    assert str(target) == printed
    again = target_from(printed)
    assert (again.host, again.port, str(again)) == (target.host, target.port, printed)


@pytest.mark.parametrize("value", _BAD)
def test_target_from_anything_else_is_a_configuration_error(value: Any) -> None:
    """A form that is none names itself and says what would be right."""
    with pytest.raises(alb.ConfigurationError) as raised:
        target_from(value)
    assert len(raised.value.faults) >= 1
    assert repr(value) in str(raised.value)


@pytest.mark.parametrize(
    ("host", "port", "paths"),
    [
        pytest.param("", 80, ["host"], id="no host"),
        pytest.param(None, 80, ["host"], id="host None"),
        pytest.param("a:80", 80, ["host"], id="port in host"),
        pytest.param("[::1]", 80, ["host"], id="brackets in host"),
        pytest.param(":", 80, ["host"], id="a colon is no address"),
        pytest.param("1:2", 80, ["host"], id="half an address"),
        pytest.param("http://a", 80, ["host"], id="scheme in host"),
        pytest.param("a", None, ["port"], id="no port"),
        pytest.param("a", 0, ["port"], id="port 0"),
        pytest.param("a", 65536, ["port"], id="port too large"),
        pytest.param("a", "80", ["port"], id="port as text"),
        pytest.param("a", 80.0, ["port"], id="port as float"),
        pytest.param("a", True, ["port"], id="port as bool"),
        pytest.param("a b", 0, ["host", "port"], id="both"),
        pytest.param("unix:/a", 80, ["port"], id="unix with port"),
        pytest.param("unix:", 80, ["host", "port"], id="unix with port and no path"),
    ],
)
def test_target_of_wrong_parts_tells_every_fault(host: Any, port: Any, paths: list[str]) -> None:
    """All faults come at once, each with the part it is in."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Target(host, port)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == paths


def test_target_unix_knows_its_path() -> None:
    """Only a unix socket has a path."""
    assert alb.Target("unix:/run/web.sock").path == "/run/web.sock"
    assert alb.Target("a", 80).path is None


def test_target_with_the_longest_unix_path_is_taken() -> None:
    """107 bytes fit a socket address, as bytes and not as characters."""
    assert target_from("unix:/" + "a" * 106).path == "/" + "a" * 106
    with pytest.raises(alb.ConfigurationError):
        target_from("unix:/" + "ä" * 60)


def test_target_cannot_be_changed_and_can_be_a_key() -> None:
    """A target is a value: equal ones are one key."""
    target = alb.Target("a", 80)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        target.port = 81  # type: ignore[misc]
    assert {target, alb.Target("a", 80), target_from("a:80")} == {target}
    assert target != alb.Target("a", 81)


def test_target_from_a_target_is_that_target() -> None:
    """A target that is one already is not made anew."""
    target = alb.Target("a", 80)
    assert target_from(target) is target


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("weight", [0, 1, 999], [-1, 1000, 1.5, "1", None, True]),
        ("standby", [True, False], [0, 1, None, "on"]),
        ("protocol", [None, "HTTP", "HTTPS"], ["http", "", 7]),
        ("max_concurrency", [None, 1, 1000000], [0, -1, 1000001, 1.5, 1.0, "1", True]),
        (
            "route",
            [None, "node1", "a" * 100, "x.node1", "10.0.0.5:80", "!#$%&'()*+-./:<=>?@[]^_`{|}~"],
            ["", "a b", "a,b", "a;b", 'a"', "a\\"],
        ),
        ("route", [], ["a" * 101, "ä", "a\n", "\t", "\x7f", 7, b"node1", True]),
        ("server_name", [None, "api.internal", "10.0.0.5", "::1", "my_service"], ["", "a b", "a:80", "http://a", "[::1]", 7, b"a", True]),
    ],
)
def test_target_takes_settings_in_range_and_nothing_else(name: str, good: list[Any], wrong: list[Any]) -> None:
    """Each at both ends of its range; the fault names the setting."""
    for value in good:
        assert getattr(alb.Target("a", 80, **{name: value}), name) == value
    for value in wrong:
        with pytest.raises(alb.ConfigurationError) as raised:
            alb.Target("a", 80, **{name: value})
        assert [fault.partition(":")[0] for fault in raised.value.faults] == [name]


def test_target_has_no_limit_route_or_server_name_by_default() -> None:
    """Weight 1, and every other setting says nothing."""
    target = alb.Target("a", 80)
    assert (target.weight, target.standby, target.protocol) == (1, False, None)
    assert (target.max_concurrency, target.route, target.server_name) == (None, None, None)


def test_target_with_every_fault_tells_them_all() -> None:
    """Settings and parts at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Target("a b", 0, weight=-1, standby=1, protocol="SPDY", max_concurrency=0, route="", server_name="")  # type: ignore[arg-type]
    paths = [fault.partition(":")[0] for fault in raised.value.faults]
    assert sorted(paths) == ["host", "max_concurrency", "port", "protocol", "route", "server_name", "standby", "weight"]


@pytest.mark.parametrize("name", ["weight", "max_concurrency", "route", "server_name"])
def test_target_is_another_value_with_another_setting_but_at_the_same_address(name: str) -> None:
    """Its identity is its address; the value tells that something has changed."""
    value: Any = "b" if name in ("route", "server_name") else 2
    changed = alb.Target("a", 80, **{name: value})
    assert changed != alb.Target("a", 80)
    assert str(changed) == str(alb.Target("a", 80))


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        ("ws://chat.example.com", "http://chat.example.com"),
        ("WSS://chat.example.com:9000/", "https://chat.example.com:9000"),
        ("wss://[::1]:9000/socket", "https://[::1]:9000"),
    ],
)
def test_target_of_a_websockets_url_is_refused_with_what_to_write(value: str, instead: str) -> None:
    """An upgrade goes over http:// and https://; what is to be written is taken as it stands."""
    with pytest.raises(alb.ConfigurationError) as raised:
        target_from(value)
    (fault,) = raised.value.faults
    assert fault.startswith(f"{value!r} is a WebSocket URL; write {instead!r}: ")
    assert target_from(instead).protocol == instead.partition(":")[0].upper()


def test_target_with_a_scheme_in_its_host_is_told_where_schemes_go() -> None:
    """Two places, and this is neither."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Target("wss://chat.example.com", 443)
    assert "give the whole URL as text, 'https://host:port', or use protocol=" in raised.value.faults[0]
