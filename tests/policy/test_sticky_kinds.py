from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import formatdate
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead
from albkit.policy.hash_ring import HashRing, place_of
from albkit.policy.stickiness import stickiness_for
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_NOW = 1_790_000_123.5
_SECRET = "a secret of the house"
_SETS = b"Set-Cookie: JSESSIONID=8A5F; Path=/"
_APP = alb.AppCookie("JSESSIONID", 3600)
_SEALED = alb.AppCookie("JSESSIONID", 3600, secrets=_SECRET)


def _response(*lines: bytes) -> ResponseHead:
    response = ResponseHead()
    response.lines = [b"HTTP/1.1 200 OK", b"Content-Length: 0", *lines]
    return response


class _Sticky:
    """One instance of a sticky group."""

    def __init__(self, setting: Any, targets: Sequence[Any] = ("a:80", "b:80"), name: str = "api") -> None:
        self.group = TargetGroupState(alb.TargetGroup(name, list(targets), stickiness=setting))
        made = stickiness_for(setting, self.group, FakeClock())
        assert made is not None
        self.stickiness = made
        self.members = list(self.group.members.values())
        self.first, self.second = self.members[:2]
        self.stickiness.settle(tuple(self.members))

    def bound(self, cookies: bytes = b"", target: str = "/", now: float = _NOW) -> str | None:
        member = self.stickiness.target(request_for(target, cookie=cookies), now)
        return member.address if member is not None else None

    def refuses(self, cookies: bytes = b"", target: str = "/", now: float = _NOW) -> bool:
        return self.stickiness.refuses(request_for(target, cookie=cookies), now)

    def lines(
        self, member: TargetState, cookies: bytes = b"", *lines: bytes, now: float = _NOW, fields: Sequence[tuple[str, str]] = ()
    ) -> list[bytes]:
        return self.stickiness.fields(member, request_for(cookie=cookies, fields=fields), _response(*lines), now).split(b"\r\n")

    def value(self, member: TargetState, now: float = _NOW) -> bytes:
        """The value of `AWSALBAPP-0` that the member's first response sets."""
        return _values(self.lines(member, b"", _SETS, now=now))[0]


def _values(lines: list[bytes]) -> list[bytes]:
    """Of the four cookies, in their order."""
    values = []
    for shard, line in enumerate(lines):
        match = re.match(rb"Set-Cookie: AWSALBAPP-(\d)=([^;]*); ", line)
        assert match is not None
        assert int(match[1]) == shard
        values.append(match[2])
    return values


def test_no_stickiness_is_none() -> None:
    """`None` stands for no stickiness at all."""
    assert stickiness_for(None, TargetGroupState(alb.TargetGroup("api", "a:80")), FakeClock()) is None


# AppCookie


