from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from albkit.wire.http1.framing import (
    LAST_CHUNK,
    MANY_CHUNKS,
    Body,
    ChunkedBody,
    FramingError,
    SizedBody,
    UntilCloseBody,
    encode_chunk,
    encode_last_chunk,
)

Outcome = tuple[str, bytes, tuple[bytes, ...], bytes]


def _fed(body: Body, segments: Iterable[bytes]) -> Outcome:
    """What a body makes of segments: how it ended, its data, its trailers, and what lay behind it."""
    data = b""
    behind = b""
    try:
        for segment in segments:
            if body.over:
                behind += segment
            elif segment:
                data += b"".join(body.feed(segment))
                while body.is_behind:
                    data += b"".join(body.feed(b""))
    except FramingError:
        return "refused", data, (), b""
    if not body.over:
        assert not body.at_close() or isinstance(body, UntilCloseBody)
        return "open", data, tuple(body.trailers), b""
    assert body.at_close()
    return "over", data, tuple(body.trailers), body.rest() + behind


def _chunked(*segments: bytes) -> Outcome:
    return _fed(ChunkedBody(), segments)


def _cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


# Sized and until close


@given(st.binary(max_size=40), st.binary(max_size=10), st.lists(st.integers(0, 50), max_size=5))
def test_sized_body_ends_after_its_length_in_any_segments(data: bytes, behind: bytes, places: list[int]) -> None:
    """However the bytes come: the data is what the length says, and the rest is left."""
    assert _fed(SizedBody(len(data)), _cut(data + behind, places)) == ("over", data, (), behind)


def test_sized_body_cut_short_is_not_complete() -> None:
    """A connection that ends early ends no body (RFC 9112 section 8)."""
    assert _fed(SizedBody(5), [b"four"]) == ("open", b"four", (), b"")


def test_sized_body_of_nothing_is_over_at_once() -> None:
    """A length of 0 needs no byte."""
    assert SizedBody(0).over


@given(st.lists(st.binary(min_size=1, max_size=10), max_size=5))
def test_until_close_body_is_all_that_comes(segments: list[bytes]) -> None:
    """It ends with its connection and not before (RFC 9112 section 6.3)."""
    body = UntilCloseBody()
    assert _fed(body, segments) == ("open", b"".join(segments), (), b"")
    assert body.at_close()
    assert body.rest() == b""


# What is right in chunks

_names = st.sampled_from([b"X-Check", b"etag", b"A", b"server-timing"])
_values = st.sampled_from([b"", b"1", b"a b", b"\xc3\xa9", b'"x"'])
_extensions = st.sampled_from([b"", b";a", b";a=b", b' ; a = "q\\"; x" ; b', b';x=""'])
_sizes = st.sampled_from([b"%x", b"%X", b"0%x", b"000%X"])
_chunks = st.lists(st.tuples(st.binary(min_size=1, max_size=20), _sizes, _extensions), max_size=4)
_trailers = st.lists(st.tuples(_names, _values), max_size=3)
_places = st.lists(st.integers(0, 200), max_size=8)


