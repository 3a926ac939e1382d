from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from albkit.policy.client_cookie import ClientCookie
from albkit.policy.cookies import MOST_TRIED

_NOW = 1_790_000_123.5
_KEYS = {"one": "api\0a:80", "two": "api\0b:80", "three": "api\0\udcff:80"}
_SECRET = b"a secret of the house"
_OTHER = b"another secret of the house"


def _write(value: bytes, second: int) -> bytes:
    return b"%s@%d" % (value, second)


def _cookie(*secrets: bytes, duration: float = 60, keys: dict[str, str] | None = None, seed: int = 1) -> ClientCookie[str]:
    names: Sequence[bytes] = (b"FIRST=", b"SECOND=")
    return ClientCookie(names, _write, _KEYS if keys is None else keys, duration, secrets, random.Random(seed).randbytes)


def _value(cookie: ClientCookie[str], named: str, now: float = _NOW) -> bytes:
    return cookie.lines(named, now).partition(b"@")[0]


@pytest.mark.parametrize("secrets", [(), (_SECRET,), (_OTHER, _SECRET)], ids=["plain", "one secret", "two secrets"])
@pytest.mark.parametrize("named", list(_KEYS))
def test_value_that_was_written_is_found_again(secrets: tuple[bytes, ...], named: str) -> None:
    """Under either name, by another instance and in another order of what can be named."""
    value = _value(_cookie(*secrets), named)
    reader = _cookie(*secrets, keys=dict(reversed(_KEYS.items())), seed=2)
    assert reader.find(b"FIRST=" + value, _NOW) == named
    assert reader.find(b"x=1; SECOND=" + value, _NOW) == named
    assert reader.find(b"THIRD=" + value, _NOW) is None


@pytest.mark.parametrize("secrets", [(), (_SECRET,)], ids=["plain", "sealed"])
def test_first_name_decides_where_both_are_good(secrets: tuple[bytes, ...]) -> None:
    """Whichever stands first in the field; a bad one leaves the other to decide."""
    cookie = _cookie(*secrets)
    one, two = _value(cookie, "one"), _value(cookie, "two")
    assert cookie.find(b"FIRST=%s; SECOND=%s" % (one, two), _NOW) == "one"
    assert cookie.find(b"SECOND=%s; FIRST=%s" % (two, one), _NOW) == "one"
    assert cookie.find(b"FIRST=%s; SECOND=%s" % (one[:-2], two), _NOW) == "two"
    assert cookie.find(b"FIRST=%s; SECOND=%s" % (_value(_cookie(*secrets), "one", _NOW - 3600), two), _NOW) == "two"


@pytest.mark.parametrize("secrets", [(), (_SECRET,)], ids=["plain", "sealed"])
@pytest.mark.parametrize(
    ("duration", "age", "is_good"),
    [(60, 0, True), (60, 59.9, True), (60, 60, False), (1, 0.9, True), (1, 1, False), (604800, 604799, True)],
)
def test_value_is_good_for_its_duration(secrets: tuple[bytes, ...], duration: float, age: float, is_good: bool) -> None:
    """From the second in which it was written; sealed ones too, also where they were opened before."""
    written = 1_790_000_000.0
    cookie = _cookie(*secrets, duration=duration)
    field = b"FIRST=" + _value(cookie, "one", written)
    assert cookie.find(field, written) == "one"
    assert cookie.find(field, written + age) == ("one" if is_good else None)


def test_value_says_when_it_expires_whoever_reads_it() -> None:
    """Another duration holds for values that are written from then on."""
    assert _cookie(duration=1).find(b"FIRST=" + _value(_cookie(duration=3600), "one"), _NOW + 3000) == "one"
    assert _cookie(duration=3600).find(b"FIRST=" + _value(_cookie(duration=1), "one"), _NOW + 3000) is None


@pytest.mark.parametrize(
    ("writes", "reads"),
    [((), (_SECRET,)), ((_SECRET,), ()), ((_SECRET,), (_OTHER,))],
    ids=["forged without a secret", "secrets given up", "another secret"],
)
def test_value_of_another_kind_is_none(writes: tuple[bytes, ...], reads: tuple[bytes, ...]) -> None:
    """With secrets nobody can make a value who has none of them, and the other way round they mean nothing."""
    field = b"FIRST=" + _value(_cookie(*writes), "one")
    assert _cookie(*writes).find(field, _NOW) == "one"
    assert _cookie(*reads).find(field, _NOW) is None
    assert _cookie(*reads).came(field)


