"""Random HTTP/2 clients: sequences of frames, right ones and broken ones, in random pieces.

Whatever comes: no error inside the load balancer, nothing left of a connection that is gone, and others are served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator

import pytest

import albkit as alb
from tests.functional.test_http2_clients import h2
from tests.support import h2_frames as frames
from tests.support.balancing import Balancing, balancing, listener
from tests.support.effort import cases
from tests.support.h2_frames import Field
from tests.support.peers import Conversation, RawClient, free_port, response, target
from tests.support.secure import until

CASES = cases(3000)
SEEDS = range(10)
LARGE = bytes(150_000)
PATHS = ("/", "/large", "/chunked", "/trailers", "/early", "/cut", "/hang", "/204", "/fixed", "/hook", "/answer", "/refused", "/none")
METHODS = ("GET", "GET", "GET", "POST", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT")


async def origin_script(conversation: Conversation) -> None:
    """Answers by path."""
    while True:
        head = await conversation.head()
        path = head.split(b" ")[1]
        if path == b"/early":
            conversation.send(response(403, b"no"))
            return
        if path == b"/hang":
            await asyncio.sleep(3600)
        if b"chunked" in head.lower():
            while size := int(await conversation.read_until(b"\r\n"), 16):
                await conversation.read_exactly(size + 2)
            while await conversation.read_until(b"\r\n") != b"\r\n":
                pass
        elif b"content-length: " in head:
            await conversation.read_exactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
        if head.startswith(b"HEAD "):
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        elif path == b"/large":
            conversation.send(response(200, LARGE))
        elif path == b"/chunked":
            conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
            await asyncio.sleep(0)
            conversation.send(b"1\r\n!\r\n0\r\n\r\n")
        elif path == b"/trailers":
            conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n")
        elif path == b"/cut":
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
            return
        elif path == b"/204":
            conversation.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            conversation.send(response())
        await conversation.drain()


async def read_body(request: alb.Request) -> alb.Response | None:
    """A hook."""
    with contextlib.suppress(alb.BodyTooLarge):
        await request.body(1000)
    await asyncio.sleep(0)
    return alb.Response(200, body=b"hook") if request.path == "/answer" else None


class Walk:
    """One client that knows a little of what it is doing.

    Args:
        chance: Decides everything.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.next_stream = 1
        self.open: list[int] = []

    def fields(self) -> list[Field]:
        """A request's, often a right one's."""
        chance = self.chance
        fields = frames.request_fields(chance.choice(METHODS), chance.choice(PATHS))
        if chance.random() < 0.2:
            fields.append(("content-length", str(chance.choice((0, 1, 5, 100, 70_000)))))
        if chance.random() < 0.1:
            fields.append(("expect", "100-continue"))
        if chance.random() < 0.1:
            fields.append((":protocol", "websocket"))
        if chance.random() < 0.1:
            fields += [("cookie", "a=1"), ("cookie", "b=2")]
        if chance.random() < 0.08:
            fields.insert(chance.randrange(len(fields)), (chance.choice(("X", "te", "connection", ":path", "x\0", "")), "1"))
        if chance.random() < 0.05:
            del fields[chance.randrange(len(fields))]
        return fields

    def stream(self) -> int:
        """Any that was opened, as a rule."""
        if self.next_stream > 1 and self.chance.random() < 0.97:
            return self.chance.randrange(1, self.next_stream, 2)
        return self.chance.choice((0, 1, 2, 3, self.next_stream, 2**31 - 1))

    def request(self) -> bytes:
        stream = self.next_stream
        self.next_stream += 2 if self.chance.random() < 0.98 else 2 * self.chance.randrange(1, 50)
        end = self.chance.random() < 0.6
        if not end:
            self.open.append(stream)
        encoded = frames.block(self.fields())
        if self.chance.random() < 0.15:
            cut = self.chance.randrange(len(encoded) + 1)
            return frames.headers(stream, encoded[:cut], end=end, whole=False) + frames.continuation(stream, encoded[cut:])
        padding = self.chance.choice((None, None, None, 0, 7, 255))
        priority = frames.dependency(self.chance.choice((0, 0, 0, 0, 0, 0, stream, 1))) if self.chance.random() < 0.05 else None
        return frames.headers(stream, encoded, end=end, padding=padding, priority=priority)

    def body(self) -> bytes:
        """A part of a body, or its end, of a stream that waits for one as a rule."""
        if not self.open:
            return self.request()
        stream = self.chance.choice(self.open) if self.chance.random() < 0.98 else self.stream()
        size = self.chance.choice((0, 1, 5, 100, 1000, 16_384))
        end = self.chance.random() < 0.4
        if end and stream in self.open:
            self.open.remove(stream)
            if self.chance.random() < 0.2:
                return frames.headers(stream, [("x-sum", "7")])
        padding = self.chance.choice((None, None, 0, 9)) if size < 16_000 else None
        return frames.data(stream, bytes(size), end=end, padding=padding)

    def control(self) -> bytes:
        """A frame that belongs to no request."""
        chance = self.chance
        window = chance.choice((0, 1, 100, 65_535, 2**20, 2**24))
        stream = self.stream()
        if chance.random() < 0.1 and stream in self.open:
            self.open.remove(stream)
            return frames.rst_stream(stream, chance.choice((0, 8, 11, 99)))
        if chance.random() < 0.03:
            return chance.choice(
                (
                    frames.window_update(chance.choice((0, stream)), chance.choice((0, 2**31 - 1))),
                    frames.headers(stream, [("x-sum", "7")]),
                    frames.frame(chance.randrange(256), chance.randrange(256), stream, bytes(chance.randrange(20))),
                )
            )
        return chance.choice(
            (
                frames.settings((frames.INITIAL_WINDOW_SIZE, window)),
                frames.settings((frames.HEADER_TABLE_SIZE, chance.choice((0, 100, 4096, 65_536))), (frames.MAX_FRAME_SIZE, 16_384)),
                frames.settings(ack=True),
                frames.ping(),
                frames.ping(ack=True),
                frames.window_update(0, chance.choice((1, 1000, 65_535, 2**20))),
                frames.window_update(stream, chance.choice((1, 1000, 65_535, 2**20))) if stream else b"",
                frames.priority(stream or 1, 0),
                frames.go_away(0),
                frames.frame(0xF0, 0, stream, b"unknown"),
            )
        )

    def wire(self) -> Iterator[bytes]:
        """Pieces to send."""
        chance = self.chance
        sent = bytearray(frames.PREFACE + frames.settings(*([(frames.INITIAL_WINDOW_SIZE, 0)] if chance.random() < 0.2 else [])))
        if chance.random() < 0.7:
            sent += frames.window_update(0, 2**24)
        for _ in range(chance.randrange(1, 60)):
            sent += chance.choices((self.request, self.body, self.control), (4, 4, 3))[0]()
        if chance.random() < 0.15:
            for _ in range(chance.randrange(1, 4)):
                place = chance.randrange(len(sent))
                sent[place] = chance.randrange(256)
        if chance.random() < 0.1:
            del sent[chance.randrange(len(sent)) :]
        while sent:
            size = chance.choice((1, 9, 100, 5000, 100_000, len(sent)))
            yield bytes(sent[:size])
            del sent[:size]


