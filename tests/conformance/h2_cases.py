"""Frames that a client sends to a whole load balancer, and what RFC 9113 or RFC 7541 says must come of them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from tests.support.gateway import Running, running
from tests.support.h2_client import H2Answer, H2Client
from tests.support.h2_frames import NO_ERROR, PROTOCOL_ERROR
from tests.support.peers import Conversation, Target, response, target

Step = bytes | Callable[[H2Client], Awaitable[Any]]
"""Bytes to send, or something to wait for."""
Outcome = Callable[[H2Client], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """What is sent behind the preface, and what must come of it. Neighbouring bytes go out in one write."""

    name: str
    steps: tuple[Step, ...]
    outcome: Outcome


def cases(*rows: tuple[Any, ...]) -> pytest.MarkDecorator:
    """Parametrize a test: each row has a name, steps, and an outcome."""
    found = [Case(name, tuple(steps), outcome) for name, *steps, outcome in rows]
    names = [case.name for case in found]
    assert len(set(names)) == len(names), "two cases have the same name"
    return pytest.mark.parametrize("case", found, ids=names)


async def play(client: H2Client, steps: Iterable[Step]) -> None:
    """Do the steps."""
    waiting: list[bytes] = []
    for step in steps:
        if isinstance(step, bytes):
            waiting.append(step)
        else:
            client.send(*waiting)
            waiting.clear()
            await step(client)
    client.send(*waiting)


# Steps.


def answered(stream: int = 1) -> Callable[[H2Client], Awaitable[H2Answer]]:
    """Wait for the end of a stream."""
    return lambda client: client.answer(stream)


def begun(stream: int = 1) -> Callable[[H2Client], Awaitable[H2Answer]]:
    """Wait for the head of an answer."""
    return lambda client: client.head(stream)


async def read(client: H2Client) -> None:
    """Wait until all that was sent so far is read."""
    await client.alive()


# Outcomes.


def goaway(*codes: int) -> Outcome:
    """A connection error (section 5.4.1): GOAWAY with one of these codes, and the connection closes."""

    async def check(client: H2Client) -> None:
        code = await client.goaway()
        assert code in codes, f"GOAWAY with {code}"

    return check


def reset(*codes: int, stream: int = 1) -> Outcome:
    """A stream error (section 5.4.2): RST_STREAM with one of these codes. The connection goes on."""

    async def check(client: H2Client) -> None:
        code = await client.reset(stream)
        assert code in codes, f"RST_STREAM with {code}"
        await client.alive()

    return check


def refused(*codes: int, stream: int = 1) -> Outcome:
    """An error of the stream or of the connection: the RFC allows both, or its sections differ."""

    async def check(client: H2Client) -> None:
        def is_of_the_stream(frame: RstStreamFrame) -> bool:
            return bool(frame.stream_id == stream)

        while not client.has_ended:
            for frame in client.frames:
                if isinstance(frame, GoAwayFrame) or (isinstance(frame, RstStreamFrame) and is_of_the_stream(frame)):
                    assert frame.error_code in codes, frame
                    return
            await client.next_frame()
        raise AssertionError(f"the connection closed without an error: {client.frames}")

    return check


def served(stream: int = 1, *, status: int = 200, body: bytes | None = None) -> Outcome:
    """The stream is answered, and the connection goes on."""

    async def check(client: H2Client) -> None:
        answer = await client.answer(stream)
        assert answer.has_ended, answer
        assert answer.status == status
        if body is not None:
            assert answer.body == body
        await client.alive()

    return check


async def turned_down(client: H2Client) -> None:
    """Stream 1 is reset with PROTOCOL_ERROR or answered with 400, and the connection goes on."""
    answer = await client.answer(1)
    assert answer.reset == PROTOCOL_ERROR or answer.status == 400, answer
    await client.alive()


async def unharmed(client: H2Client) -> None:
    """Nothing comes of it: the connection goes on, with no stream reset."""
    await client.alive()
    assert not [frame for frame in client.frames if isinstance(frame, GoAwayFrame | RstStreamFrame)]


async def ended_well(client: H2Client) -> None:
    """The connection may close behind the last stream; if it does, it says NO_ERROR."""
    assert client.answers[1].body == b"test"
    assert {frame.error_code for frame in client.frames if isinstance(frame, GoAwayFrame)} <= {NO_ERROR}


def sent(total: int) -> Outcome:
    """So many bytes of DATA come on stream 1, and no more for the time being."""

    async def check(client: H2Client) -> None:
        while len(client.answers.setdefault(1, H2Answer()).body) < total:
            assert await client.next_frame() is not None, client.frames
        await client.alive()
        assert len(client.answers[1].body) == total

    return check


SIZE_OF_BIG = 300_000


async def pages(conversation: Conversation) -> None:
    """Answers `/echo` with the request's body, `/big` with much, and `/hold` never. Any other path is `ok`."""
    while True:
        head, body = await conversation.request()
        path = head.split(b" ")[1]
        if path == b"/hold":
            await conversation.read_to_end()
        conversation.send(response(200, {b"/echo": body, b"/big": bytes(SIZE_OF_BIG)}.get(path, b"ok")))
        await conversation.drain()


class Stage:
    """A load balancer between a target over HTTP/1.1 and clients over HTTP/2 in the clear."""

    def __init__(self, gateway: Running, origin: Target) -> None:
        self.gateway = gateway
        self.origin = origin

    @property
    def heads(self) -> list[bytes]:
        """The request heads that have reached the target."""
        pieces = [piece for conversation in self.origin.conversations for piece in conversation.received.split(b"\r\n\r\n")]
        return [piece for piece in pieces if b"HTTP/1.1" in piece]

    async def client(self, **options: Any) -> H2Client:
        """A client that has exchanged SETTINGS with the load balancer."""
        return await (await self.unstarted(**options)).start()

    async def unstarted(self, **options: Any) -> H2Client:
        """A client that has sent nothing yet."""
        return H2Client(await self.gateway.client(), **options)


@contextlib.asynccontextmanager
async def staged(script: Callable[[Conversation], Awaitable[None]] = pages, **settings: Any) -> AsyncIterator[Stage]:
    """A load balancer in front of one target."""
    async with target(script) as origin, running(origin.address, **settings) as gateway:
        yield Stage(gateway, origin)
