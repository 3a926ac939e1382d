"""The demo's own HTTP/2, asked without a gateway: its client against its gRPC service, and against servers that are none."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from albkit.demo.grpc_service import GrpcService, as_text, text_of
from albkit.demo.http2 import Http2Client, connect, grpc_message, read_grpc_message
from tests.support.peers import Conversation, target

GRPC = {"content-type": "application/grpc", "te": "trailers"}


@contextlib.asynccontextmanager
async def calling() -> AsyncIterator[tuple[GrpcService, Http2Client]]:
    service = GrpcService("red")
    await service.start()
    try:
        async with connect(f"http://127.0.0.1:{service.port}") as client:
            yield service, client
    finally:
        await service.stop()


async def test_call_is_answered_with_messages_and_trailers() -> None:
    """The status of a call stands behind its messages."""
    async with calling() as (_, client):
        stream = client.request("POST", "/demo.Greeter/Hello", GRPC, grpc_message(as_text("you")))
        head, body = await stream.head(), await stream.read_all()
    assert (head[":status"], head["content-type"]) == ("200", "application/grpc")
    assert text_of(read_grpc_message(body)) == "hello you from red"
    assert stream.trailers == {"grpc-status": "0"}


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("/demo.Greeter/Bye", grpc_message(as_text("you")), "12"),
        ("/demo.Greeter/Hello", b"", "3"),
        ("/demo.Greeter/Hello", grpc_message(b"\x12\x01a"), "3"),
        ("/demo.Greeter/Hello", grpc_message(as_text("you")) + b"\0", "3"),
    ],
    ids=["unknown method", "no message", "another field", "more than one"],
)
async def test_call_that_is_wrong_gets_its_status_in_the_head(method: str, body: bytes, status: str) -> None:
    """Such a response has no messages and no trailers."""
    async with calling() as (_, client):
        stream = client.request("POST", method, GRPC, body)
        head = await stream.head()
        assert (head["grpc-status"], await stream.read_all()) == (status, b"")


async def test_stop_ends_calls_in_progress() -> None:
    """Nothing is left over, on either side."""
    async with calling() as (service, client):
        stream = client.connection.open([(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x")], end=False)
        quick = client.request("POST", "/demo.Greeter/Hello", GRPC, grpc_message(as_text("you")))
        await quick.head()
        await service.stop()
        with pytest.raises(ConnectionError):
            await stream.head()


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"", b"\0\0\0\1\4\0\0\0\1"],
    ids=["HTTP/1.1", "nothing", "no settings"],
)
async def test_server_without_http2_is_a_connection_error(answer: bytes) -> None:
    """The tour shows it as a failed step."""

    async def script(it: Conversation) -> None:
        it.send(answer)
        await it.close()

    async with target(script) as origin:
        with pytest.raises(ConnectionError):
            async with connect(f"http://{origin.address}"):
                pass
