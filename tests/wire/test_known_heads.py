"""Blocks of fields that have come before. `tests.wire.heads.Reading` compares each head of this folder with what is recalled of it."""

from __future__ import annotations

import pytest

from albkit.wire.known_heads import KnownHeads
from tests.wire.heads import HOST, Reading, contents, get, head

_LONGEST = 16_384


def _known(reading: Reading, *heads: bytes) -> KnownHeads:
    known = KnownHeads(_LONGEST)
    for raw in heads:
        known.remember(raw, reading.request(raw))
    return known


@pytest.mark.parametrize(
    "raw",
    [
        get(target=b"/a/b?c=d"),
        get(target=b"/%2F/..//?%zz?"),
        get(method=b"DELETE", target=b"/-._~!$&'()*+,;=:@"),
        get(method=b"OPTIONS"),
        get(b"Cookie: a=1", b"Connection: keep-alive", b"Accept: */*", target=b"/x"),
    ],
)
def test_head_with_known_fields_is_recalled_as_it_would_be_read(reading: Reading, raw: bytes) -> None:
    """Whatever its line says, all that is known of it is what the parser and the reader would say."""
    known = _known(reading, get(target=b"/first") if raw.count(b"\r\n") == 3 else get(*raw.split(b"\r\n")[2:-2], target=b"/first"))
    recalled = known.recall(raw)
    assert recalled is not None
    assert contents(recalled) == contents(reading.request(raw))


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.0",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"get / HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"FROB / HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET http://other.example/ HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a\x00b HTTP/1.1",
        b"GET /a\nb HTTP/1.1",
        b'GET /" HTTP/1.1',
        b"GET / HTTP/2.0",
        b"GET /",
        b"",
    ],
)
def test_line_that_is_not_plain_is_left_to_the_parser(reading: Reading, line: bytes) -> None:
    """Nothing is said of it, known fields or not."""
    known = _known(reading, get())
    assert known.recall(get()) is not None
    assert known.recall(head(line, HOST)) is None


@pytest.mark.parametrize(
    "line", [b"GET http://other.example/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET /\xc3\xa9 HTTP/1.1", b'GET /" HTTP/1.1']
)
def test_fields_behind_a_line_that_is_not_plain_are_not_remembered(reading: Reading, line: bytes) -> None:
    """An absolute-form target names the host that the fields do not."""
    assert _known(reading, head(line, HOST)).recall(get()) is None


def test_line_that_is_too_long_is_left_to_the_parser(reading: Reading) -> None:
    """Which refuses it."""
    known = _known(reading, get())
    assert known.recall(get(target=b"/" + b"a" * (_LONGEST - 14))) is not None
    assert known.recall(get(target=b"/" + b"a" * (_LONGEST - 13))) is None


def test_fields_that_differ_in_a_byte_are_not_known(reading: Reading) -> None:
    """A blank more, or a letter of another case."""
    known = _known(reading, get(b"Accept: a"))
    assert [known.recall(get(field)) for field in (b"Accept:  a", b"accept: a", b"Accept: b", b"Accept: a", b"X: y")][0:3] == [None] * 3
    assert known.recall(get(b"Accept: a")) is not None
    assert known.recall(get()) is None


def test_what_is_done_with_one_request_changes_no_other(reading: Reading) -> None:
    """Places of the lines are filled, and lines are rewritten."""
    raw = get(b"Accept: a")
    known = KnownHeads(_LONGEST)
    first = reading.request(raw)
    known.remember(raw, first)
    first.lines[-2] = b"X: ours"
    second = known.recall(raw)
    assert second is not None
    second.lines[1] = b"Host: elsewhere"
    second.lines[-2:] = [b"X: ours", b"", b""]
    assert second.host == "example.com"
    assert contents(known.recall(raw)) == contents(reading.request(raw))  # type: ignore[arg-type]
