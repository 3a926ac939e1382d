"""What one turn of the event loop does while an HTTP/2 client floods it, that the flood ends, and that right clients are none.

CPU time of the loop's own thread is measured; the floods come from other threads (see `test_turns`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
import threading
from collections.abc import Callable

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

import albkit as alb
from tests.functional.test_turns import LONGEST, acting, quickest, thread_target, undisturbed
from tests.support.gateway import running
from tests.support.h2_client import H2Client
from tests.support.h2_frames import (
    INITIAL_WINDOW_SIZE,
    PREFACE,
    block,
    continuation,
    data,
    frame,
    get,
    headers,
    integer,
    literal,
    ping,
    post,
    priority,
    request_fields,
    rst_stream,
    settings,
    text,
    window_update,
)
from tests.support.peers import Conversation, response, target
from tests.support.secure import until

__all__ = ("undisturbed",)

pytestmark = [pytest.mark.no_cover, pytest.mark.timeout(120)]

STREAMS = range(1, 257, 2)
"""As many as may be open at the same time."""
PER_FLOOD = 3 * LONGEST
"""Seconds of one turn. Heads with a thousand fields, of which one is read per turn, take longer than what a turn may otherwise take."""


@pytest.fixture(autouse=True)
def _longer_beside_coverage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `test_turns`. The floods are long, so it is more likely that another process disturbs one of their turns."""
    if request.config.pluginmanager.hasplugin("_cov"):
        monkeypatch.setattr(sys.modules[__name__], "PER_FLOOD", 6 * PER_FLOOD)


def fields_by_reference() -> bytes:
    """Heads of 1,200 fields in 1,200 bytes: each is a reference to the table."""
    encoder = hpack.Encoder()
    many = [*request_fields(), *((f"x-{number}", "v") for number in range(60))]
    first = encoder.encode(many)
    references = encoder.encode(many)[4:64]
    heads = [headers(number, b"\x82\x86\x84" + literal(":authority", f"a{number}") + references * 20) for number in range(3, 403, 2)]
    return headers(1, first) + b"".join(heads)


def new_fields(count: int, heads: int) -> bytes:
    """Heads of so many fields that no cache knows."""
    return b"".join(
        headers(stream, [*request_fields(), *((f"x{number}", f"{stream}-{number}") for number in range(count))])
        for stream in range(1, 2 * heads, 2)
    )


def huffman() -> bytes:
    """Heads with a field of Huffman codes that becomes larger."""
    value = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(b"a" * 12_000)
    field = b"\x00" + text("x") + integer(len(value), 7, 0x80) + value
    return b"".join(headers(stream, block(request_fields()) + field) for stream in range(1, 401, 2))


FLOODS: dict[str, Callable[[], bytes]] = {
    "pings": lambda: ping() * 20_000,
    "settings": lambda: settings() * 20_000,
    "windows of all streams": lambda: (
        b"".join(map(post, STREAMS)) + b"".join(settings(*[(INITIAL_WINDOW_SIZE, 1000 + n + i) for i in range(32)]) for n in range(1500))
    ),
    "window updates": lambda: post(1) + window_update(1, 1) * 20_000,
    "priorities": lambda: priority(1) * 20_000,
    "unknown frames": lambda: frame(0x77, 0, 0) * 20_000,
    "continuations": lambda: headers(1, b"", whole=False) + continuation(1, b"", whole=False) * 20_000,
    "empty data": lambda: post(1) + data(1, b"") * 20_000,
    "padding alone": lambda: post(1) + data(1, b"", padding=255) * 2000,
    "tiny data": lambda: post(1) + data(1, b"x") * 60_000,
    "tiny data of all streams": lambda: b"".join(map(post, STREAMS)) + b"".join(data(stream, b"x") for stream in STREAMS) * 40,
    "rapid reset": lambda: b"".join(get(stream) + rst_stream(stream) for stream in range(1, 20_000, 2)),
    "made you reset": lambda: b"".join(post(stream) + window_update(stream, 0) for stream in range(1, 20_000, 2)),
    "refused": lambda: b"".join(map(post, range(1, 20_000, 2))),
    "requests": lambda: b"".join(map(get, range(1, 10_000, 2))),
    "requests with new paths": lambda: b"".join(get(stream, f"/{stream}") for stream in range(1, 4_000, 2)),
    "malformed": lambda: b"".join(headers(stream, [(":method", "GET")]) for stream in range(1, 2000, 2)),
    "trailers": lambda: b"".join(post(stream) + headers(stream, [("x", "1")]) for stream in range(1, 4_000, 2)),
    "numbers that jump": lambda: b"".join(map(get, random.Random(1).sample(range(1, 2**31, 2), 1))) + get(2**31 - 1) * 2,
    "fields by reference": fields_by_reference,
    "many new fields": lambda: new_fields(150, 300),
    "a thousand new fields": lambda: new_fields(1000, 30),
    "Huffman codes": huffman,
}
ENDED = {
    *("pings", "settings", "windows of all streams", "window updates", "priorities", "unknown frames", "continuations", "empty data"),
    *("padding alone", "rapid reset", "made you reset", "refused", "malformed"),
}
"""Floods of frames without use."""


