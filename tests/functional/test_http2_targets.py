"""Targets over HTTP/2: requests of HTTP/2 clients to targets that the package h2 judges, over real connections."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

import albkit as alb
from tests.support import h2_frames
from tests.support.h2_target import H2Stream, h2_target
from tests.support.h2_targets import ask, client_of, connections_of, in_front_of, member_of
from tests.support.secure import until

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