async def walk(it: Balancing, chance: random.Random) -> None:
    """One client, from its first byte to its end."""
    client = await RawClient.connect(it.port)
    try:
        for piece in Walk(chance).wire():
            client.send(piece)
            for _ in range(chance.choice((0, 0, 1, 3, 10))):
                await asyncio.sleep(0)
        if chance.random() < 0.5:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.choice((0.001, 0.01, 0.05))):
                    while await client.read():
                        pass
    except ConnectionError:
        pass
    finally:
        if chance.random() < 0.5:
            client.reset()
        with contextlib.suppress(ConnectionError):
            await client.close()


def load_balancer_of(origin: str) -> alb.Listener:
    """One listener with something of everything."""
    forward = alb.Forward(alb.TargetGroup("group", [origin]))
    refused = alb.Forward(alb.TargetGroup("refused", [f"127.0.0.1:{free_port()}", origin], ejection=None))
    return listener(
        forward,
        alb.Rule(1, [alb.PathPattern("/fixed")], alb.FixedResponse(200, "fixed")),
        alb.Rule(2, [alb.PathPattern("/hook", "/answer")], [read_body, forward]),
        alb.Rule(3, [alb.PathPattern("/refused")], refused),
        alb.Rule(4, [alb.PathPattern("/none")], alb.Forward(alb.TargetGroup("none", []))),
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_random_clients_break_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Several at a time, beside one that behaves."""
    chance = random.Random(seed)
    caplog.set_level(logging.WARNING)
    limits = alb.Limits(http2_buffered_bytes=2**20)
    async with target(origin_script) as origin, balancing(load_balancer_of(origin.address), limits=limits, idle_timeout=0.5) as it:
        for _ in range(max(1, CASES // len(SEEDS) // 10)):
            await asyncio.gather(*(walk(it, random.Random(chance.random())) for _ in range(10)))
            good = await h2(it)
            for path in ("/", "/large", "/trailers", "/fixed", "/answer"):
                answer = await good.get(path)
                assert (answer.status, answer.has_ended) == (200, True), (path, answer)
            await good.close()
        await until(lambda: not it.runtime.clients, 10)
        assert it.runtime.http2_buffers.total == 0
        assert "Failure_InternalError" not in it.counters, it.counters
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    assert errors == []
