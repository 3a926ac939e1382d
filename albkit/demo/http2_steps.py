"""The steps of the tour over HTTP/2: requests, event streams, a WebSocket and gRPC calls, each on one connection."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from albkit.demo.expectations import expect, expect_that
from albkit.demo.grpc_service import as_text, text_of
from albkit.demo.http2 import Http2Client, Http2Stream, grpc_message, read_grpc_message

__all__ = ("grpc", "page", "slow", "streams", "websocket")

_TEXT, _CLOSE = 0x81, 0x88
"""The first byte of a WebSocket frame: whole, and of this kind (RFC 6455 section 5.2)."""
_SHORT = 125
"""The longest payload whose length stands in the second byte of a frame."""
_GRPC = {"content-type": "application/grpc", "te": "trailers"}


class _Tour(Protocol):
    """What these steps need of the tour."""

    counters: Callable[[], Mapping[str, int]]

    @property
    def names(self) -> list[str]: ...
    def http2(self) -> AbstractAsyncContextManager[Http2Client]: ...


async def page(tour: _Tour) -> str:
    """ALPN chooses HTTP/2, and the target is told that the client uses TLS."""
    async with tour.http2() as client:
        stream = client.request("GET", "/")
        head, text = await stream.head(), (await stream.read_all()).decode()
        expect("the status", "200", head[":status"])
        expect_that("<title>albkit demo</title>" in text, "the demo's page", text[:60])
        whoami = json.loads(await _body(client, "/api/whoami"))
        scheme = "https" if client.tls else "http"
        expect_that(f"X-Forwarded-Proto: {scheme}" in whoami["headers"], f"X-Forwarded-Proto: {scheme} at the target", whoami["headers"])
        how = client.tls or "without TLS, by prior knowledge (for TLS, install albkit[tls])"
    return f"{len(text)} characters; {how}"


async def slow(tour: _Tour) -> str:
    """Requests on one connection do not wait for each other."""
    before = tour.counters()["Http2ConnectionCount"]
    async with tour.http2() as client:
        started = time.monotonic()
        asked = [client.request("GET", "/api/slow?seconds=0.3") for _ in range(20)]
        heads = [await stream.head() for stream in asked]
        for stream in asked:
            await stream.read_all()
        took = time.monotonic() - started
    expect("the statuses", {"200": 20}, dict(Counter(head[":status"] for head in heads)))
    expect_that(took < 3, "20 answers of 0.3 seconds side by side in less than 3", f"{took:.1f} seconds")
    expect("HTTP/2 connections", 1, tour.counters()["Http2ConnectionCount"] - before)
    return f"20 answers of 0.3 seconds in {took:.2f} seconds, on 1 connection"


async def streams(tour: _Tour) -> str:
    """A browser has six connections to a host over HTTP/1.1, so two of eight such tabs would not load."""
    async with tour.http2() as client:
        tabs = [client.request("GET", "/api/stream?events=2&interval=0.8") for _ in range(8)]
        for tab in tabs:
            expect("the content type", "text/event-stream", (await tab.head()).get("content-type"))
            await tab.read()
        name = (await _body(client, "/api/name")).decode().strip()
        answered = time.time()
        second = [json.loads((await tab.read_all()).removeprefix(b"data: "))["sent"] for tab in tabs]
    expect_that(name in tour.names, f"one of {tour.names} to answer", name)
    expect_that(answered < min(second), "an answer while the streams are open", "it later")
    return f"{name} answered a request while 8 streams were open on its connection"


async def websocket(tour: _Tour) -> str:
    """RFC 8441: a stream becomes a tunnel, and the cookie of the session binds it."""
    async with tour.http2() as client:
        expect_that(client.connection.settings.get(8) == 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL", client.connection.settings)
        stream = client.request("GET", "/name")
        cookie = (await stream.head()).get("set-cookie", "").partition(";")[0]
        name = (await stream.read_all()).decode().strip()
        socket = client.websocket("/ws", {"cookie": cookie})
        expect("the status of the extended CONNECT", "200", (await socket.head())[":status"])
        hello = json.loads(await _frame(socket, _TEXT))
        expect("the target of the WebSocket", name, hello["target"])
        text = "hällo".encode()
        socket.send(_masked(_TEXT, text))
        expect("the echo", text, await _frame(socket, _TEXT))
        socket.send(_masked(_CLOSE, (1000).to_bytes(2, "big")))
        expect("the close code", 1000, int.from_bytes((await _frame(socket, _CLOSE))[:2], "big"))
    return f"a text and Close 1000, by {name}, which its session is bound to"


async def grpc(tour: _Tour) -> str:
    """One connection of the client, and a target for each call; trailers say how a call ended."""
    async with tour.http2() as client:
        greetings = [await _call(client, "/demo.Greeter/Hello") for _ in range(6)]
        counted = await _call(client, "/demo.Greeter/Count")
        missing = await _call(client, "/demo.Greeter/Nothing")
    expect("the grpc-status of the calls", {"0"}, {status for status, _ in greetings})
    seen = Counter(text.removeprefix("hello demo from ") for _, (text,) in greetings)
    expect("calls per target", dict.fromkeys(tour.names, 2), dict(sorted(seen.items())))
    expect("a stream of three greetings", ("0", 3), (counted[0], len(counted[1])))
    expect("the grpc-status of a method that does not exist", "12", missing[0])
    return f"6 calls on 1 connection: 2 each to {', '.join(seen)}; a stream of 3 messages; an unknown method is UNIMPLEMENTED"


async def _body(client: Http2Client, path: str) -> bytes:
    stream = client.request("GET", path)
    expect(f"the status of GET {path}", "200", (await stream.head())[":status"])
    return await stream.read_all()


async def _call(client: Http2Client, method: str) -> tuple[str, list[str]]:
    """Call a gRPC method. Returns its `grpc-status` and the texts of its messages."""
    stream = client.request("POST", method, _GRPC, grpc_message(as_text("demo")))
    head, body = await stream.head(), await stream.read_all()
    expect(f"the HTTP status of {method}", "200", head[":status"])
    texts = []
    while body:
        size = 5 + int.from_bytes(body[1:5], "big")
        texts.append(text_of(read_grpc_message(body[:size])))
        body = body[size:]
    return stream.trailers.get("grpc-status", head.get("grpc-status", "")), texts


async def _frame(socket: Http2Stream, kind: int) -> bytes:
    """The payload of the next WebSocket frame, which is a short one."""
    frame = b""
    while len(frame) < 2 or len(frame) < 2 + frame[1]:
        piece = await socket.read()
        expect_that(bool(piece), "a WebSocket frame", "the end of the stream")
        frame += piece
    expect("the kind of the frame", (kind, 2 + frame[1]), (frame[0], len(frame)))
    return frame[2:]


def _masked(kind: int, payload: bytes) -> bytes:
    """Return a short WebSocket frame of a client."""
    key = os.urandom(4)
    return bytes((kind, 0x80 | len(payload))) + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
