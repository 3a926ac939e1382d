from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from albkit.policy.cookies import cookie_value, sets_cookie


def _naive_value(cookies: bytes, name: bytes) -> bytes:
    """Pair by pair: blanks before a name do not count, nor do those behind a value; the first one is it."""
    for number, pair in enumerate(cookies.split(b";")):
        if number:
            pair = pair.lstrip(b" \t")
        if pair.startswith(name):
            return pair[len(name) :].rstrip()
    return b""


_PIECES = st.lists(st.sampled_from([b"a", b"b", b"=", b";", b" ", b"\t", b"a=", b"ab=", b"; a=", b"x", b'"', b"\xff", b"A="]), max_size=25)


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        (b"", b""),
        (b"a=", b""),
        (b"a", b""),
        (b"a=1", b"1"),
        (b"a=1;b=2", b"1"),
        (b"b=2; a=1", b"1"),
        (b"b=2;a=1", b"1"),
        (b"b=2;\ta=1", b"1"),
        (b"b=2; \t  a=1", b"1"),
        (b"a=1 ; b=2", b"1"),
        (b"a=1\t", b"1"),
        (b"a=1; a=2", b"1"),
        (b"a=; a=2", b""),
        (b"A=1", b""),
        (b"ba=1", b""),
        (b"ba=1; a=2", b"2"),
        (b"b=a=1", b""),
        (b"b=x a=1", b""),
        (b"b=a=1; a=2", b"2"),
        (b"b=a=1 a=2,a=3; a=4", b"4"),
        (b"a=b=c", b"b=c"),
        (b'a="1"', b'"1"'),
        (b"a= 1", b" 1"),
        (b";a=1", b"1"),
        (b";;; a=1", b"1"),
        (b"a =1", b""),
        (b"a=\xe4\xff", b"\xe4\xff"),
    ],
    ids=repr,
)
def test_cookie_value_is_that_of_the_first_with_exactly_this_name(cookies: bytes, value: bytes) -> None:
    """Wherever it stands, whatever blanks are around it, and never part of another name or value."""
    assert cookie_value(cookies, b"a=") == value
    assert _naive_value(cookies, b"a=") == value


@given(_PIECES.map(b"".join), st.sampled_from([b"a=", b"ab=", b"b="]))
@example(b"b= a=1;a=2", b"a=")
def test_cookie_value_is_what_looking_at_every_pair_finds(cookies: bytes, name: bytes) -> None:
    """However the field is made."""
    assert cookie_value(cookies, name) == _naive_value(cookies, name)


@given(st.binary(max_size=60))
def test_cookie_value_of_any_bytes_is_what_looking_at_every_pair_finds(cookies: bytes) -> None:
    """And nothing is an error."""
    assert cookie_value(cookies, b"a=") == _naive_value(cookies, b"a=")


class _Counting(bytes):
    """A Cookie field that counts how many bytes are copied out of it."""

    copied = 0

    def __getitem__(self, place: object) -> object:  # type: ignore[override]
        part = super().__getitem__(place)  # type: ignore[call-overload]
        type(self).copied += len(part) if isinstance(part, bytes) else 1
        return part


@pytest.mark.parametrize("filling", [b"a=", b" a=", b"xa=", b"b a="], ids=repr)
def test_cookie_value_looks_at_each_byte_a_few_times(filling: bytes) -> None:
    """A field full of the name inside one value costs no more than its length, several times: no client can keep a core busy with it."""
    cookies = _Counting(b"x=" + filling * (60_000 // len(filling)))
    _Counting.copied = 0
    assert cookie_value(cookies, b"a=") == b""
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
