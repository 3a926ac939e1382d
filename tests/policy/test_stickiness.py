from __future__ import annotations

import re
from email.utils import formatdate

import pytest

import albkit as alb
from albkit.model.message import ResponseHead
from albkit.policy.stickiness import stickiness_for
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_NOW = 1_790_000_123.5
_HOUR = alb.LbCookie(3600)


class _Sticky:
    """One instance of a sticky group."""

    def __init__(self, name: str = "api", cookie: alb.LbCookie = _HOUR, targets: tuple[str, ...] = ("a:80", "b:80", "[::1]:80")) -> None:
        self.group = TargetGroupState(alb.TargetGroup(name, list(targets), stickiness=cookie))
        made = stickiness_for(cookie, self.group, FakeClock())
        assert made is not None
        self.stickiness = made
        self.members = list(self.group.members.values())
        self.first, self.second = self.members[:2]

    def set_cookie(self, member: TargetState, now: float = _NOW) -> bytes:
        return self.stickiness.fields(member, request_for(), ResponseHead(), now)

    def value(self, index: int = 0, now: float = _NOW) -> bytes:
        match = re.match(rb"Set-Cookie: AWSALB=([^;]+);", self.set_cookie(self.members[index], now))
        assert match is not None
        return match[1]

    def address(self, cookies: bytes, now: float = _NOW) -> str | None:
        member = self.stickiness.target(request_for(cookie=cookies), now)
        return member.address if member is not None else None


def test_set_cookie_is_albs_text() -> None:
    """Both cookies, same value, Expires 7 days ahead whatever the duration, Path=/, SameSite=None on the second (docs/alb.md 5.3)."""
    sticky = _Sticky()
    lines = sticky.set_cookie(sticky.first, _NOW)
    value = sticky.value()
    date = formatdate(1_790_000_123 + 7 * 86400, usegmt=True).encode()
    assert lines == (
        b"Set-Cookie: AWSALB=" + value + b"; Expires=" + date + b"; Path=/\r\n"
        b"Set-Cookie: AWSALBCORS=" + value + b"; Expires=" + date + b"; Path=/; SameSite=None"
    )


def test_set_cookie_value_needs_no_quoting() -> None:
    """The value is made of characters that no client quotes, encodes or cuts, and does not show the target's address."""
    value = _Sticky().value()
    assert re.fullmatch(rb"[0-9a-f]{40}", value)
    assert b"a:80".hex().encode() not in value


def test_set_cookie_is_made_once_per_second_and_target() -> None:
    """The bytes are kept for the second and made anew in the next (docs/alb.md 5.3)."""
    sticky = _Sticky()
    first = sticky.set_cookie(sticky.first, _NOW)
    assert sticky.set_cookie(sticky.first, _NOW + 0.4) is first
    assert sticky.set_cookie(sticky.second, _NOW) != first
    assert sticky.set_cookie(sticky.first, _NOW) is first
    assert sticky.set_cookie(sticky.first, _NOW + 1) != first


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("name", [b"AWSALB", b"AWSALBCORS"])
def test_valid_cookie_of_either_name_finds_its_target(name: bytes, index: int) -> None:
    """What was set comes back to where it was set."""
    sticky = _Sticky()
    assert sticky.address(name + b"=" + sticky.value(index)) == sticky.members[index].address


@pytest.mark.parametrize(
    "cookies",
    [
        pytest.param(b"AWSALB=%s; theme=dark", id="first"),
        pytest.param(b"theme=dark; AWSALB=%s", id="last"),
        pytest.param(b"a=1; AWSALB=%s; b=2", id="middle"),
        pytest.param(b"a=1;AWSALB=%s;b=2", id="without blanks"),
        pytest.param(b"AWSALB=%s ; b=2", id="blank behind"),
        pytest.param(b"xAWSALB=no; AWSALB=%s", id="behind a longer name"),
        pytest.param(b"AWSALBTG=no; AWSALB=%s", id="behind another of the family"),
        pytest.param(b"a=AWSALB=no; AWSALB=%s", id="behind a value that looks like it"),
    ],
)
def test_valid_cookie_is_found_among_others(cookies: bytes) -> None:
    """Wherever it stands in the field, and whatever stands beside it."""
    sticky = _Sticky()
    assert sticky.address(cookies % sticky.value(1)) == "b:80"


def test_awsalbcors_takes_precedence() -> None:
    """When both arrive AWSALBCORS decides (docs/alb.md 5.3), in either order."""
    sticky = _Sticky()
    first, second = sticky.value(0), sticky.value(1)
    assert sticky.address(b"AWSALB=%s; AWSALBCORS=%s" % (first, second)) == "b:80"
    assert sticky.address(b"AWSALBCORS=%s; AWSALB=%s" % (second, first)) == "b:80"


