"""Targets over HTTP/2: requests of HTTP/2 clients to targets that the package h2 judges, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

import albkit as alb
from tests.support import h2_frames
from tests.support.balancing import Balancing, balancing, group_of, listener
from tests.support.frames import BINARY, TEXT, frame
from tests.support.h2_client import H2Answer, H2Client
from tests.support.h2_target import H2Stream, answer_ok, h2_target, tls_context
from tests.support.h2_websockets import connect, opened
from tests.support.peers import target
from tests.support.secure import until


@contextlib.asynccontextmanager
async def in_front_of(*targets: str, limits: alb.Limits | None = None, group: Any = None, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer whose group uses HTTP/2. At the end no stream, task or byte may be left."""
    if limits is not None:
        settings["limits"] = limits
    forward = group_of(*targets, protocol_version="HTTP2", **(group or {}))
    async with balancing(listener(forward), **settings) as it:
        runtime = it.runtime
        yield it
        assert runtime.http2_buffers.total == 0
    assert not runtime.connections._rooms
    assert not runtime.connections._rooms_of


async def client_of(it: Balancing, **options: Any) -> H2Client:
    return await H2Client(await it.client(), **options).start()


async def ask(client: H2Client, count: int, path: str = "/") -> list[H2Answer]:
    """So many requests at once: their whole answers."""
    streams = [client.request("GET", f"{path}{number}") for number in range(count)]
    return [await client.answer(stream) for stream in streams]


def member_of(it: Balancing, place: int = 0) -> Any:
    (state,) = it.runtime.registry.groups
    return list(state.members.values())[place]


def connections_of(it: Balancing) -> list[Any]:
    return list(it.runtime.connections._open)


# One exchange.


async def test_request_and_answer_pass_in_full() -> None:
    """Pseudo-fields, fields, bodies and trailers of both sides."""

    async def script(stream: H2Stream) -> None:
        await stream.body()
        await stream.answer(201, b"got " + stream.received, ("x-answer", "1"), trailers=[("x-sum", "7")])

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request("POST", "/a?b=c", ("x-request", "2"), end=False)
        client.send(h2_frames.data(stream, b"hel"), h2_frames.data(stream, b"lo"))
        client.send(h2_frames.headers(stream, [("x-check", "9")], end=True))
        answer = await client.answer(stream)
        assert (answer.status, answer.body, answer.get("x-answer"), answer.trailers) == (201, b"got hello", "1", [("x-sum", "7")])
        (asked,) = origin.requests
        assert asked.fields[:4] == [(":method", "POST"), (":scheme", "http"), (":path", "/a?b=c"), (":authority", f"example.com:{it.port}")]
        assert (asked.get("x-request"), asked.get("x-forwarded-proto"), asked.trailers) == ("2", "http", [("x-check", "9")])


async def test_requests_share_one_connection() -> None:
    """One after the other and at once."""
    async with h2_target() as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        for answer in await ask(client, 50) + await ask(client, 1) + await ask(client, 1):
            assert (answer.status, answer.body) == (200, b"ok")
        assert len(origin.connections) == 1
        assert it.runtime.connections.count == 1
        assert it.runtime.connections.idle(member_of(it)) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
async def test_request_without_body_ends_with_its_head(method: str) -> None:
    """No empty DATA frame follows; a HEAD is answered without a body."""

    async def script(stream: H2Stream) -> None:
        assert stream.has_ended
        stream.head(200, ("content-length", "5"), end=method == "HEAD")
        if method != "HEAD":
            await stream.write(b"hello", end=True)

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        answer = await client.get(method=method)
        assert (answer.status, answer.get("content-length"), answer.body) == (200, "5", b"" if method == "HEAD" else b"hello")


@pytest.mark.parametrize("status", [200, 204, 304, 404])
async def test_answer_without_body_ends_with_its_head(status: int) -> None:
    """The head has END_STREAM."""

    async def script(stream: H2Stream) -> None:
        stream.head(status, end=True)

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        answer = await (await client_of(it)).get()
        assert (answer.status, answer.body, answer.has_ended) == (status, b"", True)


async def test_interim_answers_pass_but_100() -> None:
    """The client was told to continue before the request was sent."""

    async def script(stream: H2Stream) -> None:
        stream.head(100)
        stream.head(103, ("link", "</a>"))
        await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        answer = await (await client_of(it)).get()
        assert [head[0][1] for head in answer.heads] == ["103", "200"]