def _wire(chunks: list[tuple[bytes, bytes, bytes]], last_extension: bytes, trailers: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(size % len(data) + extension + b"\r\n" + data + b"\r\n" for data, size, extension in chunks)
    return body + b"0" + last_extension + b"\r\n" + b"".join(b"%s: %s\r\n" % trailer for trailer in trailers) + b"\r\n"


@given(_chunks, _extensions, _trailers, st.binary(max_size=10), _places)
def test_chunked_body_is_the_same_in_any_segments(
    chunks: list[tuple[bytes, bytes, bytes]], last: bytes, trailers: list[tuple[bytes, bytes]], behind: bytes, places: list[int]
) -> None:
    """Wherever the connection cuts the bytes: the same data, trailers and rest (RFC 9112 section 7.1)."""
    wire = _wire(chunks, last, trailers) + behind
    expected = "over", b"".join(data for data, _, _ in chunks), tuple(b"%s: %s" % trailer for trailer in trailers), behind
    assert _chunked(wire) == expected
    assert _chunked(*_cut(wire, places)) == expected
    assert _chunked(*(wire[place : place + 1] for place in range(len(wire)))) == expected


def test_chunked_body_is_the_same_at_every_split() -> None:
    """Each pair of places at which a message with everything in it can be cut."""
    wire = b'5;a="b"\r\nhello\r\nA\r\n, world...\r\n0;x\r\nX-Check: 1\r\nB: \r\n\r\nGET'
    expected = "over", b"hello, world...", (b"X-Check: 1", b"B: "), b"GET"
    for first in range(len(wire) + 1):
        for second in range(first, len(wire) + 1):
            assert _chunked(wire[:first], wire[first:second], wire[second:]) == expected, (first, second)


@given(
    _chunks,
    _trailers,
    st.integers(0, 200),
    st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"\0", b"0", b"g", b";", b":", b"\xff", b"-", b"_"]),
    st.booleans(),
    _places,
)
@example([(b"hello", b"%x", b"")], [], 6, b"", True, [5])
def test_chunked_body_with_one_flaw_is_judged_the_same_in_any_segments(
    chunks: list[tuple[bytes, bytes, bytes]],
    trailers: list[tuple[bytes, bytes]],
    place: int,
    flaw: bytes,
    replaces: bool,
    places: list[int],
) -> None:
    """A byte changed, removed or put in: refused in one piece is refused in all, and data given before is the beginning of the same."""
    wire = _wire(chunks, b"", trailers)
    place %= len(wire)
    wire = wire[:place] + flaw + wire[place + replaces :]
    whole = _chunked(wire)
    for segments in (_cut(wire, places), [wire[index : index + 1] for index in range(len(wire))]):
        outcome = _chunked(*segments)
        if whole[0] == "refused":
            assert outcome[0] == "refused"
        else:
            assert outcome == whole


@pytest.mark.parametrize("length", range(4_085, 4_105))
def test_chunk_line_of_any_length_is_judged_the_same_before_its_end(length: int) -> None:
    """The bound on a line counts the same whether its last byte has come or not."""
    line = b"5;" + b"a" * (length - 2)
    whole = _chunked(line + b"\r\nhello\r\n" + LAST_CHUNK)
    assert _chunked(line + b"\r", b"\nhello\r\n" + LAST_CHUNK) == whole
    assert _chunked(line, b"\r\nhello\r\n" + LAST_CHUNK) == whole


@pytest.mark.parametrize(
    "line",
    [b"5", b"05", b"0000000000000005", b"5;a", b"5;a=b", b'5;a="b"', b'5;a="b;\\"\t"', b"5 ; a = b", b"5\t;a;b;c=d"],
    ids=repr,
)
def test_chunk_line_of_the_grammar_is_taken(line: bytes) -> None:
    """RFC 9112 sections 7.1 and 7.1.1, bad whitespace among it."""
    assert _chunked(line + b"\r\nhello\r\n" + LAST_CHUNK) == ("over", b"hello", (), b"")


@pytest.mark.parametrize("digits", [b"a", b"A"])
def test_chunk_size_is_hexadecimal_in_either_case(digits: bytes) -> None:
    """RFC 9112 section 7.1: HEXDIG."""
    assert _chunked(digits + b"\r\n0123456789\r\n" + LAST_CHUNK) == ("over", b"0123456789", (), b"")


# What is wrong in chunks

