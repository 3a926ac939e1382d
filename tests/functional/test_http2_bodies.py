"""Bodies of HTTP/2 clients: flow control in both directions, early responses, timeouts, hooks and retries."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame, WindowUpdateFrame

import albkit as alb
from tests.functional.test_http2_clients import SHORT, h2
from tests.support.effort import cases
from tests.support.gateway import Running, running
from tests.support.h2_client import H2Client
from tests.support.h2_frames import CANCEL, INITIAL_WINDOW_SIZE, NO_ERROR, data, rst_stream, window_update
from tests.support.peers import Conversation, Target, free_port, response, target
from tests.support.secure import echo_bodies, until

LARGE = bytes(range(256)) * (cases(64, part=8) * 1024)
"""Larger than any window and any buffer of sockets that a test asks for."""
WINDOW = 65_536


class Held(Target):
    """A target that reads heads and answers when the test says."""

    def __init__(self) -> None:
        super().__init__(self.hold)
        self.go_on = asyncio.Event()

    async def hold(self, conversation: Conversation) -> None:
        while True:
            self.heads.append(await conversation.head())
            await self.go_on.wait()
            conversation.send(SHORT)

    async def __aenter__(self) -> Held:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def kinds(it: Running) -> dict[str, int]:
    """How often what failed."""
    return {name.removeprefix("Failure_"): count for name, count in it.counters.items() if name.startswith("Failure_")}


def assert_no_bytes_wait(it: Running) -> None:
    assert it.runtime.http2_buffers.total == 0


# Flow control.


async def test_upload_larger_than_any_window_arrives() -> None:
    """Windows are given back as the target takes the body."""
    async with target(echo_bodies) as origin, running(origin.address) as it:
        client = await h2(it)
        stream = client.request("POST", end=False)
        await client.send_body(stream, LARGE)
        answer = await client.answer(stream)
        assert (answer.status, answer.body == LARGE) == (200, True)
        assert_no_bytes_wait(it)


async def test_download_larger_than_any_window_arrives_in_order() -> None:
    """With windows that end in the middle of everything."""
    async with target(None, response(200, LARGE)) as origin, running(origin.address) as it:
        client = await h2(it, (INITIAL_WINDOW_SIZE, 5000))
        answer = await client.get()
        assert answer.body == LARGE
        assert max(len(frame.data) for frame in client.frames if isinstance(frame, DataFrame)) <= 16384
        assert_no_bytes_wait(it)


async def test_window_of_a_stream_is_not_given_back_while_the_target_is_full() -> None:
    """The client may send one window and what the target's connection buffers, and no more."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(3600)

    async with target(script) as origin, running(origin.address, limits=alb.Limits(in_flight=WINDOW)) as it:
        client = await h2(it)
        stream = client.request("POST", end=False)
        sent = 0
        while True:
            try:
                async with asyncio.timeout(1):
                    await client.send_body(stream, bytes(16_384), end=False)
            except TimeoutError:
                break
            sent += 16_384
        # The kernel takes a few megabytes by itself.
        assert sent < 32 * 2**20
        (connection,) = it.runtime.clients
        assert connection.streams[stream].receive_window <= 16_384  # type: ignore[attr-defined]
        other = await h2(it)
        assert other.their_settings[INITIAL_WINDOW_SIZE] == WINDOW


async def test_stalled_reader_of_one_stream_holds_up_no_other() -> None:
    """Its response waits for its window; the others pass it."""
    async with target(None, response(200, LARGE)) as origin, running(origin.address) as it:
        client = await h2(it, generous=False)
        client.send(window_update(0, 2**30))
        stalled = client.request()
        while len(client.answers.get(stalled, type("", (), {"body": b""})).body) < 65_535:
            await client.next_frame()
        for _ in range(3):
            other = client.request()
            client.send(window_update(other, 2**30))
            assert (await client.answer(other)).body == LARGE
        assert len(client.answers[stalled].body) == 65_535
        assert 0 < it.runtime.http2_buffers.total <= 2 * WINDOW + 256 * 1024
        client.send(window_update(stalled, 2**30))
        assert (await client.answer(stalled)).body == LARGE
        assert_no_bytes_wait(it)


async def test_window_of_the_connection_is_shared_in_turns() -> None:
    """A large response does not take all of it."""
    async with target(None, response(200, LARGE)) as origin, running(origin.address) as it:
        client = await h2(it, (INITIAL_WINDOW_SIZE, 2**30), generous=False)
        streams = [client.request() for _ in range(4)]
        for _ in range(4):
            await client.wait_for(DataFrame)
        for _ in range(40):
            client.send(window_update(0, 4 * 16_384))
            for _ in range(4):
                await client.wait_for(DataFrame)
        got = [len(client.answers[stream].body) if stream in client.answers else 0 for stream in streams]
        assert min(got) * 2 > max(got), got


