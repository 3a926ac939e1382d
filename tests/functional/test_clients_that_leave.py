"""Clients that are gone before they have their answer, or all of it: who is told what, and that nothing is left or thrown away."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest

import albkit as alb
from tests.support.clock import FakeClock
from tests.support.gateway import Running, running
from tests.support.peers import Conversation, RawClient, request, response, target
from tests.support.secure import SecureClient, secured

EVENT = b"data: x\n\n"


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    """A hang is a failure with a place."""
    async with asyncio.timeout(30):
        yield


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something inside the load balancer of which nobody is told."""
    while not condition():
        await asyncio.sleep(0.005)


def errors(it: Running) -> dict[str, int]:
    """What was counted as failed, and under which of the load balancer's own codes."""
    return {name: count for name, count in it.counters.items() if name.startswith(("Failure_", "HTTPCode_ELB_"))}


def ways(client: RawClient) -> dict[str, Callable[[], None]]:
    """How a client can go."""
    return {"fin": client.send_fin, "close": client.writer.transport.abort, "rst": client.reset}


async def streaming(conversation: Conversation) -> None:
    """Events without end."""
    head, _ = await conversation.request()
    status = b"404 Not Found" if b"/404" in head else b"503 Busy" if b"/503" in head else b"200 OK"
    conversation.send(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n" + EVENT + b"\r\n")
    await conversation.read_to_end()


@pytest.mark.parametrize("how", ["fin", "close", "rst"])
@pytest.mark.parametrize("status", [200, 404, 503])
async def test_client_that_leaves_in_mid_response_is_told_of_as_such(how: str, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The status that it was sent is the one of the record, and no error code of the load balancer's."""
    async with target(streaming) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(request("GET", f"/{status}"))
        await client.read_until(EVENT)
        with caplog.at_level(logging.INFO, "albkit"):
            ways(client)[how]()
            await (await origin.arrived()).over.wait()
            await until(lambda: not it.runtime.clients)
        assert errors(it) == {"Failure_ClientClosedInResponse": 1}
        assert it.counters[f"HTTPCode_Target_{status // 100}XX_Count"] == 1
        (line,) = caplog.messages
        assert line.startswith("ClientClosedInResponse: ")
        assert f"phase=response body side=client status={status} " in line


@pytest.mark.parametrize("how", ["fin", "close", "rst"])
async def test_client_that_leaves_in_mid_response_over_tls_is_told_of_as_such(how: str) -> None:
    """A close_notify, or none."""
    async with target(streaming) as origin, secured(origin.address) as it:
        client = await it.secure()
        client.send(request("GET", "/"))
        await client.read_until(EVENT)
        ways(client)[how]()
        await (await origin.arrived()).over.wait()
        await until(lambda: not it.runtime.clients)
        assert errors(it) == {"Failure_ClientClosedInResponse": 1}


@pytest.mark.parametrize("how", ["fin", "close", "rst"])
async def test_uploader_that_leaves_behind_an_early_answer_is_told_of_as_left_in_the_response(how: str) -> None:
    """It owes the rest of its body, and nobody asks for that any more."""

    async def early(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await conversation.read_to_end()

    async with target(early) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 10") + b"half")
        await client.read_until(b"hello")
        ways(client)[how]()
        await (await origin.arrived()).over.wait()
        await until(lambda: not it.runtime.clients)
        assert errors(it) == {"Failure_ClientClosedInResponse": 1}


async def test_client_that_leaves_unread_in_mid_response_is_told_of_as_such() -> None:
    """It is not read, because its target takes no more of the body; the sweep sees that it has gone."""

    async def deaf(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        conversation.writer.transport.pause_reading()
        await over.wait()

    over = asyncio.Event()
    clock = FakeClock()
    async with target(deaf) as origin, running(origin.address, clock=clock) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 100000000"))
        await client.read_until(b"hello")
        (connection,) = it.runtime.clients
        while not connection.socket.is_paused:  # type: ignore[attr-defined]
            client.send(bytes(65536))
            await asyncio.sleep(0)
        client.reset()
        await until(lambda: (connection.sweep(clock.monotonic()), not it.runtime.clients)[1])  # type: ignore[attr-defined]
        over.set()
        assert errors(it) == {"Failure_ClientClosedInResponse": 1}


async def test_failure_of_the_body_in_mid_response_leaves_the_status_that_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    """A chunk that is none, behind the head of the response: 400 is told to nobody, and not counted as if it were."""

    async def early(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        await conversation.read_to_end()

    async with target(early) as origin, running(origin.address) as it:
        client = await it.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"4\r\nhalf\r\n")
        await client.read_until(b"hello")
        with caplog.at_level(logging.INFO, "albkit"):
            client.send(b"no size\r\n")
            assert await client.read_to_end() == b""
            await (await origin.arrived()).over.wait()
        assert errors(it) == {"Failure_RequestBodyMalformed": 1}
        assert "status=200" in caplog.text


WIRES = {
    "bad": b"BAD\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "good": request("GET", "/"),
    "good and last": request("GET", "/", "Connection: close"),
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "good, then bad": request("GET", "/") + b"BAD\r\n\r\n",
    "many good": request("GET", "/") * 20,
    "half a body": request("POST", "/", "Content-Length: 5") + b"ab",
    "half a chunk": request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\na",
    "no chunk": request("POST", "/", "Transfer-Encoding: chunked") + b"no size\r\n",
    "half a head": b"GET / HT",
    "TLS": b"\x16\x03\x01\x00\xa5\x01",
    "PROXY": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request("GET", "/"),
    "too long": b"GET /" + b"a" * 20_000,
}
INNER = ("Failure_InternalError", "HTTPCode_ELB_500_Count")


@pytest.mark.parametrize("reset", [False, True], ids=["close", "rst"])
@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
@pytest.mark.parametrize("door", ["answers itself", "asks a target", "plain HTTP at TLS"])
async def test_client_that_closes_behind_its_request_leaves_nothing_to_tell(
    wire: bytes, reset: bool, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No error of ours, no exception that nobody takes, on either loop; the answer may or may not have found it there."""
    rules = alb.Rule(1, alb.PathPattern("/*"), alb.FixedResponse(200)) if door == "answers itself" else ()
    async with (
        target(None, response()) as origin,
        secured(origin.address) if door == "plain HTTP at TLS" else running(origin.address, rules=rules) as it,
    ):
        loop = asyncio.get_running_loop()
        for _ in range(8):
            # Without asyncio's streams: it is gone at once, whatever comes.
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ("127.0.0.1", it.port))
                await loop.sock_sendall(sock, wire)
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.sleep(0)
        # Whoever is answered has come behind all of them.
        last = await RawClient.connect(it.port)
        assert (await last.get()).status in (200, 400)
        await last.close()
        gateway = it.runtime
        await until(lambda: not gateway.clients)
        assert not [name for name in INNER if name in it.counters]
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_client_that_closes_behind_its_tls_request_leaves_nothing_to_tell() -> None:
    """The close_notify of ours has nowhere to go."""
    async with target() as origin, secured(origin.address) as it:
        for wire in (*WIRES.values(), *WIRES.values()):
            client = await SecureClient.secure(it.port)
            it.clients.append(client)
            client.send(wire)
            client.writer.transport.abort()
        await until(lambda: not it.runtime.clients)
        assert not [name for name in INNER if name in it.counters]