async def test_a_hundred_interim_answers_are_enough() -> None:
    """A target that sends more is broken."""

    async def script(stream: H2Stream) -> None:
        for _ in range(101):
            stream.head(103)
        await stream.over.wait()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        answer = await (await client_of(it)).get()
        assert answer.status == 502
        assert connections_of(it), "only the stream ends"


async def test_large_bodies_pass_in_both_directions_at_once() -> None:
    """Larger than every window; the target answers while it still reads."""
    size = 1_000_000

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        while (piece := await stream.chunk()) is not None:
            await stream.write(piece)
        stream.end(("x-end", "1"))

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request("POST", end=False)
        body = bytes(range(256)) * (size // 256)
        await client.send_body(stream, body)
        answer = await client.answer(stream)
        assert answer.body == body
        assert answer.trailers == [("x-end", "1")]


async def test_messages_pass_as_they_come() -> None:
    """The next message of the client is sent only when the answer to the one before has come (gRPC's bidirectional streams)."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        while (piece := await stream.chunk()) is not None:
            await stream.write(piece.upper())
        stream.end()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request("POST", end=False)
        expected = b""
        for number in range(20):
            message = b"message %d;" % number
            expected += message.upper()
            client.send(h2_frames.data(stream, message))
            while client.answers.get(stream) is None or client.answers[stream].body != expected:
                await client.next_frame()
        client.send(h2_frames.data(stream, b"", end=True))
        assert (await client.answer(stream)).has_ended


async def test_early_answer_stops_the_upload_only() -> None:
    """The target answers in full and reads no further: its stream is reset, its connection goes on."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/early":
            stream.head(413, end=True)
            await stream.over.wait()
            return
        await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request("POST", "/early", end=False)
        client.send(h2_frames.data(stream, b"part"))
        assert (await client.answer(stream)).status == 413
        asked = await origin.request()
        await until(lambda: asked.reset is not None)
        assert asked.reset == ErrorCodes.NO_ERROR
        assert (await client.get()).status == 200
        assert len(origin.connections) == 1


async def test_target_stops_the_upload_behind_a_whole_answer() -> None:
    """RST_STREAM with NO_ERROR (RFC 9113 section 8.1): the answer counts."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.write(b"enough", end=True)
        stream.abort(ErrorCodes.NO_ERROR)

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request("POST", end=False)
        client.send(h2_frames.data(stream, b"part"))
        answer = await client.answer(stream)
        assert (answer.status, answer.body) == (200, b"enough")


# Flow control.


async def test_slow_stream_holds_up_no_other() -> None:
    """Its body stops when its window is full, on both connections; others pass."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/large":
            await stream.answer(200, b"x" * 3_000_000)
        else:
            await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        slow = await client_of(it, generous=False)
        large = slow.request("GET", "/large")
        await slow.head(large)
        quick = await client_of(it)
        for _ in range(20):
            assert (await quick.get()).status == 200
        assert len(origin.connections) == 1
        await until(lambda: it.runtime.http2_buffers.total > 0)
        assert it.runtime.http2_buffers.total < 1_000_000
        slow.generous = True
        slow.send(h2_frames.window_update(0, 2**20), h2_frames.window_update(large, 2**20))
        assert len((await slow.answer(large)).body) == 3_000_000


async def test_target_without_window_holds_up_its_upload_only() -> None:
    """A window of 0 for every stream: the client is stopped, and what waits is bounded and released."""
    limits = alb.Limits(in_flight=16384)

    async def script(stream: H2Stream) -> None:
        if stream.get(":method") == "GET":
            await stream.answer()
        else:
            await stream.over.wait()

    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with h2_target(script, settings=settings) as origin, in_front_of(origin.address, limits=limits) as it:
        client = await client_of(it)
        stream = client.request("POST", end=False)
        client.send(*[h2_frames.data(stream, b"x" * 8192)] * 2)
        await origin.request()
        await until(lambda: it.runtime.http2_buffers.total > 0)
        assert it.runtime.http2_buffers.total <= 32768
        other = await client_of(it)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.answer(stream)
        client.send(h2_frames.rst_stream(stream))
        await until(lambda: it.runtime.http2_buffers.total == 0)
        asked = await origin.request()
        await asked.over.wait()
        assert asked.reset == ErrorCodes.CANCEL
        await other.close()


async def test_window_of_the_target_opens_later() -> None:
    """What waits leaves then, and the client goes on."""

    async def script(stream: H2Stream) -> None:
        await release.wait()
        stream.connection.h2.increment_flow_control_window(2**20, stream.number)
        stream.connection.flush()
        await stream.body()
        await stream.answer(200, str(len(stream.received)).encode())

    release = asyncio.Event()
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 10}
    async with h2_target(script, settings=settings) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request("POST", end=False)
        sending = asyncio.create_task(client.send_body(stream, b"x" * 300_000))
        await origin.request()
        await until(lambda: it.runtime.http2_buffers.total > 0)
        release.set()
        await sending
        assert (await client.answer(stream)).body == b"300000"