async def test_client_that_reads_nothing_gets_bounded_memory() -> None:
    """However large its windows are, and however much it asks for."""
    body = bytes(200_000)
    async with target(None, response(200, body)) as origin, running(origin.address, limits=alb.Limits(http2_streams=1000)) as it:
        client = H2Client(await it.client(slow=True), settings=((INITIAL_WINDOW_SIZE, 2**31 - 1),))
        await client.start()
        client.send(window_update(0, 2**30))
        streams = [client.request() for _ in range(400)]
        (connection,) = it.runtime.clients
        await until(lambda: connection.is_full)  # type: ignore[attr-defined]
        for _ in range(50):
            await asyncio.sleep(0.01)
            unsent = connection.transport.get_write_buffer_size()  # type: ignore[attr-defined]
            assert unsent < 2**20
        assert it.runtime.http2_buffers.total < 2**27
        for stream in streams[:3]:
            assert (await client.answer(stream)).body == body


# Early responses.


async def test_early_response_ends_the_upload_without_an_error() -> None:
    """END_STREAM, then RST_STREAM with NO_ERROR; data on its way is swallowed, and its window is given back (RFC 9113 section 8.1)."""
    early = alb.Rule(1, [alb.PathPattern("/early")], alb.FixedResponse(413))
    async with target(echo_bodies) as origin, running(origin.address, rules=[early]) as it:
        client = await h2(it)
        for _ in range(40):
            stream = client.request("POST", "/early", end=False)
            client.send(*[data(stream, bytes(16_384)) for _ in range(3)])
            answer = await client.answer(stream)
            assert (answer.status, answer.has_ended) == (413, True)
            assert await client.reset(stream) == NO_ERROR
            client.send(data(stream, bytes(10), end=True))
        await client.alive()
        granted = sum(f.window_increment for f in client.frames if isinstance(f, WindowUpdateFrame) and f.stream_id == 0)
        assert granted >= 40 * 3 * 16_384
        stream = client.request("POST", end=False)
        await client.send_body(stream, b"still here")
        assert (await client.answer(stream)).body == b"still here"
        assert kinds(it) == {}


async def test_target_that_answers_early_ends_the_upload() -> None:
    """Its response is passed on whole, and no more of the request is wanted."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response(403, b"no"))
        await conversation.read_to_end()

    async with target(script) as origin, running(origin.address) as it:
        client = await h2(it)
        stream = client.request("POST", end=False)
        client.send(data(stream, bytes(1000)))
        answer = await client.answer(stream)
        assert (answer.status, answer.body, answer.has_ended) == (403, b"no", True)
        assert await client.reset(stream) == NO_ERROR
        await client.alive()


# Timeouts.


async def test_body_that_stops_is_answered_408() -> None:
    """After the idle timeout. Other streams of the connection do not change that."""
    async with target(echo_bodies) as origin, running(origin.address, idle_timeout=0.4) as it:
        client = await h2(it)
        stream = client.request("POST", end=False)
        client.send(data(stream, b"part"))
        while stream not in client.answers:
            other = client.request("POST", end=False)
            client.send(data(other, b"x", end=True))
            assert (await client.answer(other)).status == 200
            await asyncio.sleep(0.02)
        assert (await client.answer(stream)).status == 408
        assert kinds(it) == {"RequestBodyTimeout": 1}


async def test_target_that_does_not_answer_is_504() -> None:
    """While other streams are served."""
    async with Held() as origin, running(origin.address, idle_timeout=0.4) as it:
        client = await h2(it)
        assert (await client.answer(client.request())).status == 504
        assert kinds(it) == {"TargetTimeout": 1}
        origin.go_on.set()
        assert (await client.get()).status == 200


async def test_client_that_opens_its_window_byte_by_byte_is_stalled() -> None:
    """Its stream is reset; the connection goes on."""
    async with target(None, response(200, LARGE)) as origin, running(origin.address, idle_timeout=0.4) as it:
        client = await h2(it, (INITIAL_WINDOW_SIZE, 10), generous=False)
        stream = client.request()
        while not (stream in client.answers and client.answers[stream].reset is not None):
            client.send(window_update(stream, 1))
            await client.next_frame()
            await asyncio.sleep(0.01)
        assert kinds(it) == {"ClientStalled": 1}
        await client.alive()
        assert_no_bytes_wait(it)


async def test_finished_response_that_nobody_reads_is_dropped() -> None:
    """The exchange is over; what waits for the window is not kept for ever."""
    async with target(None, response(200, bytes(100))) as origin, running(origin.address, idle_timeout=0.3) as it:
        client = await h2(it, (INITIAL_WINDOW_SIZE, 0), generous=False)
        stream = client.request()
        assert (await client.head(stream)).status == 200
        assert await client.reset(stream) == CANCEL
        assert_no_bytes_wait(it)


async def test_body_below_the_minimum_rate_is_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream by itself, over any five seconds."""
    async with target(echo_bodies) as origin, running(origin.address, limits=alb.Limits(request_body_rate=1000)) as it:
        client = await h2(it)
        slow, quick = client.request("POST", end=False), client.request("POST", end=False)
        await client.alive()
        (connection,) = it.runtime.clients
        now = it.runtime.clock.monotonic()
        await until(lambda: all(s._sink is not None for s in connection.streams.values()))  # type: ignore[attr-defined]
        for _ in range(7):
            client.send(data(slow, bytes(100)), data(quick, bytes(2000)))
            await client.alive()
            now += 1
            connection.sweep(now)
        assert (await client.answer(slow)).status == 408
        client.send(data(quick, b"", end=True))
        assert (await client.answer(quick)).status == 200
        assert kinds(it) == {"RequestBodyTooSlow": 1}