_MALFORMED = [
    # Http11Probe names the case; the bytes are those behind the head.
    pytest.param(b"5;\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-BARE-SEMICOLON"),
    pytest.param(b"5;bad[=x\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-EXT-INVALID-TOKEN"),
    pytest.param(b"1_0\r\nhello world!!!!!\r\n0\r\n\r\n", id="SMUG-CHUNK-UNDERSCORE"),
    pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-HEX-PREFIX"),
    pytest.param(b"+5\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-SIZE-PLUS"),
    pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-SIZE-TRAILING-OWS"),
    pytest.param(b" 5\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-LEADING-SP"),
    pytest.param(b"5\r\nhello0\r\n\r\n", id="SMUG-CHUNK-MISSING-TRAILING-CRLF"),
    pytest.param(b"5;\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-EXT-LF"),
    pytest.param(b"5\r\nhello!!\r\n0\r\n\r\n", id="SMUG-CHUNK-SPILL"),
    pytest.param(b"5\r\nhello\n0\r\n\r\n", id="SMUG-CHUNK-LF-TERM"),
    pytest.param(b"5;\x00ext\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-EXT-CTRL"),
    pytest.param(b"5;a\rX\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-EXT-CR"),
    pytest.param(b"5\r\nhello\r\n0\r\n\n", id="SMUG-CHUNK-LF-TRAILER"),
    pytest.param(b"-1\r\nhello\r\n0\r\n\r\n", id="SMUG-CHUNK-NEGATIVE"),
    pytest.param(b"5\rhello\r\n0\r\n\r\n", id="SMUG-CHUNK-BARE-CR-TERM"),
    pytest.param(b"+0\r\n\r\nX", id="SMUG-CHUNK-INVALID-SIZE-DESYNC"),
    pytest.param(b"FFFFFFFFFFFFFFFF0\r\nhello\r\n0\r\n\r\n", id="MAL-CHUNK-SIZE-OVERFLOW"),
    pytest.param(b"5;ext=" + b"a" * 65_536 + b"\r\nhello\r\n0\r\n\r\n", id="MAL-CHUNK-EXT-64K"),
    # RFC 9112 section 7.1, and what int() would take (engine notes 0)
    pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="no size"),
    pytest.param(b";a\r\nhello\r\n0\r\n\r\n", id="extension without a size"),
    pytest.param(b"g\r\nhello\r\n0\r\n\r\n", id="no digit"),
    pytest.param(b"5g\r\nhello\r\n0\r\n\r\n", id="digit and letter"),
    pytest.param(b"5 5\r\nhello\r\n0\r\n\r\n", id="two sizes"),
    pytest.param(b"5,5\r\nhello\r\n0\r\n\r\n", id="list of sizes"),
    pytest.param(b"5.0\r\nhello\r\n0\r\n\r\n", id="fraction"),
    pytest.param(b"5e0 \r\nhello\r\n0\r\n\r\n", id="blank behind digits"),
    pytest.param(b"\t5\r\nhello\r\n0\r\n\r\n", id="tab before"),
    pytest.param(b"5\t\r\nhello\r\n0\r\n\r\n", id="tab behind"),
    pytest.param(b"-0\r\n\r\n", id="negative nothing"),
    pytest.param("\u0665".encode() + b"\r\nhello\r\n0\r\n\r\n", id="digits of another script"),
    pytest.param(b"5\x0b\r\nhello\r\n0\r\n\r\n", id="vertical tab behind"),
    pytest.param(b"5\0\r\nhello\r\n0\r\n\r\n", id="NUL behind"),
    pytest.param(b"5\r\r\nhello\r\n0\r\n\r\n", id="two CR"),
    pytest.param(b"5\nhello\n0\n\n", id="bare LF throughout"),
    pytest.param(b"5\n\rhello\r\n0\r\n\r\n", id="LF CR"),
    pytest.param(b"00000000000000005\r\nhello\r\n0\r\n\r\n", id="17 digits"),
    pytest.param(b"8000000000000000\r\n", id="2^63"),
    pytest.param(b"ffffffffffffffff\r\n", id="2^64-1"),
    pytest.param(b"5;a=\r\nhello\r\n0\r\n\r\n", id="extension without a value"),
    pytest.param(b"5;=b\r\nhello\r\n0\r\n\r\n", id="extension without a name"),
    pytest.param(b'5;a="b\r\nhello\r\n0\r\n\r\n', id="quote open"),
    pytest.param(b'5;a="b"c\r\nhello\r\n0\r\n\r\n', id="text behind a quote"),
    pytest.param(b'5;a="\x01"\r\nhello\r\n0\r\n\r\n', id="control in a quote"),
    pytest.param(b'5;a="\n"\r\nhello\r\n0\r\n\r\n', id="line end in a quote"),
    pytest.param(b"5;a b\r\nhello\r\n0\r\n\r\n", id="blank in an extension"),
    pytest.param(b"5;a \r\nhello\r\n0\r\n\r\n", id="blank behind an extension"),
    pytest.param(b"5;\xff\r\nhello\r\n0\r\n\r\n", id="high byte in an extension"),
    pytest.param(b"4\r\nhello\r\n0\r\n\r\n", id="size too small"),
    pytest.param(b"6\r\nhello\r\n0\r\n\r\n", id="size too large"),
    pytest.param(b"5\r\nhello\r0\r\n\r\n", id="CR alone behind data"),
    pytest.param(b"5\r\nhello\r\n\r\n0\r\n\r\n", id="empty line between chunks"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="a request"),
]


@pytest.mark.parametrize("wire", _MALFORMED)
def test_malformed_chunk_is_refused_in_any_segments(wire: bytes) -> None:
    """In one piece, byte by byte, and cut at any single place near its beginning."""
    assert _chunked(wire)[0] == "refused"
    assert _chunked(*(wire[place : place + 1] for place in range(len(wire))))[0] == "refused"
    for place in range(1, min(len(wire), 30)):
        assert _chunked(wire[:place], wire[place:])[0] == "refused"


