from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from albkit.policy.cookies import MOST_TRIED, cookie_values, sets_cookie


def _naive_values(cookies: bytes, name: bytes) -> list[bytes]:
    """Pair by pair: blanks before a name do not count, nor do those behind a value; those that hold something, up to the bound."""
    values = []
    for number, pair in enumerate(cookies.split(b";")):
        if number:
            pair = pair.lstrip(b" \t")
        if pair.startswith(name) and pair[len(name) :].rstrip():
            values.append(pair[len(name) :].rstrip())
    return values[:MOST_TRIED]


_PIECES = st.lists(st.sampled_from([b"a", b"b", b"=", b";", b" ", b"\t", b"a=", b"ab=", b"; a=", b"x", b'"', b"\xff", b"A="]), max_size=25)


@pytest.mark.parametrize(
    ("cookies", "values"),
    [
        (b"", []),
        (b"a=", []),
        (b"a", []),
        (b"a=1", [b"1"]),
        (b"a=1;b=2", [b"1"]),
        (b"b=2; a=1", [b"1"]),
        (b"b=2;a=1", [b"1"]),
        (b"b=2;\ta=1", [b"1"]),
        (b"b=2; \t  a=1", [b"1"]),
        (b"a=1 ; b=2", [b"1"]),
        (b"a=1\t", [b"1"]),
        (b"a=1; a=2", [b"1", b"2"]),
        (b"a=1;a=2; b=3;\ta=4 ;a=", [b"1", b"2", b"4"]),
        (b"a=; a=2", [b"2"]),
        (b"A=1", []),
        (b"ba=1", []),
        (b"ba=1; a=2", [b"2"]),
        (b"b=a=1", []),
        (b"b=x a=1", []),
        (b"b=a=1; a=2", [b"2"]),
        (b"b=a=1 a=2,a=3; a=4", [b"4"]),
        (b"a=b=c", [b"b=c"]),
        (b'a="1"', [b'"1"']),
        (b"a= 1", [b" 1"]),
        (b";a=1", [b"1"]),
        (b";;; a=1", [b"1"]),
        (b"a =1", []),
        (b"a=\xe4\xff", [b"\xe4\xff"]),
    ],
    ids=repr,
)
def test_cookie_values_are_those_of_exactly_this_name(cookies: bytes, values: list[bytes]) -> None:
    """Wherever they stand, whatever blanks are around them, and never part of another name or value."""
    assert cookie_values(cookies, b"a=") == values
    assert _naive_values(cookies, b"a=") == values


@given(_PIECES.map(b"".join), st.sampled_from([b"a=", b"ab=", b"b="]))
@example(b"b= a=1;a=2", b"a=")
def test_cookie_values_are_what_looking_at_every_pair_finds(cookies: bytes, name: bytes) -> None:
    """However the field is made."""
    assert cookie_values(cookies, name) == _naive_values(cookies, name)


@given(st.binary(max_size=60))
def test_cookie_values_of_any_bytes_are_what_looking_at_every_pair_finds(cookies: bytes) -> None:
    """And nothing is an error."""
    assert cookie_values(cookies, b"a=") == _naive_values(cookies, b"a=")


class _Counting(bytes):
    """A Cookie field that counts how many bytes are copied out of it."""

    copied = 0

    def __getitem__(self, place: object) -> object:  # type: ignore[override]
        part = super().__getitem__(place)  # type: ignore[call-overload]
        type(self).copied += len(part) if isinstance(part, bytes) else 1
        return part


@pytest.mark.parametrize("filling", [b"a=", b" a=", b"xa=", b"b a="], ids=repr)
def test_cookie_values_look_at_each_byte_a_few_times(filling: bytes) -> None:
    """A field full of the name inside one value costs no more than its length, several times: no client can keep a core busy with it."""
    cookies = _Counting(b"x=" + filling * (60_000 // len(filling)))
    _Counting.copied = 0
    assert cookie_values(cookies, b"a=") == []
    assert _Counting.copied <= 10 * len(cookies)


@pytest.mark.parametrize("filling", [b"; a=", b";a=;", b"; a=1", b";     a=   ", b"; a=12345678901234567890"], ids=repr)
def test_cookie_values_of_thousands_are_the_first_few(filling: bytes) -> None:
    """However many somebody sends, so many are tried, and each byte is looked at a few times at most."""
    cookies = _Counting(b"x=1" + filling * (60_000 // len(filling)))
    _Counting.copied = 0
    assert len(cookie_values(cookies, b"a=")) in (0, MOST_TRIED)
    assert _Counting.copied <= 10 * len(cookies)


@pytest.mark.parametrize(
    ("line", "sets"),
    [
        (b"Set-Cookie: a=1", True),
        (b"set-cookie: a=1", True),
        (b"SET-COOKIE:a=1", True),
        (b"Set-Cookie:  \ta=1; Path=/", True),
        (b"Set-Cookie: a=", True),
        (b"Set-Cookie: a=; Max-Age=0", True),
        (b"Set-Cookie: A=1", False),
        (b"Set-Cookie: ab=1", False),
        (b"Set-Cookie: ba=1", False),
        (b"Set-Cookie: b=1; a=1", False),
        (b"Set-Cookie: a", False),
        (b"Set-Cookie:", False),
        (b"Set-Cookie2: a=1", False),
        (b"X-Set-Cookie: a=1", False),
        (b"Cookie: a=1", False),
        (b"Server: a=1", False),
        (b"", False),
        (b"S", False),
    ],
    ids=repr,
)
def test_sets_cookie_where_a_line_sets_one_of_exactly_this_name(line: bytes, sets: bool) -> None:
    """Wherever the line stands among those of the response."""
    assert sets_cookie([b"HTTP/1.1 200 OK", line, b"", b""], b"a=") is sets
    assert sets_cookie([b"HTTP/1.1 200 OK", b"Set-Cookie: b=2", b"Date: x", line], b"a=") is sets


def test_sets_cookie_of_no_lines_is_none() -> None:
    """A head without fields sets nothing."""
    assert sets_cookie([], b"a=") is False