# Hooks.


async def hooked(request: alb.Request) -> alb.Response | None:
    """Answers with the size of the body, or lets it pass."""
    try:
        body = await request.body(100_000)
    except alb.BodyTooLarge:
        return alb.Response(413, body=b"too large")
    return alb.Response(200, body=b"%d" % len(body)) if request.path == "/size" else None


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
async def test_hook_reads_a_body_and_passes_it_on(size: int) -> None:
    """Whatever it needs of windows. The target gets all of it."""
    async with target(echo_bodies) as origin, running(origin.address, hooks=[hooked]) as it:
        client = await h2(it)
        for path in ("/size", "/pass"):
            stream = client.request("POST", path, end=False)
            await client.send_body(stream, b"x" * size, end=False)
            client.send(data(stream, b"", end=True))
            assert (await client.answer(stream)).body == (b"%d" % size if path == "/size" else b"x" * size)
        assert_no_bytes_wait(it)


async def test_body_too_large_for_a_hook_is_refused_early() -> None:
    """The client need not send the rest."""
    async with target(echo_bodies) as origin, running(origin.address, hooks=[hooked]) as it:
        client = await h2(it)
        stream = client.request("POST", end=False)
        await client.send_body(stream, bytes(300_000), end=False)
        answer = await client.answer(stream)
        assert (answer.status, answer.body) == (413, b"too large")
        assert await client.reset(stream) == NO_ERROR
        await client.alive()


async def test_client_that_resets_cancels_the_hook() -> None:
    """At once, and what it waited for is gone."""
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def hook(_: Any) -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    async with target() as origin, running(origin.address, hooks=[hook]) as it:
        client = await h2(it)
        stream = client.request()
        await began.wait()
        client.send(rst_stream(stream))
        async with asyncio.timeout(5):
            await cancelled.wait()
        await client.alive()
        await until(lambda: bool(kinds(it)))
        assert kinds(it) == {"ClientClosed": 1}
        assert origin.conversations == []


async def test_hook_that_takes_too_long_is_500() -> None:
    """The stream alone fails."""

    async def hook(request: Any) -> None:
        if request.path == "/slow":
            await asyncio.sleep(3600)

    async with target() as origin, running(origin.address, hooks=[hook], limits=alb.Limits(hook_timeout=0.1)) as it:
        client = await h2(it)
        assert (await client.get("/slow")).status == 500
        assert (await client.get("/")).status == 200


# Retries and the waiting line.


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_request_is_sent_to_another_target_if_the_first_refuses(method: str) -> None:
    """With its body, if it is small."""
    async with target(echo_bodies) as origin, running(f"127.0.0.1:{free_port()}", origin.address) as it:
        client = await h2(it)
        for _ in range(4):
            stream = client.request(method, end=method == "GET")
            if method == "PUT":
                client.send(data(stream, b"body", end=True))
            answer = await client.answer(stream)
            assert (answer.status, answer.body) == (200, b"" if method == "GET" else b"body")


async def test_streams_wait_in_line_for_a_target() -> None:
    """As many are sent as the target takes; a stream that is reset leaves the line."""
    async with Held() as origin, running(alb.Target("127.0.0.1", origin.port, max_concurrency=1)) as it:
        client = await h2(it)
        first, second, third = client.request(), client.request(), client.request()
        await origin.arrived()
        client.send(rst_stream(second))
        await client.alive()
        assert len(origin.heads) == 1
        origin.go_on.set()
        assert (await client.answer(first)).status == 200
        assert (await client.answer(third)).status == 200
        assert len(origin.heads) == 2
        assert kinds(it) == {"ClientClosed": 1}


async def test_client_that_resets_lets_its_target_go() -> None:
    """In the middle of a response: the connection to the target is not used again."""
    async with target(None, response(200, LARGE)) as origin, running(origin.address) as it:
        client = await h2(it, generous=False)
        stream = client.request()
        await client.wait_for(DataFrame)
        client.send(rst_stream(stream))
        await origin.conversations[0].over.wait()
        await client.alive()
        assert kinds(it) == {"ClientClosedInResponse": 1}
        assert not [frame for frame in client.frames if isinstance(frame, RstStreamFrame)]
        assert_no_bytes_wait(it)