def test_largest_chunk_is_awaited() -> None:
    """2^63-1 bytes are a size; whether they come is another matter."""
    assert _chunked(b"7fffffffffffffff\r\nhello") == ("open", b"hello", (), b"")


@pytest.mark.parametrize(
    "wire", [b"", b"5", b"5\r", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"5\r\nhello\r", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nA: b\r\n"]
)
def test_chunked_body_cut_short_is_not_complete(wire: bytes) -> None:
    """Only the empty line behind the last chunk ends the body (RFC 9112 section 8)."""
    body = ChunkedBody()
    if wire:
        body.feed(wire)
    assert not body.over
    assert not body.at_close()


def test_chunk_data_is_given_before_the_chunk_is_whole() -> None:
    """Each byte goes on as it comes; nothing waits for the end of its chunk."""
    body = ChunkedBody()
    assert b"".join(body.feed(b"a\r\nhel")) == b"hel"
    assert b"".join(body.feed(b"lo")) == b"lo"


# Trailers of chunked bodies


def _with_trailer(line: bytes) -> Outcome:
    return _chunked(b"0\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize(
    "line", [b"X-Check: 1", b"x-check:1", b'ETag: \t"a" \t', b"A:", b"Server-Timing: \xc3\xa9", b"Link: <a>; rel=b"], ids=repr
)
def test_trailer_is_passed_on(line: bytes) -> None:
    """Name as it came, value without the blanks around it."""
    name, _, value = line.partition(b":")
    assert _with_trailer(line) == ("over", b"", (name + b": " + value.strip(b" \t"),), b"")


def test_trailers_keep_order_and_repeats() -> None:
    """They are fields like others."""
    assert _chunked(b"0\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n")[2] == (b"A: 1", b"B: 2", b"a: 3")


@pytest.mark.parametrize(
    "name",
    [
        b"Transfer-Encoding",
        b"Content-Length",
        b"Host",
        b"Connection",
        b"Keep-Alive",
        b"Upgrade",
        b"TE",
        b"Trailer",
        b"Expect",
        b"Content-Encoding",
        b"Content-Type",
        b"Content-Range",
    ],
)
def test_trailer_of_framing_or_routing_is_refused(name: bytes) -> None:
    """Framing, routing and content processing are no matters for a trailer (RFC 9110 section 6.5.1), in any case."""
    for spelling in (name, name.lower(), name.upper()):
        assert _with_trailer(spelling + b": 1")[0] == "refused"


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Amzn-Trace-Id",
        b"X-Amzn-Mtls-Clientcert",
        b"Authorization",
        b"Proxy-Authorization",
        b"Cookie",
        b"Set-Cookie",
        b"Forwarded",
    ],
)
def test_trailer_of_trust_is_dropped(name: bytes) -> None:
    """Who a client is cannot be said behind its body (RFC 9110 section 6.5.1); the rest of the trailers goes on."""
    for spelling in (name, name.lower(), name.upper()):
        assert _chunked(b"0\r\nA: 1\r\n" + spelling + b": x\r\nB: 2\r\n\r\n") == ("over", b"", (b"A: 1", b"B: 2"), b"")


@pytest.mark.parametrize(
    "line",
    [b"A", b": b", b"A : b", b" A: b", b"A: \0", b"A: b\rc", b"A: \x7f", b"A B: c", b"A: b\nC: d", b"\xff: b", b"A: b\r\n folded", b"\n"],
    ids=repr,
)
def test_trailer_that_is_no_field_is_refused(line: bytes) -> None:
    """RFC 9112 section 5, as strictly as a head."""
    assert _with_trailer(line)[0] == "refused"


# Bounds of chunked bodies


def test_trailers_have_a_bound_in_all() -> None:
    """Many small ones and one large one are refused alike, and before their end has come."""
    assert _chunked(b"0\r\n" + b"A: b\r\n" * 1_000)[0] == "open"
    assert _chunked(b"0\r\n" + b"A: b\r\n" * 20_000)[0] == "refused"
    assert _chunked(b"0\r\nA: " + b"b" * 100_000)[0] == "refused"
    assert _chunked(b"0\r\n", *[b"A: " + b"b" * 1_000] * 100)[0] == "refused"