def pour(port: int, wire: bytes) -> None:
    """A client in a thread that sends all of this while it reads, until the connection ends or nothing comes any more."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(0.3)

        def send() -> None:
            with contextlib.suppress(OSError):
                sock.sendall(wire)

        sender = threading.Thread(target=send)
        sender.start()
        with contextlib.suppress(OSError):
            while sock.recv(1 << 20):
                pass
        with contextlib.suppress(OSError):
            # A sender that waits for room would wait for ever.
            sock.shutdown(socket.SHUT_RDWR)
        sender.join()


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("name", FLOODS)
async def test_turn_stays_short_during_a_flood(name: str) -> None:
    """For a rule that answers itself and for one that forwards. The flood ends its connection, or costs what it asks for."""
    wire = PREFACE + settings() + FLOODS[name]()
    async with thread_target() as origin:
        for action in (alb.FixedResponse(200), alb.Forward(alb.TargetGroup("group", [origin.address]))):
            async with acting(action) as it:
                longest = await quickest(lambda it=it: asyncio.to_thread(pour, it.port, wire))  # type: ignore[misc]
                await until(lambda it=it: not it.runtime.clients, 30)  # type: ignore[misc]
                assert longest < PER_FLOOD
                assert ("Failure_Http2Flood" in it.counters) >= (name in ENDED)
                assert it.runtime.http2_buffers.total == 0


# Right clients.


async def like_go(client: H2Client, size: int) -> None:
    """Both windows are updated for every 4 KiB that the program reads, long after the data has come."""
    await until_all(client, size)
    updates = size // 4096
    for _ in range(updates):
        client.send(window_update(0, 4096), window_update(1, 4096))
    await client.alive()


async def until_all(client: H2Client, size: int) -> None:
    client.generous = False
    stream = client.request()
    assert len((await client.answer(stream)).body) == size


async def test_client_that_updates_its_windows_late_and_in_small_parts_is_no_flood() -> None:
    """It may do so for all that it was sent."""
    size = 8 * 2**20
    body = "x" * size
    async with target(None, response(200, body.encode())) as origin, running(origin.address) as it:
        client = await H2Client(await it.client(), settings=((INITIAL_WINDOW_SIZE, 2**30),)).start()
        client.send(window_update(0, 2**30))
        await like_go(client, size)
        assert "Failure_Http2Flood" not in it.counters


async def test_stream_of_small_messages_with_updates_and_pings_is_no_flood() -> None:
    """As gRPC does: for each message two updates and now and then a PING, in both directions."""

    async def echo(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int(await conversation.read_until(b"\r\n"), 16):
            body = await conversation.read_exactly(size + 2)
            conversation.send(b"%x\r\n%b" % (size, body))
        conversation.send(b"0\r\n\r\n")

    async with target(echo) as origin, running(origin.address) as it:
        client = await H2Client(await it.client()).start()
        stream = client.request("POST", end=False)
        for number in range(3000):
            client.send(data(stream, b"message"))
            if number % 3 == 0:
                client.send(ping())
            if number % 100 == 0:
                await client.alive()
        client.send(data(stream, b"", end=True))
        assert len((await client.answer(stream)).body) == 3000 * 7
        assert "Failure_Http2Flood" not in it.counters


@pytest.mark.usefixtures("undisturbed")
async def test_others_are_served_beside_a_flood() -> None:
    """A request beside it takes a few turns, each of them short."""
    wire = PREFACE + settings() + FLOODS["tiny data of all streams"]()
    async with acting(alb.FixedResponse(200)) as it:

        async def flood() -> None:
            flooding = asyncio.ensure_future(asyncio.to_thread(pour, it.port, wire))
            client = await H2Client(await it.client()).start()
            while not flooding.done():
                assert (await client.get()).status == 200
            await flooding

        assert await quickest(flood) < PER_FLOOD
