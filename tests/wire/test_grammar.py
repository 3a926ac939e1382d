from __future__ import annotations

import string

import pytest

from albkit.wire.grammar import CLEAN_HEAD, FIELD_LINE, TOKEN

_TCHAR = set((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())  # RFC 9110 section 5.6.2
_FIELD_BYTES = {0x09, 0x20, *range(0x21, 0x7F), *range(0x80, 0x100)}  # RFC 9110 section 5.5
_TARGET_BYTES = {*range(0x21, 0x7F), *range(0x80, 0x100)}  # alb-reference 2.4: bytes >= 0x80 are fine, blanks and controls are not


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


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"FROB /a?b HTTP/1.0\r\nHost: a\r\nX-Y:z \r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"get * HTTP/1.1\r\nHost:\r\n\r\n",
    ],
)
def test_clean_head_takes_custom_methods_and_high_bytes(head: bytes) -> None:
    """Right but for a method of its own, or raw bytes in the target (design 4)."""
    assert CLEAN_HEAD.fullmatch(head)


@pytest.mark.parametrize(
    "head",
    [
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
        b"GET / HTTP/1.1\r\nA\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n",
        b"\r\nGET / HTTP/1.1\r\n\r\n",
        b"G(T / HTTP/1.1\r\n\r\n",
    ],
    ids=repr,
)
def test_clean_head_refuses_every_other_flaw(head: bytes) -> None:
    """The second look at a head is for heads without any other flaw."""
    assert not CLEAN_HEAD.fullmatch(head)


def test_clean_head_targets_hold_no_blank_and_no_control() -> None:
    """Bytes of the target: visible ones and those from 0x80 up."""
    for byte in range(256):
        assert bool(CLEAN_HEAD.fullmatch(b"FROB /a%cb HTTP/1.1\r\n\r\n" % byte)) is (byte in _TARGET_BYTES), byte
