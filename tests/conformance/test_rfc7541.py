"""RFC 7541 from outside: field blocks in all representations, and those that must not decode.

The first table holds the cases of h2spec's section `generic/5`, the second one those of its section `hpack`.
"""

from __future__ import annotations

import hpack
import pytest

import albkit as alb
from tests.conformance.h2_cases import Case, cases, goaway, play, staged
from tests.support.h2_frames import (
    COMPRESSION_ERROR,
    HEADER_TABLE_SIZE,
    block,
    continuation,
    get,
    headers,
    integer,
    literal,
    post,
    request_fields,
    rst_stream,
    text,
)

pytestmark = [pytest.mark.usefixtures("loop_guard"), pytest.mark.timeout(30)]

REQUEST = block(request_fields())
GET_METHOD, ROOT_PATH, HTTP_SCHEME, USER_AGENT = 2, 4, 6, 58
"""Places in the static table (appendix A)."""
FIRST = 62
"""The place of the newest entry of the dynamic table."""
INDEXING, PLAIN, NEVER = 0x40, 0x00, 0x10
PREFIX = {INDEXING: 6, PLAIN: 4, NEVER: 4}
"""Bits of the index in the first byte."""
FIELD = ("x-probe", "a value")


def indexed(place: int) -> bytes:
    """An indexed field (section 6.1)."""
    return integer(place, 7, 0x80)


def named(place: int, value: bytes, kind: int = PLAIN) -> bytes:
    """A literal whose name is in a table."""
    return integer(place, PREFIX[kind], kind) + value


def huffman(words: str) -> bytes:
    """A string with Huffman coding."""
    coded = hpack.Encoder().huffman_coder.encode(words.encode("latin-1"))
    return integer(len(coded), 7, 0x80) + coded


def resized(size: int) -> bytes:
    """A dynamic table size update (section 6.3)."""
    return integer(size, 5, 0x20)


TEST_NAME = b"\x00\x85\xf2\xb2\x4a\x84\xff"
"""A literal that begins with the name `x-test` in Huffman coding; its value follows: `test` is 49 50 9f."""
HEAD = indexed(GET_METHOD) + indexed(HTTP_SCHEME) + indexed(ROOT_PATH) + literal(":authority", "example.com")


@pytest.mark.parametrize(
    ("blocks", "line"),
    [
        pytest.param((HEAD,), b"host: example.com", id="6.1 indexed"),
        *[
            pytest.param((HEAD + named(USER_AGENT, string, kind),), b"user-agent: probe", id=f"6.2 {name} with an indexed name, {coding}")
            for name, kind in (("indexing", INDEXING), ("without indexing", PLAIN), ("never indexed", NEVER))
            for coding, string in (("plain", text("probe")), ("Huffman", huffman("probe")))
        ],
        *[
            pytest.param((HEAD + bytes([kind]) + code(FIELD[0]) + code(FIELD[1]),), b"x-probe: a value", id=f"6.2 {name}, {coding}")
            for name, kind in (("indexing", INDEXING), ("without indexing", PLAIN), ("never indexed", NEVER))
            for coding, code in (("plain", text), ("Huffman", huffman))
        ],
        pytest.param((resized(128) + HEAD,), b"host: example.com", id="6.3 a size update"),
        pytest.param((resized(128) + resized(4096) + HEAD,), b"host: example.com", id="6.3 two size updates"),
        pytest.param((HEAD + literal(*FIELD, first=INDEXING), HEAD + indexed(FIRST)), b"x-probe: a value", id="2.3.2 a field of the table"),
        pytest.param(
            (HEAD + literal("x-probe", "another", first=INDEXING), HEAD + named(FIRST, text("a value"))),
            b"x-probe: a value",
            id="2.3.2 a name of the table",
        ),
        pytest.param(
            (HEAD + literal(*FIELD, first=INDEXING) + literal("x-other", "b", first=INDEXING), HEAD + indexed(FIRST + 1)),
            b"x-probe: a value",
            id="2.3.2 an older field of the table",
        ),
        pytest.param((HEAD + literal(*FIELD, first=INDEXING) + indexed(FIRST),), b"x-probe: a value", id="3.2 a field of the same block"),
        pytest.param(
            (
                HEAD + literal("x-evicted", "e" * 3000, first=INDEXING),
                HEAD + literal("x-large", "l" * 3000, first=INDEXING),
                HEAD + literal(*FIELD, first=INDEXING),
                HEAD + indexed(FIRST),
            ),
            b"x-probe: a value",
            id="4.4 the oldest field is evicted",
        ),
        pytest.param(
            (HEAD + literal("x-too-large", "t" * 5000, first=INDEXING), HEAD + literal(*FIELD, first=INDEXING), HEAD + indexed(FIRST)),
            b"x-probe: a value",
            id="4.4 a field larger than the table empties it",
        ),
        pytest.param(
            (HEAD + b"\x00" + text("x-probe") + b"\x7f\x80\x00" + b"v" * 127,), b"x-probe: " + b"v" * 127, id="5.1 an integer with a zero"
        ),
        pytest.param((HEAD + literal("x-probe", ""),), b"x-probe: ", id="5.2 an empty value"),
    ],
)
async def test_block_reaches_the_target_as_its_fields(blocks: tuple[bytes, ...], line: bytes) -> None:
    """One request for each block; the last one has the line."""
    async with staged(preserve_host_header=True) as it:
        client = await it.client()
        for number, fields in enumerate(blocks):
            client.send(headers(2 * number + 1, fields))
            assert (await client.answer(2 * number + 1)).status == 200
        assert line.strip() in [field.strip().lower() for field in it.heads[-1].split(b"\r\n")]