def test_sealed_value_shows_nothing_of_what_it_names() -> None:
    """Neither digest nor expiry, and two of the same thing are not alike."""
    plain, sealed = _cookie(), _cookie(_SECRET)
    value = _value(sealed, "one")
    assert _value(plain, "one")[:8] not in value
    assert _value(plain, "one")[8:] not in value
    assert len({_value(sealed, "one", _NOW + second) for second in range(20)}) == 20


def test_value_names_what_is_there_only() -> None:
    """What has gone is a fresh pick; what has come is found."""
    fewer = {"two": _KEYS["two"]}
    assert _cookie(keys=fewer).find(b"FIRST=" + _value(_cookie(), "one"), _NOW) is None
    assert _cookie(keys=fewer).find(b"FIRST=" + _value(_cookie(), "two"), _NOW) == "two"
    assert _cookie(keys={}).find(b"FIRST=" + _value(_cookie(), "two"), _NOW) is None


def test_lines_are_made_once_per_thing_and_second() -> None:
    """A seal costs something: many responses of one second share it, and the next second has its own."""
    cookie = _cookie(_SECRET)
    first = cookie.lines("one", _NOW)
    assert cookie.lines("one", _NOW + 0.4) is first
    assert cookie.lines("two", _NOW) != first
    assert cookie.lines("one", _NOW + 1) != first
    for second in range(100):
        for named in _KEYS:
            cookie.lines(named, _NOW + second)
    assert len(cookie._lines) == len(_KEYS)


@pytest.mark.parametrize(
    ("field", "came"),
    [
        (b"", False),
        (b"FIRST=", False),
        (b"FIRST", False),
        (b"FIRST=x", True),
        (b"SECOND=x", True),
        (b"a=1; SECOND=x", True),
        (b"a=FIRST=x", False),
        (b"first=x", False),
    ],
    ids=repr,
)
def test_cookie_came_whatever_it_holds(field: bytes, came: bool) -> None:
    """One that holds nothing has not come."""
    assert _cookie().came(field) is came
    assert _cookie(_SECRET).came(field) is came


def _flipped(value: bytes) -> list[bytes]:
    return [
        value[:place] + bytes([value[place] ^ 1 << bit]) + value[place + 1 :]
        for place in range(len(value))
        for bit in range(8)
        if value[place] ^ 1 << bit not in b" \t\n\r\x0b\x0c;"
    ]


def test_plain_value_with_any_bit_of_its_digest_flipped_names_nothing() -> None:
    """128 bits tell one target from another."""
    cookie = _cookie()
    value = _value(cookie, "one")
    assert [wrong for wrong in _flipped(value[8:]) if cookie.find(b"FIRST=" + value[:8] + wrong, _NOW)] == []


@pytest.mark.parametrize("expiry", [b"ffffffff", b"7fffffff"])
def test_plain_value_may_expire_at_any_time_that_eight_digits_can_say(expiry: bytes) -> None:
    """Whoever makes a value of their own only chooses a target."""
    cookie = _cookie()
    assert cookie.find(b"FIRST=" + expiry + _value(cookie, "one")[8:], _NOW) == "one"


@pytest.mark.parametrize("expiry", [b"FFFFFFFF", b"+fffffff", b"-fffffff", b"0xffffff", b"ffff_fff", b" fffffff", b"fffffffg", b"00000000"])
def test_plain_value_of_another_expiry_names_nothing(expiry: bytes) -> None:
    """Eight lower-case hexadecimal digits, and nothing else that a number could be made of."""
    cookie = _cookie()
    assert cookie.find(b"FIRST=" + expiry + _value(cookie, "one")[8:], _NOW) is None


# Several cookies of one name


@pytest.mark.parametrize("secrets", [(), (_SECRET,)], ids=["plain", "sealed"])
@pytest.mark.parametrize("place", range(MOST_TRIED + 1))
def test_good_value_among_bad_ones_of_its_name_is_found(secrets: tuple[bytes, ...], place: int) -> None:
    """Of another path, another domain or another load balancer: the first that is good decides, among so many as are tried."""
    cookie = _cookie(*secrets)
    old, foreign = _value(_cookie(*secrets), "one", _NOW - 7200), _value(_cookie(*secrets, keys={"one": "elsewhere"}), "one")
    bad = [b"FIRST=x", b"FIRST=" + old, b"FIRST=" + foreign, b"FIRST=" + b"f" * 40, b"FIRST=_remove_"] * 2
    good = [b"FIRST=" + _value(cookie, "two"), b"FIRST=" + _value(cookie, "one")]
    field = b"; ".join([*bad[:place], b"FIRST=", *good])
    assert cookie.find(field, _NOW) == ("two" if place < MOST_TRIED else None)
    assert cookie.came(field)
    assert cookie.holds(field, _NOW)


