from __future__ import annotations

import string

import pytest

from albkit.wire.http1.grammar import CONTROLS, FIELD_LINE, TOKEN, TOKEN_BYTES

_TCHAR = set((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())  # RFC 9110 section 5.6.2
_FIELD_BYTES = {0x09, 0x20, *range(0x21, 0x7F), *range(0x80, 0x100)}  # RFC 9110 section 5.5


def test_token_is_the_rfcs() -> None:
    """Just the 77 characters of RFC 9110 section 5.6.2, and at least one of them."""
    assert {byte for byte in range(256) if TOKEN.fullmatch(bytes([byte]))} == _TCHAR
    assert not TOKEN.fullmatch(b"")
    assert not TOKEN.fullmatch(b"a b")


def test_field_line_takes_only_field_bytes() -> None:
    """Visible characters, blanks and obs-text inside a value; a token as the name (RFC 9110 section 5.5)."""
    for byte in range(256):
        assert bool(FIELD_LINE.fullmatch(b"a:b%cc" % byte)) is (byte in _FIELD_BYTES), byte
        assert bool(FIELD_LINE.fullmatch(b"a%cb: c" % byte)) is (byte in _TCHAR or byte == 0x3A), byte


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"a:b", b"a", b"b"),
        (b"A: b", b"A", b"b"),
        (b"a:\t b c \t", b"a", b"b c"),
        (b"a:", b"a", b""),
        (b"a: \t ", b"a", b""),
        (b"a::b:", b"a", b":b:"),
    ],
)
def test_field_line_gives_name_and_value_without_blanks_around(line: bytes, name: bytes, value: bytes) -> None:
    """Optional whitespace around a value is no part of it (RFC 9112 section 5.1)."""
    match = FIELD_LINE.fullmatch(line)
    assert match is not None
    assert (match[1], match[2].strip(b" \t")) == (name, value)


@pytest.mark.parametrize("line", [b"", b":", b":b", b"a", b"a b", b"a :b", b" a:b", b"\ta:b", b"a:b\r", b"a:b\n", b"a:\0"], ids=repr)
def test_field_line_refuses_what_is_none(line: bytes) -> None:
    """No name, no colon, a blank before the colon, a folded line, a stray line end (RFC 9112 sections 5.1, 5.2)."""
    assert not FIELD_LINE.fullmatch(line)


@pytest.mark.timeout(3)
def test_field_line_of_nothing_but_blanks_is_judged_at_once() -> None:
    """16 KiB of blanks before a bad byte are refused like any other line: no blank may be tried in more than one way."""
    assert not FIELD_LINE.fullmatch(b"a:" + b" " * 16_000 + b"\0")
    assert not FIELD_LINE.fullmatch(b"a:" + b" x" * 8_000 + b"\0")


def test_controls_are_all_but_the_tab() -> None:
    """RFC 9110 section 5.5: visible characters, blanks, tabs and obs-text may stand in a field."""
    assert set(CONTROLS) == set(range(256)) - _FIELD_BYTES


def test_token_bytes_are_those_of_a_token() -> None:
    """For a look at the first byte alone."""
    assert TOKEN_BYTES == _TCHAR
