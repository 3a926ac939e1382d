"""HPACK: decoding the field blocks of a browser's requests, and encoding the lines of responses."""

from __future__ import annotations

from itertools import count
from typing import Final

import pytest
from hpack import Encoder, HeaderTuple, NeverIndexedHeaderTuple

from albkit.wire.http2.hpack_decoder import HpackDecoder
from albkit.wire.http2.hpack_encoder import ENCODED_LINES, EncodedLines, encode_status
from benchmarks.micro import Benchmark
from benchmarks.work_http2 import HTTP2_BROWSER

_MAX_LIST: Final = 65536
_MAX_FIELD: Final = 8192
_LINES: Final = (
    b"Server: nginx/1.22.1",
    b"Date: Fri, 20 Nov 2026 12:00:00 GMT",
    b"Content-Type: text/plain",
    b"Content-Length: 64",
    b"Cache-Control: max-age=3600",
    b"ETag: 5bf0c8a1-40",
    b"Vary: Accept-Encoding",
)


class _Browser:
    """Encodes requests as browsers and h2load do: everything but the path is in the dynamic table."""

    def __init__(self) -> None:
        self._encoder = Encoder()

    def block(self, path: str) -> bytes:
        start = [HeaderTuple(":method", "GET"), HeaderTuple(":scheme", "https"), NeverIndexedHeaderTuple(":path", path)]
        block: bytes = self._encoder.encode([*start, *(HeaderTuple(name, value) for name, value in HTTP2_BROWSER.items())])
        return block


@pytest.fixture
def decoder() -> HpackDecoder:
    """That of a new connection."""
    return HpackDecoder(_MAX_LIST, _MAX_FIELD)


def test_decoding_the_first_block_of_a_connection(benchmark: Benchmark) -> None:
    """All fields are literals in Huffman's code, and are added to the dynamic table."""
    block = _Browser().block("/x")
    assert len(benchmark(lambda: HpackDecoder(_MAX_LIST, _MAX_FIELD).decode(block))) == len(HTTP2_BROWSER) + 3


def test_decoding_a_block_again(benchmark: Benchmark, decoder: HpackDecoder) -> None:
    """Everything but the path is an index; no cache helps."""
    browser = _Browser()
    decoder.decode(browser.block("/x"))
    block = browser.block("/x")
    assert len(benchmark(decoder.decode, block)) == len(HTTP2_BROWSER) + 3
    assert decoder.changes == 1


def test_splitting_the_pseudo_fields_from_a_block(benchmark: Benchmark, decoder: HpackDecoder) -> None:
    """What remains of the work if all but the path has been seen before."""
    browser = _Browser()
    decoder.decode(browser.block("/x"))
    blocks = [browser.block(f"/x/{number}") for number in range(1000)]
    numbers = count()
    assert benchmark(lambda: decoder.split_pseudo(blocks[next(numbers) % 1000])) is not None


def test_encoding_a_response_head_again(benchmark: Benchmark) -> None:
    """Lines that were encoded before."""
    block = benchmark(lambda: b"".join([encode_status(200), *[ENCODED_LINES[line] for line in _LINES]]))
    assert block.startswith(b"\x88")


def test_encoding_a_response_head(benchmark: Benchmark) -> None:
    """Lines that were not encoded before."""
    numbers = count()
    lines = EncodedLines()

    def encode() -> bytes:
        number = next(numbers)
        return b"".join([lines[b"%s%d" % (line, number)] for line in _LINES])

    assert len(benchmark(encode)) > sum(map(len, _LINES)) / 2