async def test_body_that_nobody_takes_yet_is_bounded_by_the_window() -> None:
    """The client's window is 0: the target may send one window of ours, and no more."""
    sent = 0

    async def script(stream: H2Stream) -> None:
        nonlocal sent
        stream.head(200)
        while True:
            await stream.write(b"x" * 1000)
            sent += 1000

    async with h2_target(script) as origin, in_front_of(origin.address, limits=alb.Limits(in_flight=20_000)) as it:
        client = await client_of(it, settings=((h2_frames.INITIAL_WINDOW_SIZE, 0),))
        stream = client.request()
        await client.head(stream)
        await until(lambda: sent >= 20_000)
        await client.alive()
        assert sent <= 60_000
        client.send(h2_frames.rst_stream(stream))
        asked = await origin.request()
        await asked.over.wait()


# Failures of one stream.


async def test_refused_request_goes_to_another_target() -> None:
    """RST_STREAM REFUSED_STREAM: nothing was processed, so a POST whose body is kept is sent again."""

    async def refuse(stream: H2Stream) -> None:
        stream.abort(ErrorCodes.REFUSED_STREAM)

    async with h2_target(refuse) as bad, h2_target() as good, in_front_of(bad.address, good.address) as it:
        client = await client_of(it)
        for _ in range(6):
            stream = client.request("POST", end=False)
            client.send(h2_frames.data(stream, b"hel"))
            count = len(bad.requests) + len(good.requests)
            await client.alive()
            assert len(bad.requests) + len(good.requests) >= count
            client.send(h2_frames.data(stream, b"lo", end=True))
            assert (await client.answer(stream)).status == 200
        assert bad.requests
        assert [asked.received for asked in good.requests] == [b"hello"] * 6
        assert "EjectedCount" not in it.counters


async def test_refusing_target_gets_three_attempts() -> None:
    """With no other target, the failure is the client's answer."""

    async def refuse(stream: H2Stream) -> None:
        stream.abort(ErrorCodes.REFUSED_STREAM)

    async with h2_target(refuse) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert (await client.get()).status == 502
        assert len(origin.requests) == 3
        assert len(origin.connections) == 1


@pytest.mark.parametrize("code", [ErrorCodes.INTERNAL_ERROR, ErrorCodes.CANCEL, ErrorCodes.HTTP_1_1_REQUIRED, 4711])
async def test_reset_before_the_head_is_a_502(code: int) -> None:
    """A POST is not sent again: the target may have acted on it. The connection goes on."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/bad":
            stream.connection.conversation.send(h2_frames.rst_stream(stream.number, code))
            return
        await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert (await client.get("/bad", method="POST")).status == 502
        assert len(origin.requests) == 1
        assert (await client.get()).status == 200
        assert len(origin.connections) == 1


async def test_reset_of_an_idempotent_request_is_tried_again() -> None:
    """As when an HTTP/1.1 target closes without an answer."""

    async def script(stream: H2Stream) -> None:
        if len(origin.requests) == 1:
            stream.abort(ErrorCodes.INTERNAL_ERROR)
            return
        await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        assert (await (await client_of(it)).get()).status == 200
        assert len(origin.requests) == 2


async def test_reset_in_the_body_cuts_the_answer() -> None:
    """The client must see that it is incomplete."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.write(b"half")
        await go_on.wait()
        stream.abort(ErrorCodes.INTERNAL_ERROR)

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        stream = client.request()
        await client.head(stream)
        go_on.set()
        answer = await client.answer(stream)
        assert (answer.body, answer.has_ended, answer.reset is not None) == (b"half", False, True)


