"""grpcio's own client and server, with a load balancer between them: in the clear and over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import albkit as alb
from tests.clients.grpc_peers import LARGE, Echo, Stub, calling, serving_grpc
from tests.support.balancing import Balancing, balancing, group_of, listener
from tests.support.peers import free_port
from tests.support.secure import issued

pytestmark = pytest.mark.timeout(40)

both = pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "TLS"])


@contextlib.asynccontextmanager
async def before(*addresses: str, is_secure: bool = False, **settings: Any) -> AsyncIterator[tuple[Balancing, Stub]]:
    """A load balancer in front of servers, and a client of it."""
    own = issued()
    door: dict[str, Any] = {"protocol": "HTTPS", "certificates": alb.Certificate(own.pem, own.key_pem)} if is_secure else {}
    group = group_of(*addresses, protocol_version="GRPC", **settings)
    async with asyncio.timeout(30), balancing(listener(group, **door)) as it, calling(it.port, is_secure=is_secure) as stub:
        yield it, stub


@contextlib.asynccontextmanager
async def through(*, is_secure: bool = False, **settings: Any) -> AsyncIterator[tuple[Balancing, Stub, Echo]]:
    """The same in front of one server."""
    async with serving_grpc(is_secure=is_secure) as (echo, address), before(address, is_secure=is_secure, **settings) as (it, stub):
        yield it, stub, echo


async def failure(call: Any) -> Any:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


@both
async def test_calls_of_all_four_kinds_are_answered(is_secure: bool) -> None:
    """One message or many in each direction; a chat goes back and forth."""
    async with through(is_secure=is_secure) as (it, stub, echo):
        assert await stub.unary(b"one") == b"one"
        assert await stub.unary(b"") == b""
        assert await stub.collect(iter([b"one ", b"two ", b"three"])) == b"one two three"
        assert [answer async for answer in stub.count(b"5")] == [b"0", b"1", b"2", b"3", b"4"]
        chat = stub.chat()
        for message in (b"hello", b"how are you", b"x" * 100_000):
            await chat.write(message)
            assert await chat.read() == message
        await chat.done_writing()
        assert await chat.read() is grpc.aio.EOF
        assert await chat.code() is grpc.StatusCode.OK
        assert len(echo.metadata) == 5
        assert it.counters["Http2ConnectionCount"] == 1


async def test_many_calls_at_once_are_answered() -> None:
    """100 calls of the same channel."""
    async with through() as (it, stub, _):
        answers = await asyncio.gather(*(stub.unary(b"%d" % number) for number in range(100)))
        assert answers == [b"%d" % number for number in range(100)]
        assert it.counters["RequestCount"] == 100


async def test_metadata_arrive_in_both_directions() -> None:
    """Text, and binary values, which are base64 on the wire."""
    async with through() as (_, stub, echo):
        call = stub.unary(b"", metadata=(("x-text", "a value"), ("x-some-bin", b"\x00\x01\xfe\xff")))
        await call
        assert echo.metadata[0]["x-text"] == "a value"
        assert echo.metadata[0]["x-some-bin"] == b"\x00\x01\xfe\xff"
        for sent in (await call.initial_metadata(), await call.trailing_metadata()):
            assert dict(sent)["x-text"] == "a value"
            assert dict(sent)["x-some-bin"] == b"\x00\x01\xfe\xff"


@both
async def test_large_messages_arrive_in_both_directions(is_secure: bool) -> None:
    """Eight megabytes, with bytes that differ."""
    message = bytes(range(256)) * (LARGE // 256)
    async with through(is_secure=is_secure) as (_, stub, _):
        assert await stub.unary(message) == message


@pytest.mark.parametrize("kind", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=["gzip", "deflate"])
async def test_compressed_messages_arrive(kind: Any) -> None:
    """The compressed message is smaller than what counts as sent without."""
    async with through() as (it, stub, _):
        assert await stub.unary(b"a" * 100_000, compression=kind) == b"a" * 100_000
        while it.counters.get("HTTPCode_Target_2XX_Count") != 1:
            await asyncio.sleep(0.001)
        assert it.counters["ProcessedBytes"] < 150_000


async def test_errors_arrive_with_details_and_metadata() -> None:
    """Trailers alone, trailers behind an answer, and a method that the server does not have."""
    async with through() as (_, stub, _):
        error = await failure(stub.fail(b"not now: 50% gr\xc3\xbc\xc3\x9fe"))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.details() == "not now: 50% grüße"
        assert dict(error.trailing_metadata())["x-why-bin"] == b"\x00\xff"
        call = stub.fail_amid(b"one")
        assert await call.read() == b"one"
        error = await failure(call.read())
        assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "no more of it")
        assert (await failure(stub.missing(b""))).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["hang", "hang_amid"])
async def test_cancel_reaches_the_server(method: str) -> None:
    """RST_STREAM: before the answer and amid it."""
    async with through() as (it, stub, echo):
        call = getattr(stub, method)(b"one")
        if method == "hang_amid":
            assert await call.read() == b"one"
        else:
            task = asyncio.ensure_future(call)
        await echo.hanging.get()
        call.cancel()
        if method == "hang":
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await echo.cancelled.get() == method
        assert await stub.unary(b"and on") == b"and on"
        assert it.counters["Http2StreamResetCount"] == 1


async def test_deadline_ends_the_call_at_the_client_and_at_the_server() -> None:
    """`grpc-timeout` is for the two ends: the client resets the stream."""
    async with through() as (_, stub, echo):
        error = await failure(stub.hang(b"", timeout=0.3))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await echo.cancelled.get() == "hang"


async def test_client_without_a_server_reads_unavailable() -> None:
    """Nobody listens: our own 502 is `grpc-status` 14."""
    async with before(f"127.0.0.1:{free_port()}") as (_, stub):
        error = await failure(stub.unary(b""))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert error.details()


async def test_server_that_is_killed_gives_unavailable() -> None:
    """Before an answer and amid one; the next call as well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.clients.grpc_peers", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            port = int(await process.stdout.readline())
        async with before(f"127.0.0.1:{port}") as (_, stub):
            hanging = asyncio.ensure_future(failure(stub.hang(b"")))
            amid = stub.hang_amid(b"one")
            assert await amid.read() == b"one"
            assert await stub.unary(b"") == b""
            process.kill()
            assert (await hanging).code() is grpc.StatusCode.UNAVAILABLE
            assert (await failure(amid.read())).code() is grpc.StatusCode.UNAVAILABLE
            assert (await failure(stub.unary(b""))).code() is grpc.StatusCode.UNAVAILABLE
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.communicate()


async def test_calls_are_spread_over_two_servers() -> None:
    """Each call of one channel is balanced, which a load balancer of layer 4 cannot do."""
    async with serving_grpc() as (one, first), serving_grpc() as (other, second), before(first, second) as (_, stub):
        for _ in range(10):
            await stub.unary(b"")
        assert len(one.metadata) == len(other.metadata) == 5