@pytest.mark.parametrize("wrong", [b"", b"garbage", b"0" * 40], ids=["empty", "garbage", "unknown"])
def test_invalid_awsalbcors_leaves_the_other_to_decide(wrong: bytes) -> None:
    """A broken one of the two does not cost the session."""
    sticky = _Sticky()
    assert sticky.address(b"AWSALBCORS=%s; AWSALB=%s" % (wrong, sticky.value(1))) == "b:80"


def test_cookie_holds_for_its_duration_and_no_longer() -> None:
    """The duration inside the value is what is enforced, not the date that the client sees (docs/alb.md 5.3)."""
    sticky = _Sticky()
    cookie = b"AWSALB=" + sticky.value(0, 1_790_000_000.0)
    assert sticky.address(cookie, 1_790_003_599.0) == "a:80"
    assert sticky.address(cookie, 1_790_003_600.0) is None
    assert sticky.address(cookie, 1_799_999_999.0) is None


def test_cookie_of_another_instance_is_honoured() -> None:
    """Any instance with the same group, and any restart, reads the same cookies (docs/alb.md 5.3)."""
    first, second = _Sticky(), _Sticky(targets=("b:80", "c:80", "a:80"))
    assert second.address(b"AWSALB=" + first.value(0)) == "a:80"
    assert second.address(b"AWSALB=" + first.value(1)) == "b:80"
    assert first.value(0) == second.value(2)


def test_cookie_value_is_the_same_in_every_release() -> None:
    """An update must not end sessions: the value of this group and target is fixed."""
    assert _Sticky().value(0, 1_790_000_000.0) == b"6ab149908c4e5bbe8982d80961f22588ea9180c3"


@pytest.mark.parametrize("targets", [("a:80", "b:80"), ("c:80", "d:80")], ids=["same targets", "other targets"])
def test_cookie_of_another_group_is_foreign(targets: tuple[str, ...]) -> None:
    """Groups do not honour each other's cookies, even where they share a target."""
    assert _Sticky("web", targets=targets).address(b"AWSALB=" + _Sticky().value(0)) is None


def test_cookie_of_a_target_that_left_is_no_session() -> None:
    """A deregistered target's session is a fresh pick (docs/alb.md 5.3)."""
    assert _Sticky(targets=("b:80", "c:80")).address(b"AWSALB=" + _Sticky().value(0)) is None


@pytest.mark.parametrize(
    "cookies",
    [
        pytest.param(b"", id="no cookie"),
        pytest.param(b"AWSALB=", id="empty"),
        pytest.param(b"AWSALB", id="name alone"),
        pytest.param(b"AWSALB=garbage", id="garbage"),
        pytest.param(b"AWSALB=%(value).39s", id="truncated"),
        pytest.param(b"AWSALB=%(value)s0", id="one more digit"),
        pytest.param(b"AWSALB=%(long)s", id="oversized"),
        pytest.param(b"AWSALB=%(upper)s", id="uppercase digits"),
        pytest.param(b'AWSALB="%(value)s"', id="quoted"),
        pytest.param(b"AWSALB=%(encoded)s", id="alb 5.3 URL-encoded"),
        pytest.param(b"AWSALB=%(value)s%%3B", id="URL-encoded tail"),
        pytest.param(b"AWSALB= %(value)s", id="blank before"),
        pytest.param(b"xAWSALB=%(value)s", id="longer name"),
        pytest.param(b"AWSALBX=%(value)s", id="longer name behind"),
        pytest.param(b"awsalb=%(value)s", id="names have case"),
        pytest.param(b"AWSALB =%(value)s", id="blank behind the name"),
        pytest.param(b"AWSALBTG=%(value)s", id="another of the family"),
        pytest.param(b"a=AWSALB=%(value)s", id="inside a value"),
        pytest.param(b"note=x AWSALB=%(value)s", id="inside a value with a blank"),
        pytest.param(b"AWSALB:%(value)s", id="colon"),
        pytest.param(b"AWSALB=+0000000%(digest)s", id="signed expiry"),
        pytest.param(b"AWSALB=0x7fffff%(digest)s", id="prefixed expiry"),
        pytest.param(b"AWSALB=7_f_f_ff%(digest)s", id="underscored expiry"),
        pytest.param(b"AWSALB=       1%(digest)s", id="blank expiry"),
        pytest.param("AWSALB=\u0663\u0663\u0663\u0663".encode() + b"%(digest)s", id="expiry in other digits"),
        pytest.param(b"AWSALB=\xff\xfe\x00\x01%(value).36s", id="bytes"),
    ],
)
def test_cookie_that_is_none_binds_nobody(cookies: bytes) -> None:
    """Anything else is no session, and never an error."""
    value = _Sticky().value()
    parts = {
        b"value": value,
        b"long": value * 2_500,
        b"upper": value.upper(),
        b"encoded": b"%%%02X" % value[0] + value[1:],
        b"digest": value[8:],
    }
    assert _Sticky().address(cookies % parts) is None