@cases(
    ("2.3.3 an index beyond the tables", headers(1, REQUEST + indexed(70)), goaway(COMPRESSION_ERROR)),
    ("2.3.3 the first index of an empty table", headers(1, REQUEST + indexed(FIRST)), goaway(COMPRESSION_ERROR)),
    ("2.3.3 a name beyond the tables", headers(1, REQUEST + named(70, text("a"), INDEXING)), goaway(COMPRESSION_ERROR)),
    ("2.3.3 a name beyond the tables, not indexed", headers(1, REQUEST + named(70, text("a"))), goaway(COMPRESSION_ERROR)),
    ("4.2 a size update behind a field", headers(1, REQUEST + resized(1)), goaway(COMPRESSION_ERROR)),
    (
        "4.4 a field that was evicted",
        headers(1, REQUEST + literal(*FIELD, first=INDEXING)),
        headers(3, resized(0) + REQUEST + indexed(FIRST)),
        goaway(COMPRESSION_ERROR),
    ),
    ("5.1 an integer that overflows", headers(1, REQUEST + b"\xff" + b"\xff" * 10 + b"\x01"), goaway(COMPRESSION_ERROR)),
    ("5.1 an integer without an end", headers(1, REQUEST + b"\xff\x80\x80"), goaway(COMPRESSION_ERROR)),
    ("5.1 an integer of zeros without an end", headers(1, REQUEST + b"\xff" + b"\x80" * 4000 + b"\x00"), goaway(COMPRESSION_ERROR)),
    ("5.2 a string longer than its block", headers(1, REQUEST + b"\x00\x01x\x0aabc"), goaway(COMPRESSION_ERROR)),
    ("5.2 a field without a value", headers(1, REQUEST + b"\x00\x01x"), goaway(COMPRESSION_ERROR)),
    (
        "5.2 padding of more than 7 bits",
        headers(1, REQUEST + TEST_NAME + b"\x84\x49\x50\x9f\xff"),
        goaway(COMPRESSION_ERROR),
    ),
    ("5.2 padding of zeros", headers(1, REQUEST + TEST_NAME + b"\x83\x49\x50\x90"), goaway(COMPRESSION_ERROR)),
    (
        "5.2 the EOS symbol",
        headers(1, REQUEST + TEST_NAME + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        goaway(COMPRESSION_ERROR),
    ),
    ("6.1 index 0", headers(1, REQUEST + indexed(0)), goaway(COMPRESSION_ERROR)),
    ("6.3 a size above SETTINGS_HEADER_TABLE_SIZE", headers(1, resized(2**20) + REQUEST), goaway(COMPRESSION_ERROR)),
    (
        "2.2 a block that fails in CONTINUATION",
        headers(1, REQUEST, whole=False),
        continuation(1, indexed(0)),
        goaway(COMPRESSION_ERROR),
    ),
    (
        "4.3 of RFC 9113: in trailers",
        post(),
        headers(1, indexed(0)),
        goaway(COMPRESSION_ERROR),
    ),
)
async def test_block_that_does_not_decode_ends_the_connection(case: Case) -> None:
    """A connection error of COMPRESSION_ERROR (section 4.3 of RFC 9113), for the table is lost."""
    async with staged() as it:
        client = await it.client()
        await play(client, case.steps)
        await case.outcome(client)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(headers(1, REQUEST + literal("X-Upper", "a") + literal(*FIELD, first=INDEXING)), id="malformed request"),
        pytest.param(post() + headers(1, literal(*FIELD, first=INDEXING)), id="trailers"),
        pytest.param(post() + headers(1, literal(":path", "/") + literal(*FIELD, first=INDEXING)), id="malformed trailers"),
        pytest.param(get(1, "/hold") + headers(3, REQUEST + literal(*FIELD, first=INDEXING)) + rst_stream(1), id="refused stream"),
    ],
)
async def test_every_block_counts_for_the_table(frames: bytes) -> None:
    """Section 4.3 of RFC 9113: also a block whose fields nobody wants is decoded, and the next request may refer to it."""
    async with staged(limits=alb.Limits(http2_streams=1)) as it:
        client = await it.client()
        client.send(frames)
        await client.alive()
        while 1 not in client.answers and 3 not in client.answers:
            await client.next_frame()
        client.send(headers(5, HEAD + indexed(FIRST)))
        assert (await client.answer(5)).status == 200
        assert b"\r\nx-probe: a value\r\n" in it.heads[-1].lower() + b"\r\n"


async def test_client_without_a_table_can_read_all_answers() -> None:
    """Section 4.2: with SETTINGS_HEADER_TABLE_SIZE of 0, no answer may refer to a table."""
    async with staged() as it:
        client = await it.client(settings=((HEADER_TABLE_SIZE, 0),))
        client._decoder.max_allowed_table_size = 0
        for _ in range(3):
            assert (await client.get()).status == 200


async def test_table_of_the_load_balancer_has_the_size_of_its_settings() -> None:
    """Section 4.2: a size update up to it is taken, and one above it is not."""
    async with staged() as it:
        client = await it.client()
        size = client.their_settings.get(HEADER_TABLE_SIZE, 4096)
        client.send(headers(1, resized(size) + REQUEST))
        assert (await client.answer(1)).status == 200
        client.send(headers(3, resized(size + 1) + REQUEST))
        assert await client.goaway() == COMPRESSION_ERROR