@pytest.mark.parametrize(
    "fields",
    [
        [("content-type", "text/plain")],
        [(":status", "abc")],
        [(":status", "200"), (":status", "200")],
        [(":status", "200"), ("connection", "close")],
        [(":status", "200"), ("X-Upper", "1")],
        [(":status", "101")],
        [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    ],
)
async def test_malformed_head_is_a_502(fields: list[tuple[str, str]]) -> None:
    """Only the stream ends."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/bad":
            stream.connection.conversation.send(h2_frames.headers(stream.number, fields, end=True))
            await stream.over.wait()
            return
        await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert (await client.get("/bad")).status == 502
        assert (await client.get()).status == 200
        assert len(origin.connections) == 1


async def test_head_that_is_too_large_is_a_502() -> None:
    """Above the limit only the stream ends; far above it the connection."""

    async def script(stream: H2Stream) -> None:
        size = int(stream.path[1:])
        await stream.answer(200, b"", *[(f"x-{number}", "y" * 1000) for number in range(size)])

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        for size in (40, 10, 60, 10):
            assert (await client.get(f"/{size}")).status == (502 if size > 30 else 200)
        assert len(origin.connections) == 1


@pytest.mark.parametrize("length", ["3", "9"])
async def test_body_must_have_its_content_length(length: str) -> None:
    """Longer or shorter: the answer is cut."""

    async def script(stream: H2Stream) -> None:
        stream.connection.conversation.send(
            h2_frames.headers(stream.number, [(":status", "200"), ("content-length", length)], end=False)
            + h2_frames.data(stream.number, b"hello", end=True)
        )
        await stream.over.wait()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        answer = await client.get()
        assert (answer.status, answer.has_ended, answer.reset is not None) == (200, False, True)
        assert (await origin.request()).reset == ErrorCodes.PROTOCOL_ERROR


async def test_cancel_of_the_client_resets_the_stream_of_the_target() -> None:
    """Before the head and in the body; the connection goes on."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/body":
            stream.head(200)
            await stream.write(b"part")
        if stream.path != "/":
            await stream.over.wait()
            return
        await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        for number, path in enumerate(("/head", "/body"), 1):
            stream = client.request("GET", path)
            asked = await origin.request(number)
            if path == "/body":
                await client.head(stream)
            client.send(h2_frames.rst_stream(stream))
            await asked.over.wait()
            assert asked.reset == ErrorCodes.CANCEL
        assert (await client.get()).status == 200
        assert len(origin.connections) == 1


# The connection.


async def test_goaway_lets_lower_streams_end_and_moves_higher_ones() -> None:
    """Streams above its number were not processed: they are sent again, on a new connection. The others are answered on the old one."""

    async def script(stream: H2Stream) -> None:
        if len(origin.connections) == 1:
            if stream.number != 5:
                return
            stream.connection.goaway(3)
            for number in (1, 3):
                await stream.connection.streams[number].answer(200, b"old")
            return
        await stream.answer(200, b"new")

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request("POST", f"/{number}") for number in range(3)]
        bodies = [(await client.answer(stream)).body for stream in streams]
        assert bodies == [b"old", b"old", b"new"]
        assert len(origin.connections) == 2
        await until(lambda: it.runtime.connections.count == 1)
        assert (await client.get()).body == b"new"


async def test_goaway_of_an_idle_connection_costs_no_request() -> None:
    """The next request uses a new connection."""
    async with h2_target() as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        for count in range(1, 5):
            assert (await client.get(method="POST")).status == 200
            assert len(origin.connections) == count
            origin.connections[-1].goaway()
            await until(lambda: it.runtime.connections.count == 0)


async def test_goaway_as_soon_as_connected_fails_in_a_bounded_number_of_attempts() -> None:
    """Each attempt opens one connection."""

    async def script(conversation: Any) -> None:
        conversation.send(h2_frames.settings() + h2_frames.go_away(0))
        await conversation.read_to_end()

    async with target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert (await client.get()).status == 502
        assert len(origin.conversations) == 3


