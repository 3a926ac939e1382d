"""Each limit of HTTP/2: what the client sees beyond it, what is counted, and that other clients notice nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hyperframe.frame import GoAwayFrame

import albkit as alb
from tests.support.gateway import running
from tests.support.h2_client import H2Client
from tests.support.h2_frames import (
    INITIAL_WINDOW_SIZE,
    REFUSED_STREAM,
    block,
    continuation,
    data,
    frame,
    get,
    headers,
    literal,
    ping,
    post,
    priority,
    request_fields,
    rst_stream,
    settings,
    window_update,
)
from tests.support.peers import Conversation, response, target

NO_ERROR = 0
ENHANCE_YOUR_CALM = 11
LIMITS = alb.Limits(http2_resets=20, http2_control_frames=100)
"""Small enough for a test to go far beyond them."""
UNKNOWN_KIND = 0x77
FLOOD = 400


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(30):
        yield


def _streams() -> range:
    return range(1, 2 * FLOOD, 2)


FLOODS: dict[str, list[bytes]] = {
    "rapid reset": [get(stream) + rst_stream(stream) for stream in _streams()],
    "made you reset": [post(stream) + window_update(stream, 0) for stream in _streams()],
    "continuation": [headers(1, request_fields(), whole=False), *[continuation(1, b"", whole=False)] * FLOOD],
    "settings": [settings()] * FLOOD,
    "ping": [ping()] * FLOOD,
    "priority": [priority(1)] * FLOOD,
    "empty data": [post(1), *[data(1, b"")] * FLOOD],
    "window updates of 1": [window_update(0, 1)] * FLOOD,
    "unknown frames": [frame(UNKNOWN_KIND, 0, 0, b"x")] * FLOOD,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_flood_ends_its_connection_and_no_other(name: str) -> None:
    """GOAWAY says that it was too much; the other client's connection is served as before."""
    async with target() as origin, running(origin.address, limits=LIMITS) as gateway:
        bystander = await H2Client(await gateway.client()).start()
        client = await H2Client(await gateway.client(), polite=False).start()
        client.send(*FLOODS[name])
        assert await client.goaway() == ENHANCE_YOUR_CALM
        assert (await bystander.get()).status == 200
        assert gateway.counters["Failure_Http2Flood"] == 1


async def test_useful_frames_make_up_for_frames_without_use() -> None:
    """A client that sends many PINGs, but one for each request, may go on for ever."""
    async with target() as origin, running(origin.address, limits=LIMITS) as gateway:
        client = await H2Client(await gateway.client()).start()
        for _ in range(2 * LIMITS.http2_control_frames):
            client.send(ping())
            assert (await client.get()).status == 200
        assert "Failure_Http2Flood" not in gateway.counters


async def test_streams_that_end_well_make_up_for_resets() -> None:
    """A browser whose user closes many pages is no flood."""
    async with target() as origin, running(origin.address, limits=LIMITS) as gateway:
        client = await H2Client(await gateway.client()).start()
        for _ in range(2 * LIMITS.http2_resets):
            client.send(rst_stream(client.request()))
            assert (await client.get()).status == 200
        assert "Failure_Http2Flood" not in gateway.counters


async def test_request_after_the_last_one_gets_another_connection() -> None:
    """GOAWAY comes behind the last request, and its answer still comes."""
    async with target() as origin, running(origin.address, limits=alb.Limits(http2_requests=3)) as gateway:
        client = await H2Client(await gateway.client()).start()
        assert [(await client.get()).status for _ in range(3)] == [200, 200, 200]
        await client.wait_for(GoAwayFrame, lambda frame: frame.last_stream_id == 5 and frame.error_code == NO_ERROR)
        await client.end()
        assert gateway.counters["RequestCount"] == 3


async def test_stream_beyond_the_limit_is_refused() -> None:
    """The code says that nothing was processed, and the others go on."""
    go_on = asyncio.Event()

    async with target() as origin:
        answer = origin.script

        async def waiting(conversation: Conversation) -> None:
            await go_on.wait()
            await answer(conversation)

        origin.script = waiting
        async with running(origin.address, limits=alb.Limits(http2_streams=2)) as gateway:
            client = await H2Client(await gateway.client()).start()
            first, second, third = client.request(), client.request(), client.request()
            assert await client.reset(third) == REFUSED_STREAM
            go_on.set()
            assert [(await client.answer(stream)).status for stream in (first, second)] == [200, 200]


@pytest.mark.parametrize(("most", "length"), [(8192, 9000), (64, 100)])
async def test_field_that_is_too_long_ends_the_connection(most: int, length: int) -> None:
    """Its compressed bytes count."""
    async with target() as origin, running(origin.address, limits=alb.Limits(http2_field=most)) as gateway:
        client = await H2Client(await gateway.client()).start()
        client.send(headers(1, request_fields("GET", "/", ("x", "a" * length)), end=True))
        assert await client.goaway() == ENHANCE_YOUR_CALM
        assert gateway.counters["Failure_Http2HeaderTooLarge"] == 1


async def test_small_block_with_large_fields_ends_the_connection() -> None:
    """4,000 references to a field of 4,000 bytes would be 16 MB."""
    async with target() as origin, running(origin.address) as gateway:
        client = await H2Client(await gateway.client()).start()
        # A literal that enters the dynamic table (RFC 7541 section 6.2.1), then references to entry 62, the newest one.
        bomb = literal("x", "a" * 4000, first=0x40) + b"\xbe" * 4000
        client.send(frame(1, 5, 1, block(request_fields()) + bomb))
        assert await client.goaway() == ENHANCE_YOUR_CALM
        assert gateway.counters["Failure_Http2HeaderTooLarge"] == 1


async def test_bytes_that_no_window_lets_pass_are_bounded() -> None:
    """The client that holds most of them loses its connection."""
    limits = alb.Limits(http2_buffered_bytes=256 * 1024)
    async with target(None, response(200, b"a" * 60_000)) as origin, running(origin.address, limits=limits) as gateway:
        bystander = await H2Client(await gateway.client()).start()
        client = await H2Client(await gateway.client(), settings=((INITIAL_WINDOW_SIZE, 0),)).start()
        for _ in range(20):
            client.request()
        assert await client.goaway() == ENHANCE_YOUR_CALM
        assert gateway.counters["Failure_Http2TooManyBytesBuffered"] == 1
        assert (await bystander.get()).body == b"a" * 60_000