@pytest.mark.parametrize("setting", [_APP, _SEALED], ids=["plain", "sealed"])
@pytest.mark.parametrize("sets", [False, True], ids=["response sets none", "response sets the application's"])
@pytest.mark.parametrize(
    ("cookies", "binds", "goes_on", "refused"),
    [
        pytest.param(b"", False, False, False, id="none"),
        pytest.param(b"JSESSIONID=8A5F", False, False, False, id="the application's"),
        pytest.param(b"AWSALBAPP-0=%(good)s", False, False, False, id="the balancer's"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=%(good)s", True, True, False, id="both"),
        pytest.param(b"AWSALBAPP-0=%(good)s; x=1; JSESSIONID=other", True, True, False, id="both, another value and order"),
        pytest.param(b"JSESSIONID=; AWSALBAPP-0=%(good)s", False, False, False, id="the application's empty"),
        pytest.param(b"jsessionid=8A5F; AWSALBAPP-0=%(good)s", False, False, False, id="another case"),
        pytest.param(b"XJSESSIONID=8A5F; AWSALBAPP-0=%(good)s", False, False, False, id="another name"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=_remove_", False, False, False, id="nothing to stick to"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=", False, False, False, id="the balancer's empty"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=garbage", False, False, True, id="garbage"),
        pytest.param(b"AWSALBAPP-0=garbage", False, False, True, id="garbage alone"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=%(old)s", False, False, True, id="expired"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=%(foreign)s", False, True, True, id="another group's"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-0=%(gone)s", False, True, True, id="a target that left"),
        pytest.param(b"JSESSIONID=; JSESSIONID=8A5F; AWSALBAPP-0=%(good)s", True, True, False, id="the application's twice, once empty"),
        pytest.param(b"JSESSIONID=1; AWSALBAPP-0=%(old)s; AWSALBAPP-0=%(good)s", True, True, False, id="an expired one before a good one"),
        pytest.param(b"AWSALBAPP-0=_remove_; JSESSIONID=1; AWSALBAPP-0=%(good)s", True, True, False, id="a placeholder before a good one"),
        pytest.param(b"AWSALBAPP-0=_remove_; JSESSIONID=1; AWSALBAPP-0=garbage", False, False, True, id="a placeholder before garbage"),
        pytest.param(b"AWSALBAPP-0=garbage; JSESSIONID=1; AWSALBAPP-0=%(good)s", True, True, False, id="garbage before a good one"),
        pytest.param(b"JSESSIONID=8A5F; AWSALBAPP-1=%(good)s", False, False, False, id="in another shard"),
        pytest.param(b"JSESSIONID=8A5F; AWSALB=%(good)s", False, False, False, id="under another name"),
    ],
)
def test_app_cookie_binds_and_renews(setting: alb.AppCookie, sets: bool, cookies: bytes, binds: bool, goes_on: bool, refused: bool) -> None:
    """Only both cookies bind; the value is written when the application sets its own, or a session goes on (docs/alb.md 5.3).

    It goes on where its target has gone as well; whose target that was, this group's or another's, an entry does not tell.
    """
    sticky = _Sticky(setting)
    parts = {
        b"good": sticky.value(sticky.first),
        b"old": sticky.value(sticky.first, _NOW - 3601),
        b"foreign": _foreign(setting),
        b"gone": _gone(setting),
    }
    field = cookies % parts
    assert sticky.bound(field) == ("a:80" if binds else None)
    assert sticky.refuses(field) is refused
    for member in sticky.members:
        values = _values(sticky.lines(member, field, *([_SETS] if sets else [])))
        assert values[1:] == [b"_remove_"] * 3
        if goes_on or sets:
            assert sticky.bound(b"JSESSIONID=1; AWSALBAPP-0=" + values[0]) == member.address
        else:
            assert values[0] == b"_remove_"


def _foreign(setting: alb.AppCookie) -> bytes:
    other = _Sticky(setting, name="web")
    return other.value(other.first)


def _gone(setting: alb.AppCookie) -> bytes:
    other = _Sticky(setting, targets=("c:80", "d:80"))
    return other.value(other.first)


def test_app_cookie_lines_are_albs_text() -> None:
    """Four shards of which the first is used, Expires 7 days ahead whatever the duration, Path=/ (docs/alb.md 5.3)."""
    sticky = _Sticky(_APP)
    date = formatdate(1_790_000_123 + 7 * 86400, usegmt=True).encode()
    lines = sticky.lines(sticky.first, b"", _SETS)
    assert re.fullmatch(rb"[0-9a-f]{40}", _values(lines)[0])
    assert lines == [
        b"Set-Cookie: AWSALBAPP-%d=%s; Expires=%s; Path=/" % (shard, value, date) for shard, value in enumerate(_values(lines))
    ]
    assert sticky.lines(sticky.first) == [b"Set-Cookie: AWSALBAPP-%d=_remove_; Expires=%s; Path=/" % (shard, date) for shard in range(4)]


def test_app_cookie_without_a_session_has_lines_of_its_second() -> None:
    """What is made once per second is of that second."""
    sticky = _Sticky(_APP)
    dates = [sticky.lines(sticky.first, now=_NOW + second)[0].partition(b"Expires=")[2] for second in (0, 0.4, 1, 3600)]
    assert dates[0] == dates[1]
    assert len(set(dates)) == 3


def test_app_cookie_holds_for_its_duration_after_the_latest_response() -> None:
    """Each response begins it anew."""
    sticky = _Sticky(_APP)
    field = b"JSESSIONID=1; AWSALBAPP-0=" + sticky.value(sticky.first, 1_790_000_000.0)
    assert sticky.bound(field, now=1_790_003_599.0) == "a:80"
    assert sticky.bound(field, now=1_790_003_600.0) is None
    renewed = b"JSESSIONID=1; AWSALBAPP-0=" + _values(sticky.lines(sticky.first, field, now=1_790_003_599.0))[0]
    assert sticky.bound(renewed, now=1_790_007_198.0) == "a:80"
    assert sticky.bound(renewed, now=1_790_007_199.0) is None


def test_app_cookie_session_stays_where_it_moved_to() -> None:
    """Where its target has failed and another one answered the cookie names that one from then on (docs/alb.md 5.3)."""
    sticky = _Sticky(_APP)
    field = b"JSESSIONID=1; AWSALBAPP-0=" + sticky.value(sticky.first)
    moved = _values(sticky.lines(sticky.second, field))[0]
    assert sticky.bound(b"JSESSIONID=1; AWSALBAPP-0=" + moved) == "b:80"


def test_app_cookie_of_another_instance_and_of_a_rotated_secret_is_honoured() -> None:
    """The first secret writes, all of them read."""
    assert _Sticky(_APP, ("b:80", "a:80")).bound(b"JSESSIONID=1; AWSALBAPP-0=" + _foreign_value(_APP)) == "a:80"
    old, rotated = alb.AppCookie("JSESSIONID", secrets=_SECRET), alb.AppCookie("JSESSIONID", secrets=["the new secret, in front", _SECRET])
    assert _Sticky(rotated).bound(b"JSESSIONID=1; AWSALBAPP-0=" + _foreign_value(old)) == "a:80"
    assert _Sticky(old).bound(b"JSESSIONID=1; AWSALBAPP-0=" + _foreign_value(rotated)) is None
    assert _Sticky(_APP).bound(b"JSESSIONID=1; AWSALBAPP-0=" + _foreign_value(old)) is None


def test_app_cookie_of_another_group_is_kept_for_it() -> None:
    """Groups share the cookie's name: a response of one without a session ends none with the other."""
    sticky, other = _Sticky(_APP), _Sticky(_APP, name="web")
    kept = _values(sticky.lines(sticky.first, b"AWSALBAPP-0=" + other.value(other.second)))[0]
    assert sticky.bound(b"JSESSIONID=1; AWSALBAPP-0=" + kept) is None
    assert other.bound(b"JSESSIONID=1; AWSALBAPP-0=" + kept) == "b:80"
    both = _values(sticky.lines(sticky.first, b"AWSALBAPP-0=" + other.value(other.second), _SETS))[0]
    assert sticky.bound(b"JSESSIONID=1; AWSALBAPP-0=" + both) == "a:80"
    assert other.bound(b"JSESSIONID=1; AWSALBAPP-0=" + both) == "b:80"


def _foreign_value(setting: alb.AppCookie) -> bytes:
    other = _Sticky(setting)
    return other.value(other.first)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Set-Cookie: JSESSIONIDX=1", id="longer name"),
        pytest.param(b"Set-Cookie: x=JSESSIONID=1", id="inside a value"),
        pytest.param(b"X-Set-Cookie: JSESSIONID=1", id="another field"),
        pytest.param(b"Set-Cookie: jsessionid=1", id="another case"),
    ],
)
def test_app_cookie_takes_no_other_line_for_the_applications(line: bytes) -> None:
    """Only a Set-Cookie field with exactly its name begins a session."""
    sticky = _Sticky(_APP)
    assert _values(sticky.lines(sticky.first, b"", line)) == [b"_remove_"] * 4
    assert _values(sticky.lines(sticky.first, b"", line, b"set-cookie:JSESSIONID=1"))[0] != b"_remove_"


_CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%s Safari/537.36"
_ORIGIN = ("Origin", "https://shop.example")


@pytest.mark.parametrize(
    ("fields", "is_strict"),
    [
        pytest.param([], False, id="nothing"),
        pytest.param([_ORIGIN], False, id="Origin without User-Agent"),
        pytest.param([("User-Agent", _CHROME % "80.0.3987.0")], False, id="Chrome of the same origin"),
        pytest.param([_ORIGIN, ("User-Agent", _CHROME % "79.0.3945.88")], False, id="Chrome 79"),
        pytest.param([_ORIGIN, ("User-Agent", _CHROME % "80.0.3987.0")], True, id="Chrome 80"),
        pytest.param([("origin", "null"), ("user-agent", _CHROME % "131.0.0.0")], True, id="names in lower case"),
        pytest.param([_ORIGIN, ("User-Agent", _CHROME % "100")], True, id="Chrome 100"),
        pytest.param([_ORIGIN, ("User-Agent", _CHROME % "9.0")], False, id="Chrome 9"),
        pytest.param([_ORIGIN, ("User-Agent", "HeadlessChrome/120.0")], True, id="headless"),
        pytest.param([_ORIGIN, ("User-Agent", "Ubuntu Chromium/80.0 Chrome/80.0")], True, id="Chromium"),
        pytest.param([_ORIGIN, ("User-Agent", _CHROME % "120.0" + " Edg/120.0")], True, id="Edge"),
        pytest.param([_ORIGIN, ("User-Agent", "Mozilla/5.0 Gecko/20100101 Firefox/120.0")], False, id="Firefox"),
        pytest.param([_ORIGIN, ("User-Agent", "Mozilla/5.0 Version/17.0 Safari/605.1.15")], False, id="Safari"),
        pytest.param([_ORIGIN, ("User-Agent", "Chrome/")], False, id="no version"),
        pytest.param([_ORIGIN, ("User-Agent", "Chrome/x80")], False, id="a version of letters"),
    ],
)
def test_app_cookie_is_for_other_origins_where_chromium_wants_it(fields: list[tuple[str, str]], is_strict: bool) -> None:
    """SameSite=None and Secure on all four, only for Chromium >= 80 across origins; the value is good in either form."""
    sticky = _Sticky(_APP)
    end = b"; Path=/; SameSite=None; Secure" if is_strict else b"; Path=/"
    session = sticky.lines(sticky.first, b"", _SETS, fields=fields)
    nothing = sticky.lines(sticky.first, fields=fields)
    assert all(line.partition(b"; Expires=")[2][29:] == end for line in (*session, *nothing))
    assert len(session) == len(nothing) == 4
    assert sticky.bound(b"JSESSIONID=1; AWSALBAPP-0=" + _values(session)[0]) == "a:80"
    assert _values(nothing) == [b"_remove_"] * 4


@pytest.mark.parametrize(
    "version", ["9" * 5000, "8" * 4301 + ".0", "\u0668\u0660" * 3000], ids=["5000 digits", "4301 digits", "other digits"]
)
def test_app_cookie_of_a_version_too_long_to_read_is_no_error(version: str) -> None:
    """What a client says of itself costs nobody a response."""
    sticky = _Sticky(_APP)
    assert len(sticky.lines(sticky.first, b"", _SETS, fields=[_ORIGIN, ("User-Agent", "Chrome/" + version)])) == 4


@pytest.mark.parametrize(
    ("target", "cookies", "binds"),
    [
        ("/?sid=8A5F", b"AWSALBAPP-0=%(good)s", True),
        ("/?a=1&sid=x&b=2", b"AWSALBAPP-0=%(good)s", True),
        ("/?sid=8A5F", b"JSESSIONID=1; AWSALBAPP-0=%(good)s", True),
        ("/?sid=8A5F", b"", False),
        ("/?sid=8A5F", b"JSESSIONID=1", False),
        ("/?sid=8A5F", b"AWSALBAPP-0=garbage", False),
        ("/?sid=", b"AWSALBAPP-0=%(good)s", False),
        ("/?sid", b"AWSALBAPP-0=%(good)s", False),
        ("/?SID=8A5F", b"AWSALBAPP-0=%(good)s", False),
        ("/?xsid=8A5F", b"AWSALBAPP-0=%(good)s", False),
        ("/?a=sid=8A5F", b"AWSALBAPP-0=%(good)s", False),
        ("/sid=8A5F", b"AWSALBAPP-0=%(good)s", False),
        ("/", b"AWSALBAPP-0=%(good)s", False),
    ],
)
def test_app_cookie_takes_a_parameter_for_the_applications_session(target: str, cookies: bytes, binds: bool) -> None:
    """In place of the application's cookie; the load balancer's own must come all the same, and is renewed."""
    sticky = _Sticky(alb.AppCookie("JSESSIONID", 3600, query_parameter="sid"))
    field = cookies % {b"good": sticky.value(sticky.first)}
    assert sticky.bound(field, target) == ("a:80" if binds else None)
    lines = sticky.stickiness.fields(sticky.first, request_for(target, cookie=field), _response(), _NOW).split(b"\r\n")
    assert (_values(lines)[0] != b"_remove_") is binds
    assert _Sticky(_APP).bound(field.replace(b"JSESSIONID=1; ", b""), target) is None, "without the setting a parameter says nothing"


# RouteSuffix


_NODES = (alb.Target("a", 80, route="node1"), alb.Target("b", 80, route="node2"), alb.Target("c", 80), alb.Target("d", 80, route="x.node1"))
_ROUTES = {"node1": "a:80", "node2": "b:80", "c:80": "c:80", "x.node1": "d:80"}


@pytest.mark.parametrize(
    ("cookies", "target", "address", "refused"),
    [
        (b"", "/", None, False),
        (b"JSESSIONID=8A5F", "/", None, False),
        (b"JSESSIONID=8A5F.node1", "/", "a:80", False),
        (b"JSESSIONID=8A5F.node2", "/", "b:80", False),
        (b"JSESSIONID=8A5F.c:80", "/", "c:80", False),
        (b"JSESSIONID=8A5F.a:80", "/", None, True),
        (b"JSESSIONID=8A5F.node3", "/", None, True),
        (b"JSESSIONID=8A5F.NODE1", "/", None, True),
        (b"JSESSIONID=8A5F.node1.", "/", None, True),
        (b"JSESSIONID=.node1", "/", "a:80", False),
        (b"JSESSIONID=node1", "/", None, False),
        (b"JSESSIONID=8A.5F.node1", "/", "a:80", False),
        (b"JSESSIONID=8A5F.x.node1", "/", "d:80", False),
        (b'JSESSIONID="8A5F.node1"', "/", "a:80", False),
        (b"jsessionid=8A5F.node1", "/", None, False),
        (b"x=1; JSESSIONID=8A5F.node2; y=2", "/", "b:80", False),
        (b"JSESSIONID=\xff\xfe.node1", "/", "a:80", False),
        (b"JSESSIONID=" + b"." * 15 + b".node1", "/", "a:80", False),
        (b"JSESSIONID=" + b"." * 16 + b".node1", "/", None, True),
        (b"", "/shop;jsessionid=8A5F.node1", "a:80", False),
        (b"", "/shop;JSessionID=8A5F.node1", "a:80", False),
        (b"", "/shop;jsessionid=8A5F.node1?x=;jsessionid=8A5F.node2", "a:80", False),
        (b"", "/shop?x=;jsessionid=8A5F.node1", None, False),
        (b"", "/shop;v=1;jsessionid=8A5F.node1;w=2/cart", "a:80", False),
        (b"", "/shop;jsessionid=8A5F.node1/cart.node2", "a:80", False),
        (b"", "/shop;xjsessionid=8A5F.node1", None, False),
        (b"", "/jsessionid=8A5F.node1", None, False),
        (b"", "/shop;jsessionid=8A5F.node3", None, True),
        (b"JSESSIONID=8A5F.node2", "/shop;jsessionid=8A5F.node1", "a:80", False),
        (b"JSESSIONID=8A5F.node2", "/shop;jsessionid=8A5F.node3", "b:80", False),
        (b"JSESSIONID=8A5F.node2", "/shop;jsessionid=8A5F", "b:80", False),
        (b"JSESSIONID=8A5F.node3", "/shop;jsessionid=8A5F.node1", "a:80", False),
        (b"JSESSIONID=8A5F.node3; JSESSIONID=8A5F.node1", "/", "a:80", False),
        (b"JSESSIONID=; JSESSIONID=8A5F; JSESSIONID=8A5F.node2; JSESSIONID=8A5F.node1", "/", "b:80", False),
        (b"JSESSIONID=x.node3; " * 20 + b"JSESSIONID=8A5F.node1", "/", None, True),
        (b"", "/shop;jsessionid=8A5F.node3/cart;jsessionid=8A5F.node1", "a:80", False),
        (b"", "/shop?sid=8A5F.node1", None, False),
    ],
    ids=repr,
)
def test_route_suffix_binds_to_the_target_whose_route_stands_at_the_end(
    cookies: bytes, target: str, address: str | None, refused: bool
) -> None:
    """The path's outranks the cookie's; a route that nobody has is no session, and one that came is said to be refused."""
    sticky = _Sticky(alb.RouteSuffix("JSESSIONID"), _NODES)
    assert sticky.bound(cookies, target) == address
    assert sticky.refuses(cookies, target) is refused


@pytest.mark.parametrize("separator", ["!", "--", ".r", "=", "/"])
def test_route_suffix_takes_other_separators(separator: str) -> None:
    """Of one character or more; a dot is then none."""
    sticky = _Sticky(alb.RouteSuffix("SID", separator), _NODES)
    assert sticky.bound(f"SID=8A5F{separator}node1".encode()) == "a:80"
    assert sticky.bound(f"SID=8A5F{separator}x.node1".encode()) == "d:80"
    assert sticky.bound(b"SID=8A5F.node1") is None


@pytest.mark.parametrize(
    ("target", "cookies", "address", "refused"),
    [
        ("/socket.io/?EIO=4&transport=polling&sid=8A5F.node1", b"", "a:80", False),
        ("/?sid=8A5F.node2&t=1", b"", "b:80", False),
        ("/?sid=8A5F%2Enode2", b"", "b:80", False),
        ("/?sid=8A5F.c%3A80", b"", "c:80", False),
        ("/?sid=8A5F.c:80", b"", "c:80", False),
        ("/?sid=8A5F.node3", b"", None, True),
        ("/?sid=8A5F", b"", None, False),
        ("/?sid=", b"", None, False),
        ("/?sid=%ff%zz.node1", b"", "a:80", False),
        ("/?SID=8A5F.node1", b"", None, False),
        ("/?xsid=8A5F.node1", b"", None, False),
        ("/?x=sid=8A5F.node1", b"", None, False),
        ("/?sid=8A5F.node3&sid=8A5F.node1", b"", "a:80", False),
        ("/sid=8A5F.node1", b"", None, False),
        ("/?sid=8A5F.node1", b"JSESSIONID=8A5F.node2", "a:80", False),
        ("/?sid=8A5F.node3", b"JSESSIONID=8A5F.node2", "b:80", False),
        ("/?sid=8A5F", b"JSESSIONID=8A5F.node2", "b:80", False),
        ("/;jsessionid=8A5F.node2?sid=8A5F.node1", b"JSESSIONID=8A5F.c:80", "b:80", False),
    ],
    ids=repr,
)
def test_route_suffix_of_the_query_stands_between_path_and_cookie(target: str, cookies: bytes, address: str | None, refused: bool) -> None:
    """As Apache's `stickysession=JSESSIONID|sid`; percent-encoded, too, for programs write `:` and others so."""
    sticky = _Sticky(alb.RouteSuffix("JSESSIONID", query_parameter="sid"), _NODES)
    assert sticky.bound(cookies, target) == address
    assert sticky.refuses(cookies, target) is refused


@pytest.mark.parametrize("name", ["sid", "s.d", "a-b_c~d"])
def test_route_suffix_takes_the_parameters_name_as_it_is(name: str) -> None:
    """Nothing of it is a pattern."""
    sticky = _Sticky(alb.RouteSuffix("X", query_parameter=name), _NODES)
    assert sticky.bound(b"", f"/?{name}=1.node1") == "a:80"
    assert sticky.bound(b"", "/?sxd=1.node1") is None


@pytest.mark.no_cover
@pytest.mark.parametrize("filling", ["sid=a&", "&sid=", "&sid=a.b", "sid=" + "." * 40 + "&", "&" * 7, "%2E"], ids=repr)
def test_route_suffix_looks_at_a_query_in_linear_time(filling: str) -> None:
    """16 K of anything."""
    sticky = _Sticky(alb.RouteSuffix("X", query_parameter="sid"), _NODES)
    times = []
    for size in (16_000, 160_000):
        before = process_time()
        for _ in range(20):
            sticky.bound(b"", "/?" + filling * (size // len(filling)))
        times.append(process_time() - before)
    assert times[1] < 40 * max(times[0], 0.001)


def test_route_suffix_sets_no_cookie() -> None:
    """The targets mark their sessions themselves."""
    sticky = _Sticky(alb.RouteSuffix("JSESSIONID"), _NODES)
    assert sticky.lines(sticky.first, b"JSESSIONID=8A5F.node1", _SETS) == [b""]


def test_route_suffix_finds_the_parameter_behind_letters_that_grow_in_lower_case() -> None:
    """A path as it came may hold any letters."""
    sticky = _Sticky(alb.RouteSuffix("JSESSIONID"), _NODES)
    assert sticky.bound(target="/\u0130\u0130\u0130\u0130;jsessionid=8A.node1") == "a:80"


def _naive_route(cookies: bytes, path: str) -> str | None:
    """Of the path, then of cookies, each cut at its ends; whatever stands behind a separator, the longest first."""
    of_path = re.findall(r";jsessionid=([^;/]*)", path, re.IGNORECASE | re.ASCII)[:8]
    pairs = [pair.lstrip(b" \t") if number else pair for number, pair in enumerate(cookies.split(b";"))]
    values = [pair[len(b"JSESSIONID=") :].rstrip() for pair in pairs if pair.startswith(b"JSESSIONID=")]
    for session in (*of_path, *(value.strip(b'"').decode("latin-1") for value in list(filter(None, values))[:8])):
        parts = session.split(".")
        for number in range(1, min(len(parts), 17)):
            if ".".join(parts[number:]) in _ROUTES:
                return _ROUTES[".".join(parts[number:])]
    return None


_WORDS = ["node1", "node2", "x", ".", ".", "8A5F", "c:80", '"', ""]
_SESSION = st.lists(st.sampled_from(_WORDS), max_size=6).map("".join)


@given(
    st.lists(st.tuples(st.sampled_from(["JSESSIONID=", " JSESSIONID=", "x=", "jsessionid="]), _SESSION).map("".join), max_size=4),
    st.lists(st.tuples(st.sampled_from(["/", ";jsessionid=", ";JSESSIONID=", ";x=", "a"]), _SESSION).map("".join), max_size=4),
)
def test_route_suffix_finds_what_looking_at_every_part_finds(pairs: list[str], parts: list[str]) -> None:
    """However cookies and path are made; and what is refused is bound to nobody."""
    sticky = _Sticky(alb.RouteSuffix("JSESSIONID"), _NODES)
    cookies, path = ";".join(pairs).encode(), "/" + "".join(parts)
    expected = _naive_route(cookies, path)
    assert sticky.bound(cookies, path) == expected
    assert not (sticky.refuses(cookies, path) and expected)


# SourceAddress and keys


def _clients(sticky: _Sticky, count: int = 3000) -> list[str | None]:
    found = [sticky.stickiness.target(request_for(client=f"10.{n >> 8}.{n & 255}.1"), _NOW) for n in range(count)]
    return [member.address if member is not None else None for member in found]


def test_source_address_binds_every_connection_of_a_client_to_one_target() -> None:
    """The port, the path and cookies say nothing."""
    sticky = _Sticky(alb.SourceAddress(), [f"t{number}:80" for number in range(8)])
    request = request_for("/a", client="2001:db8::7", cookie=b"AWSALB=x")
    request.client.port = 1
    assert sticky.stickiness.target(request, _NOW) is sticky.stickiness.target(request_for("/b", client="2001:db8::7"), _NOW)
    assert len(set(_clients(sticky, 200))) == 8


@pytest.mark.parametrize("setting", [alb.SourceAddress(), lambda request: request.client.host], ids=["SourceAddress", "key"])
def test_source_address_agrees_with_every_other_instance(setting: Any) -> None:
    """In whatever order the targets stand, and with a ring that was built of them."""
    sticky = _Sticky(setting, ["a:80", "b:80", "c:80"])
    assert _clients(sticky) == _clients(_Sticky(alb.SourceAddress(), ["c:80", "a:80", "b:80"]))
    ring = HashRing()
    ring.settle(sticky.members)
    member = ring.find(place_of("10.0.0.1"), lambda _: True)
    assert member is not None
    assert _clients(sticky)[0] == member.address


def test_source_address_moves_about_one_client_in_n() -> None:
    """A target that may not be chosen hands its clients over, and gets the same ones back."""
    sticky = _Sticky(alb.SourceAddress(), [f"t{number}:80" for number in range(5)])
    before = _clients(sticky)
    gone = sticky.members[2]
    sticky.stickiness.settle([member for member in sticky.members if member is not gone])
    after = _clients(sticky)
    assert all((former == owner) != (former == gone.address) for former, owner in zip(before, after, strict=True))
    assert 3000 / 5 * 0.6 <= before.count(gone.address) <= 3000 / 5 * 1.4
    sticky.stickiness.settle(sticky.members)
    assert _clients(sticky) == before


def test_source_address_honours_weights() -> None:
    """A target of three times the weight has three times the clients, within the ring's five standard deviations; 0 has none."""
    targets = [alb.Target(f"t{number}", 80, weight=weight) for number, weight in enumerate([3, 1, 1, 1, 1, 1, 1, 1, 0])]
    counts = Counter(_clients(_Sticky(alb.SourceAddress(), targets)))
    assert abs(counts["t0:80"] - 900) <= 5 * (900 + 900**2 / 160) ** 0.5
    assert counts["t8:80"] == 0


def test_source_address_with_nobody_to_choose_binds_nobody() -> None:
    """No target, no session."""
    sticky = _Sticky(alb.SourceAddress())
    sticky.stickiness.settle(())
    assert _clients(sticky, 3) == [None] * 3


def test_source_address_builds_its_ring_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with every change, of which there may be many at once, and not with every request."""
    settled = 0
    settle: Callable[[HashRing, Any], None] = HashRing.settle

    def counted(self: HashRing, members: Any) -> None:
        nonlocal settled
        settled += 1
        settle(self, members)

    monkeypatch.setattr(HashRing, "settle", counted)
    sticky = _Sticky(alb.SourceAddress())
    for _ in range(10):
        sticky.stickiness.settle(sticky.members)
    assert settled == 0
    _clients(sticky, 20)
    assert settled == 1


@pytest.mark.parametrize("setting", [alb.SourceAddress(), lambda _: "key"], ids=["SourceAddress", "key"])
def test_key_sets_no_cookie_and_refuses_nothing(setting: Any) -> None:
    """Nothing comes with a request that could be wrong."""
    sticky = _Sticky(setting)
    assert sticky.lines(sticky.first, b"AWSALB=x", _SETS) == [b""]
    assert sticky.refuses(b"AWSALB=x; AWSALBAPP-0=x") is False


def test_key_of_the_programs_own_binds_by_what_it_returns() -> None:
    """The same text the same target; an empty one is a text, `None` is none."""

    def tenant(request: RequestHead) -> str | None:
        return request.headers.get("X-Tenant")

    sticky = _Sticky(tenant, [f"t{number}:80" for number in range(8)])

    def bound(*fields: tuple[str, str], target: str = "/") -> TargetState | None:
        return sticky.stickiness.target(request_for(target, fields=fields), _NOW)

    assert bound() is None
    assert bound(("X-Tenant", "")) is not None
    assert bound(("X-Tenant", "blue")) is bound(("x-tenant", "blue"), target="/other")
    assert len({bound(("X-Tenant", str(number))) for number in range(100)}) == 8


class _Key:
    """A key that is an object."""

    def __init__(self, result: object) -> None:
        self._result = result

    def __call__(self, _: RequestHead) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


@pytest.mark.parametrize("result", [KeyError("X-Tenant"), 7, b"blue", ("a",), True], ids=repr)
def test_key_that_fails_costs_its_own_exchange_a_500(result: object, caplog: pytest.LogCaptureFixture) -> None:
    """It is a failure of a hook that names the key; what it raised is logged with its place."""
    sticky = _Sticky(_Key(result))
    with pytest.raises(Failure) as raised:
        sticky.bound()
    assert raised.value.kind is FailureKind.HOOK_FAILED
    assert "sticky key" in str(raised.value)
    assert ("Traceback" in caplog.text) is isinstance(result, Exception)