async def test_warning_goaway_closes_the_connection_behind_its_streams() -> None:
    """The first step of a graceful shutdown names the highest number: streams go on, new requests use a new connection."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/long":
            stream.connection.goaway(2**31 - 1)
            await go_on.wait()
        await stream.answer()

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        long = client.request("GET", "/long")
        await origin.request()
        await until(lambda: connections_of(it)[0].is_last)
        assert (await client.get()).status == 200
        assert len(origin.connections) == 2
        go_on.set()
        assert (await client.answer(long)).status == 200
        await until(lambda: it.runtime.connections.count == 1)


@pytest.mark.parametrize("moment", ["head", "body"])
async def test_lost_connection_ends_its_streams(moment: str) -> None:
    """All of them; with a POST nothing is sent again."""

    async def script(stream: H2Stream) -> None:
        if moment == "body":
            stream.head(200)
            await stream.write(b"part")
        if stream.number == 9:
            await lose.wait()
            stream.connection.conversation.reset()

    lose = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request("POST") for _ in range(5)]
        if moment == "body":
            for stream in streams:
                await client.head(stream)
        lose.set()
        for stream in streams:
            answer = await client.answer(stream)
            if moment == "head":
                assert answer.status == 502
            else:
                assert answer.reset is not None
        assert len(origin.connections) == 1
        origin.errors.clear()


async def test_target_that_violates_the_protocol_ends_all_streams() -> None:
    """GOAWAY is sent to it; clients get 502, and the next request a new connection."""

    async def script(stream: H2Stream) -> None:
        if stream.number == 5:
            stream.connection.conversation.send(h2_frames.data(99, b"x"))
        if len(origin.connections) > 1:
            await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request("POST") for _ in range(3)]
        for stream in streams:
            assert (await client.answer(stream)).status == 502
        await until(lambda: origin.connections[0].last_stream_of_goaway == 0)
        assert (await client.get()).status == 200


@pytest.mark.parametrize(
    "flood",
    [
        h2_frames.ping() * 5000,
        h2_frames.settings() * 5000,
        h2_frames.frame(0x77, 0, 0, b"") * 5000,
        h2_frames.rst_stream(1, 8) * 5000,
        h2_frames.window_update(0, 1) * 5000,
        h2_frames.headers(1, [(":status", "103")], whole=False) + h2_frames.continuation(1, b"", whole=False) * 5000,
    ],
    ids=["ping", "settings", "unknown", "reset", "window-update", "continuation"],
)
async def test_flood_of_a_target_ends_its_connection(flood: bytes) -> None:
    """The target is cut off; the load balancer goes on."""

    async def script(conversation: Any) -> None:
        conversation.send(h2_frames.settings())
        await conversation.read()
        while b"\x01" not in conversation.received[24:]:
            await conversation.read()
        conversation.send(flood)
        await conversation.read_to_end()

    async with target(script) as bad, h2_target() as good, in_front_of(bad.address, good.address) as it:
        client = await client_of(it)
        for _ in range(4):
            assert (await client.get(method="POST")).status in (200, 502)
        await until(lambda: len(connections_of(it)) <= 1)


# Targets that do not use HTTP/2.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "it answers in HTTP/1"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it sent b'SSH"),
        (b"", "it closed the connection"),
        (h2_frames.ping(), "the first frame is not SETTINGS"),
        (h2_frames.settings((h2_frames.INITIAL_WINDOW_SIZE, 2**31)), "FLOW"),
    ],
)
async def test_target_that_does_not_use_http2_is_named(answer: bytes, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """No request is sent to it."""

    async def script(conversation: Any) -> None:
        await conversation.read()
        if answer:
            conversation.send(answer)

    async with target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        with caplog.at_level("DEBUG", "albkit"):
            assert (await client.get(method="POST")).status == 502
        assert words in caplog.text or words == "FLOW"
        assert "ResponseNotHttp2" in caplog.text
        for conversation in origin.conversations:
            assert b"example.com" not in conversation.received


async def test_target_that_sends_no_settings_runs_into_the_connect_timeout() -> None:
    """Whatever waits for the connection fails with 504."""

    async def script(conversation: Any) -> None:
        await conversation.read_to_end()

    async with target(script) as origin, in_front_of(origin.address, limits=alb.Limits(connect_timeout=0.1)) as it:
        client = await client_of(it)
        assert [answer.status for answer in await ask(client, 5)] == [504] * 5


@pytest.mark.parametrize("protocols", [("h2",), ("http/1.1",), ("http/1.1", "h2")])
async def test_alpn_must_agree_on_h2(protocols: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Over TLS only h2 is offered."""
    tls = tls_context(str(tmp_path), *protocols)
    async with h2_target(tls=tls) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        with caplog.at_level("DEBUG", "albkit"):
            answer = await client.get()
        if "h2" in protocols:
            assert answer.status == 200
            assert origin.connections[0].protocol == "h2"
            assert origin.requests[0].get(":scheme") == "https"
        else:
            assert answer.status == 502
            assert "ResponseNotHttp2" in caplog.text
        origin.errors.clear()


# Sharing.