def test_cookie_twice_gives_the_first() -> None:
    """Clients send the one with the longer path first (RFC 6265 section 5.4)."""
    sticky = _Sticky()
    assert sticky.address(b"AWSALB=%s; AWSALB=%s" % (sticky.value(1), sticky.value(0))) == "b:80"


# With secrets


_SECRET = "a secret of the house"
_SEALED = alb.LbCookie(3600, secrets=_SECRET)


def test_sealed_set_cookie_is_albs_text_with_another_value() -> None:
    """Two cookies of one value, which is of characters that nobody quotes, and shows neither target nor expiry."""
    sticky, plain = _Sticky(cookie=_SEALED), _Sticky()
    sealed = sticky.set_cookie(sticky.first)
    value = sticky.value()
    assert re.fullmatch(rb"[A-Za-z0-9_-]{91}", value)
    assert sealed.replace(value, plain.value()) == plain.set_cookie(plain.first)
    assert sealed.count(value) == 2


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("name", [b"AWSALB", b"AWSALBCORS"])
def test_sealed_cookie_of_either_name_finds_its_target(name: bytes, index: int) -> None:
    """At any instance with the same secret."""
    value = _Sticky(cookie=_SEALED).value(index)
    assert _Sticky(cookie=_SEALED).address(name + b"=" + value) == _Sticky().members[index].address


def test_sealed_cookie_holds_for_its_duration_and_no_longer() -> None:
    """Also where it was opened before."""
    sticky = _Sticky(cookie=_SEALED)
    cookie = b"AWSALB=" + sticky.value(0, 1_790_000_000.0)
    assert sticky.address(cookie, 1_790_003_599.0) == "a:80"
    assert sticky.address(cookie, 1_790_003_600.0) is None


@pytest.mark.parametrize(
    ("writes", "reads", "address"),
    [
        ((_SECRET,), (_SECRET,), "a:80"),
        ((_SECRET,), (_SECRET.encode(),), "a:80"),
        ((_SECRET,), ("the new one, in front", _SECRET), "a:80"),
        (("the new one, in front", _SECRET), (_SECRET,), None),
        (("the new one, in front", _SECRET), ("the new one, in front",), "a:80"),
        ((_SECRET,), (), None),
        ((), (_SECRET,), None),
    ],
    ids=["same", "as bytes", "new in front", "not taken over yet", "old dropped", "given up", "forged"],
)
def test_sealed_cookie_is_honoured_by_who_has_the_secret_it_was_made_with(
    writes: tuple[str, ...], reads: tuple[str | bytes, ...], address: str | None
) -> None:
    """The first secret writes, all of them read; a value without one is worth nothing where there are secrets."""
    value = _Sticky(cookie=alb.LbCookie(3600, secrets=writes)).value(0)
    reader = _Sticky(cookie=alb.LbCookie(3600, secrets=reads))
    assert reader.address(b"AWSALB=" + value) == address
    assert reader.stickiness.refuses(request_for(cookie=b"AWSALB=" + value), _NOW) is (address is None)


def test_sealed_cookie_of_another_group_is_foreign() -> None:
    """One secret for several groups mixes up none of their sessions."""
    assert _Sticky("web", _SEALED).address(b"AWSALB=" + _Sticky(cookie=_SEALED).value(0)) is None


@pytest.mark.parametrize("cookie", [_HOUR, _SEALED], ids=["plain", "sealed"])
@pytest.mark.parametrize(
    ("cookies", "refused"),
    [
        (b"", False),
        (b"theme=dark", False),
        (b"AWSALB=", False),
        (b"AWSALB=garbage", True),
        (b"AWSALBCORS=garbage", True),
        (b"AWSALB=%s", False),
        (b"AWSALBCORS=garbage; AWSALB=%s", False),
    ],
    ids=repr,
)
def test_cookie_that_came_and_binds_nobody_is_refused(cookie: alb.LbCookie, cookies: bytes, refused: bool) -> None:
    """A client without one is none that was refused."""
    sticky = _Sticky(cookie=cookie)
    field = cookies.replace(b"%s", sticky.value())
    assert sticky.stickiness.refuses(request_for(cookie=field), _NOW) is refused