@pytest.mark.parametrize("secrets", [(), (_SECRET,)], ids=["plain", "sealed"])
def test_bad_values_of_the_first_name_leave_the_second_to_decide(secrets: tuple[bytes, ...]) -> None:
    """However many there are of it."""
    cookie = _cookie(*secrets)
    assert cookie.find(b"FIRST=x; " * 100 + b"SECOND=y; SECOND=" + _value(cookie, "one"), _NOW) == "one"


def test_thousands_of_cookies_of_one_name_are_not_all_opened() -> None:
    """A seal costs something; so many are tried, and the others are not looked at."""
    cookie = _cookie(_SECRET)
    opened: list[bytes] = []
    seal: Any = cookie._seal
    cookie._seal = cast("Any", SimpleNamespace(open=lambda value: opened.append(value) or seal.open(value)))
    assert cookie.find(b"; ".join(b"FIRST=%d" % number for number in range(5000)), _NOW) is None
    assert len(opened) == MOST_TRIED


def test_entries_of_others_in_several_cookies_are_all_kept() -> None:
    """Once each, with the later expiry, and no more than there is room for."""
    groups = _others()
    now = [groups[number].lines("one", _NOW).partition(b"@")[0] for number in range(6)]
    before = groups[1].lines("one", _NOW - 10).partition(b"@")[0]
    field = b"; ".join(b"FIRST=" + value for value in (before, now[0], now[1], now[2]))
    kept = b"FIRST=" + groups[0].lines("one", _NOW, field).partition(b"@")[0]
    assert [group.find(kept, _NOW + 55) for group in groups[:3]] == ["one"] * 3
    many = b"; ".join(b"FIRST=" + value for value in now)
    assert len(groups[0].lines("one", _NOW, many).partition(b"@")[0]) == 4 * 40


# Entries of other groups


def _others(*secrets: bytes) -> list[ClientCookie[str]]:
    return [_cookie(*secrets, keys={"one": f"group {number}\0a:80"}) for number in range(8)]


def _walk(cookies: Sequence[ClientCookie[str]], now: float = _NOW) -> bytes:
    """The field of a client that has been answered by each of these groups in turn."""
    field = b""
    for cookie in cookies:
        field = b"FIRST=" + cookie.lines("one", now, field).partition(b"@")[0]
    return field


@pytest.mark.parametrize("secrets", [(), (_SECRET,)], ids=["plain", "sealed"])
def test_value_keeps_what_other_groups_have_named(secrets: tuple[bytes, ...]) -> None:
    """A client that goes from group to group keeps its session with the latest four of them."""
    groups = _others(*secrets)
    for count in range(1, 9):
        field = _walk(groups[:count])
        found = [group.find(field, _NOW) for group in groups[:count]]
        assert found == [None] * (count - 4) + ["one"] * min(count, 4)


@pytest.mark.parametrize("secrets", [(), (_SECRET,)], ids=["plain", "sealed"])
def test_value_does_not_grow_with_every_response(secrets: tuple[bytes, ...]) -> None:
    """Two groups in turn, and one again and again: an entry for each, and no more."""
    groups = _others(*secrets)
    assert len(_walk(groups[:2] * 10)) == len(_walk(groups[:2]))
    assert len(_walk(groups[:1] * 10)) == len(_walk(groups[:1]))
    assert len(_walk(groups * 5)) == len(_walk(groups[:4]))


def test_value_keeps_no_entry_that_is_over() -> None:
    """Neither of others nor one's own."""
    first, second, *_ = _others()
    field = _walk([first], _NOW - 60)
    assert len(_value(second, "one")) == 40
    assert second.lines("one", _NOW, field) == second.lines("one", _NOW)
    assert len(second.lines("one", _NOW - 1, field).partition(b"@")[0]) == 80


@pytest.mark.parametrize(
    "junk",
    [
        b"f" * 39,
        b"f" * 41,
        b"ffffffff" + b"g" * 32,
        b"ffffffff" + b"F" * 32,
        b"ffffffff" + b"\r\nX: " + b"0" * 27,
        b"f" * 200,
        b"ffffffff" + b"," * 32,
    ],
    ids=repr,
)
def test_value_keeps_nothing_that_is_no_entry(junk: bytes) -> None:
    """What a client has made up is not written into a cookie."""
    cookie = _cookie()
    assert cookie.lines("one", _NOW, b"FIRST=" + junk) == cookie.lines("one", _NOW)