async def test_burst_opens_one_connection_per_hundred_requests() -> None:
    """Those that come while it is being opened wait for it."""
    async with h2_target() as origin, in_front_of(origin.address, limits=alb.Limits(http2_streams=250)) as it:
        client = await client_of(it)
        for answer in await ask(client, 200):
            assert answer.status == 200
        assert len(origin.connections) <= 2


async def test_target_with_few_streams_gets_more_connections() -> None:
    """200 requests at once, three streams per connection: all are answered, and no connection has more than three."""
    most = 0

    async def script(stream: H2Stream) -> None:
        nonlocal most
        running = [one for one in stream.connection.streams.values() if not one.over.is_set()]
        most = max(most, len(running))
        await asyncio.sleep(0)
        await stream.answer()

    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 3}
    limits = alb.Limits(http2_streams=250)
    async with h2_target(script, settings=settings) as origin, in_front_of(origin.address, limits=limits) as it:
        client = await client_of(it)
        for answer in await ask(client, 200):
            assert answer.status == 200
        assert most <= 3
        assert len(origin.connections) <= 70


async def test_target_without_streams_is_no_busy_loop() -> None:
    """MAX_CONCURRENT_STREAMS 0: each attempt opens one connection, and the client gets 502."""
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}
    async with h2_target(settings=settings) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        assert [answer.status for answer in await ask(client, 4)] == [502] * 4
        assert len(origin.connections) <= 12
        await until(lambda: it.runtime.connections.count == 0)


async def test_client_that_leaves_while_it_waits_leaves_the_others() -> None:
    """The connection is opened for those that stay; if nobody stays, it is not opened."""
    accepted = asyncio.Event()
    go_on = asyncio.Event()

    async def script(conversation: Any) -> None:
        accepted.set()
        await go_on.wait()
        conversation.send(b"")

    async with target(script) as silent, in_front_of(silent.address) as it:
        client = await client_of(it)
        streams = [client.request() for _ in range(5)]
        async with asyncio.timeout(5):
            await accepted.wait()
        (room,) = it.runtime.connections._rooms[member_of(it)].values()
        client.send(*[h2_frames.rst_stream(stream) for stream in streams[1:]])
        await until(lambda: len(room._waiting) == 1)
        assert room._connecting
        client.send(h2_frames.rst_stream(streams[0]))
        await until(lambda: not it.runtime.connections._rooms)
        go_on.set()


async def test_refused_connection_fails_those_that_wait() -> None:
    """Each client gets its answer."""
    async with h2_target() as origin:
        address = origin.address
    async with in_front_of(address) as it:
        client = await client_of(it)
        assert [answer.status for answer in await ask(client, 20)] == [502] * 20


async def test_idle_connection_is_closed_politely() -> None:
    """After `target_keep_alive`, with GOAWAY."""
    async with h2_target() as origin, in_front_of(origin.address, limits=alb.Limits(target_keep_alive=0.1)) as it:
        client = await client_of(it)
        assert (await client.get()).status == 200
        await until(lambda: it.runtime.connections.count == 0)
        await until(lambda: origin.connections[0].has_ended)
        assert origin.connections[0].last_stream_of_goaway == 0
        assert it.counters["IdleTargetConnectionsClosedCount"] == 1
        assert (await client.get()).status == 200


async def test_target_that_vanished_gets_no_new_streams() -> None:
    """A request that timed out shows it: the next one uses another connection."""

    async def script(stream: H2Stream) -> None:
        if len(origin.connections) > 1:
            await stream.answer()

    async with h2_target(script) as origin, in_front_of(origin.address, idle_timeout=0.2) as it:
        client = await client_of(it)
        assert (await client.get()).status == 504
        other = await client_of(it)
        assert (await other.get()).status == 200
        assert len(origin.connections) == 2


async def test_proxy_protocol_shares_among_the_streams_of_one_client() -> None:
    """Another client gets a connection of its own, and the end of a client closes its connection."""
    heads: list[bytes] = []

    async def script(conversation: Any) -> None:
        heads.append(await conversation.read_until(b"\r\n"))
        conversation.send(h2_frames.settings())
        await conversation.read_to_end()

    async with target(script) as origin, in_front_of(origin.address, group={"proxy_protocol": "v1"}) as it:
        clients = [await client_of(it) for _ in range(2)]
        for client in clients:
            for _ in range(3):
                client.request()
        await until(lambda: len(heads) == 2)
        await until(lambda: len(connections_of(it)) == 2 and all(len(one.streams) == 3 for one in connections_of(it)))
        assert set(heads) == {b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (client.peer.port, it.port) for client in clients}
        await clients[0].close()
        await until(lambda: len(connections_of(it)) == 1)