def test_dropped_trailers_count_as_well() -> None:
    """What is thrown away still has to be read."""
    assert _chunked(b"0\r\n" + b"Cookie: b\r\n" * 20_000)[0] == "refused"


def test_chunk_extensions_have_a_bound_in_all() -> None:
    """A body that is all extensions and no data is refused after a while."""
    assert _chunked((b"1;" + b"a" * 1_000 + b"\r\nx\r\n") * 10)[0] == "open"
    assert _chunked((b"1;" + b"a" * 1_000 + b"\r\nx\r\n") * 1_000)[0] == "refused"


TINY = {
    "plain": b"1\r\nX\r\n",
    "leading zero": b"01\r\nX\r\n",
    "extension": b"1;\t\r\nX\r\n".replace(b"\t", b"a"),
    "two sizes in turn": b"1\r\nX\r\n2\r\nXX\r\n",
}


@pytest.mark.parametrize("tiny", TINY.values(), ids=TINY)
def test_tiny_chunks_are_read_so_many_at_a_time(tiny: bytes) -> None:
    """No call reads more of them than its bound, none is lost, and what comes meanwhile stays behind them."""
    body = ChunkedBody()
    half = tiny * 2000
    data = body.feed(half)
    assert body.is_behind
    calls = [sum(map(len, data))]
    calls.append(sum(map(len, body.feed(half + b"3\r\nend\r\n0\r\nX-Sum: 1\r\n\r\nbehind"))))
    last: list[bytes] = []
    while body.is_behind:
        assert not body.over
        last = body.feed(b"")
        assert len(last) <= 16, "many small pieces are one"
        calls.append(sum(map(len, last)))
    assert max(calls) <= 2 * MANY_CHUNKS + 3
    assert sum(calls) == (half * 2).count(b"X") + 3
    assert b"".join(last).endswith(b"end")
    assert body.over
    assert body.trailers == [b"X-Sum: 1"]
    assert body.rest() == b"behind"


def test_tiny_trailers_are_read_so_many_at_a_time() -> None:
    """They have a bound in all as well."""
    body = ChunkedBody()
    body.feed(b"0\r\n" + b"a:\r\n" * 4000 + b"\r\n")
    calls = 1
    while body.is_behind:
        body.feed(b"")
        calls += 1
    assert calls >= 4000 / (2 * MANY_CHUNKS)
    assert body.over
    assert len(body.trailers) == 4000


@given(st.lists(st.integers(0, 30_000), max_size=5))
def test_tiny_chunks_are_the_same_in_any_segments(places: list[int]) -> None:
    """Whether they come together or not."""
    assert _chunked(*_cut(TINY["two sizes in turn"] * 2000 + b"0\r\n\r\nbehind", places)) == ("over", b"X" * 6000, (), b"behind")


def test_chunk_line_without_an_end_is_refused() -> None:
    """No more than a few KiB of an unfinished line are kept."""
    assert _chunked(b"5;" + b"a" * 100_000)[0] == "refused"
    assert _chunked(*[b"0" * 1_000] * 20)[0] == "refused"


@pytest.mark.timeout(3)
def test_trailer_of_nothing_but_blanks_is_judged_at_once() -> None:
    """The longest line a sender may write costs no more than any other."""
    assert _with_trailer(b"A:" + b" " * 16_000 + b"\0")[0] == "refused"
    assert _with_trailer(b"A:" + b" " * 16_000)[0] == "over"


# Coding


@given(st.lists(st.lists(st.binary(max_size=20), max_size=3).filter(any), max_size=4), _trailers)
def test_encoded_chunks_are_read_back(chunks: list[list[bytes]], trailers: list[tuple[bytes, bytes]]) -> None:
    """What is written reads as what was put in."""
    lines = [b"%s: %s" % trailer for trailer in trailers]
    wire = b"".join(b"".join(encode_chunk(pieces)) for pieces in chunks) + encode_last_chunk(lines)
    assert _chunked(wire) == ("over", b"".join(map(b"".join, chunks)), tuple(lines), b"")


def test_encoded_chunk_is_plain() -> None:
    """Hexadecimal size, no extensions; the last chunk with and without trailers."""
    assert b"".join(encode_chunk([b"0123456789", b"abcdef"])) == b"10\r\n0123456789abcdef\r\n"
    assert encode_last_chunk([]) == b"0\r\n\r\n"
    assert encode_last_chunk([b"A: b", b"C: d"]) == b"0\r\nA: b\r\nC: d\r\n\r\n"