# What the program does meanwhile.


async def test_deregistered_target_finishes_its_streams() -> None:
    """Its connection is closed behind the last one, and at the end of the delay in any case."""

    async def script(stream: H2Stream) -> None:
        await go_on.wait()
        await stream.answer()

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        streams = [client.request() for _ in range(3)]
        await origin.request(3)
        await it.load_balancer.deregister_targets("group", [origin.address])
        assert (await client.get()).status == 503
        go_on.set()
        for stream in streams:
            assert (await client.answer(stream)).status == 200
        await until(lambda: it.runtime.connections.count == 0)


async def test_deregistration_delay_ends_streams() -> None:
    """As with HTTP/1.1 targets."""
    group = {"deregistration_delay": 0}
    async with h2_target(never) as origin, in_front_of(origin.address, group=group) as it:
        client = await client_of(it)
        streams = [client.request() for _ in range(3)]
        await origin.request(3)
        await it.load_balancer.deregister_targets("group", [origin.address])
        for stream in streams:
            assert (await client.answer(stream)).status == 502
        await until(lambda: it.runtime.connections.count == 0)


async def never(stream: H2Stream) -> None:
    await stream.over.wait()


async def test_stop_ends_everything() -> None:
    """Requests in progress, uploads that wait for a window, and connects."""
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with h2_target(never, settings=settings) as origin, in_front_of(origin.address, stop_timeout=0.05) as it:
        client = await client_of(it)
        for _ in range(5):
            stream = client.request("POST", end=False)
            client.send(h2_frames.data(stream, b"x" * 1000))
        await origin.request(5)
        await until(lambda: it.runtime.http2_buffers.total == 5000)
        runtime = it.runtime
        await it.load_balancer.stop()
        assert runtime.http2_buffers.total == 0


async def test_apply_changes_the_version_of_a_group() -> None:
    """Streams in progress end on their connection; new requests use the other version."""

    async def script(stream: H2Stream) -> None:
        if stream.path == "/long":
            await go_on.wait()
        await stream.answer()

    go_on = asyncio.Event()
    async with h2_target(script) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        long = client.request("GET", "/long")
        await origin.request()
        (member,) = (member_of(it),)
        it.runtime.connections.outdate(member)
        assert (await client.get()).status == 200
        assert len(origin.connections) == 2
        go_on.set()
        assert (await client.answer(long)).status == 200
        await until(lambda: it.runtime.connections.count == 1)


async def test_too_many_waiting_bytes_close_the_connection_that_holds_most() -> None:
    """`Limits.http2_buffered_bytes`: its exchanges fail, and nothing stays counted."""
    limits = alb.Limits(http2_buffered_bytes=100_000)
    settings = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
    async with h2_target(never, settings=settings) as origin, in_front_of(origin.address, limits=limits) as it:
        client = await client_of(it)
        streams = [client.request("POST", end=False) for _ in range(4)]
        # Bytes that come before there is a connection to the target wait in the connection of the client.
        await origin.request(4)
        for stream in streams:
            client.send(*[h2_frames.data(stream, b"x" * 16000)] * 2)
        await until(lambda: it.runtime.connections.count == 0)
        assert it.runtime.http2_buffers.total == 0
        for stream in streams:
            assert (await client.answer(stream)).status == 502
        origin.errors.clear()


async def test_default_target_answers() -> None:
    """The target of these tests itself."""
    async with h2_target(answer_ok) as origin, in_front_of(origin.address) as it:
        assert (await (await client_of(it)).get()).body == b"ok"


# WebSockets (RFC 8441).

WEBSOCKETS = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}


async def echo(stream: H2Stream) -> None:
    """Switch, and send back what comes, END_STREAM included."""
    if stream.get(":method") != "CONNECT":
        await stream.answer()
        return
    stream.head(200, ("sec-websocket-protocol", "chat"))
    while (piece := await stream.chunk()) is not None:
        await stream.write(piece)
    stream.end()


async def test_websocket_is_a_stream_on_both_sides() -> None:
    """Extended CONNECT goes to the target; frames pass, and the connection serves other requests meanwhile and afterwards."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it, ("sec-websocket-protocol", "chat"))
        asked = await origin.request()
        assert asked.fields[:5] == [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/ws"),
            (":authority", f"example.com:{it.port}"),
        ]
        names = [name for name, _ in asked.fields]
        assert "sec-websocket-key" not in names
        assert {"sec-websocket-version", "sec-websocket-protocol"} <= set(names)
        assert socket.answer.get("sec-websocket-protocol") == "chat"
        assert "sec-websocket-accept" not in [name for name, _ in socket.answer.fields]
        hello = frame(TEXT, b"hello")
        socket.send(hello)
        assert await socket.read_exactly(len(hello)) == hello
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.protocol == "websocket"
        assert (await socket.client.get()).status == 200
        assert len(origin.connections) == 1
        socket.send_fin()
        assert await socket.read_to_end() == b""
        await until(lambda: not it.load_balancer.tunnels)
        assert (await socket.client.get()).status == 200
        assert len(origin.connections) == 1
        assert it.runtime.connections.idle(member_of(it)) == 1


async def test_large_messages_pass_within_all_windows() -> None:
    """Megabytes in each direction, and nothing stays counted."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        message = frame(BINARY, bytes(range(256)) * 8000)
        await socket.send_all(message)
        assert await socket.read_exactly(len(message)) == message


async def test_target_that_sends_with_its_answer_loses_nothing() -> None:
    """What comes right behind the 200 reaches the client, and so does its end."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.write(b"early", end=True)
        await stream.over.wait()

    async with h2_target(script, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        assert await socket.read_to_end() == b"early"
        socket.send_fin()
        await until(lambda: not it.load_balancer.tunnels)
        (await origin.request()).over.set()


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_target_may_refuse_a_websocket(status: int) -> None:
    """Its answer is passed on, and the stream ends."""

    async def script(stream: H2Stream) -> None:
        await stream.answer(status, b"no")

    async with h2_target(script, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        socket = connect(client)
        answer = await client.answer(socket.stream)
        assert (answer.status, answer.body) == (status, b"no")
        await until(lambda: it.runtime.connections.idle(member_of(it)) == 1)


async def test_target_without_websockets_gets_none() -> None:
    """Without SETTINGS_ENABLE_CONNECT_PROTOCOL the request is not sent."""
    async with h2_target() as origin, in_front_of(origin.address) as it:
        client = await client_of(it)
        socket = connect(client)
        assert (await client.answer(socket.stream)).status == 502
        assert origin.requests == []
        assert it.counters["Failure_TargetWithoutWebsockets"] == 1


@pytest.mark.parametrize("how", ["stream", "connection", "goaway"])
async def test_end_of_the_target_ends_its_websockets(how: str) -> None:
    """RST_STREAM, a lost connection, and a GOAWAY that leaves the stream out."""

    async def script(stream: H2Stream) -> None:
        stream.head(200)
        await stream.chunk()
        if how == "stream":
            stream.abort(ErrorCodes.INTERNAL_ERROR)
        elif how == "connection":
            stream.connection.conversation.reset()
        else:
            stream.connection.goaway(0)

    async with h2_target(script, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        socket.send(frame(TEXT, b"end"))
        with pytest.raises(ConnectionResetError):
            await socket.read_to_end()
        await until(lambda: not it.load_balancer.tunnels)
        origin.errors.clear()


async def test_client_that_resets_its_websocket_resets_that_of_the_target() -> None:
    """Only the stream: the connection goes on."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        socket = await opened(it)
        socket.reset()
        asked = await origin.request()
        await asked.over.wait()
        await until(lambda: not it.load_balancer.tunnels)
        assert (await socket.client.get()).status == 200
        assert len(origin.connections) == 1


async def test_stop_ends_websockets_of_http2_targets() -> None:
    """Closed with a code, then with force."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin, in_front_of(origin.address) as it:
        sockets = [await opened(it) for _ in range(3)]
        assert len(it.load_balancer.tunnels) == 3
        await it.load_balancer.stop()
        assert not it.load_balancer.tunnels
        for socket in sockets:
            await socket.close()


async def test_deregistered_target_closes_its_websockets_and_then_its_connection() -> None:
    """As over HTTP/1.1."""
    async with h2_target(echo, settings=WEBSOCKETS) as origin:
        group = {"deregistration_delay": 0}
        async with in_front_of(origin.address, group=group) as it:
            socket = await opened(it)
            await it.load_balancer.deregister_targets("group", [origin.address])
            with contextlib.suppress(ConnectionError):
                await socket.read_to_end()
            await until(lambda: it.runtime.connections.count == 0)
