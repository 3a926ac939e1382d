"""grpcio's own server and client without generated code: generic handlers, and messages that are bytes.

python -m tests.clients.grpc_peers    a server in a process of its own, which prints its port
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from tests.support.secure import AUTHORITY, issued

SERVICE = "albkit.test.Echo"
LARGE = 8 * 2**20
OPTIONS = (
    ("grpc.max_receive_message_length", LARGE + 2**20),
    ("grpc.max_send_message_length", LARGE + 2**20),
    ("grpc.enable_http_proxy", 0),
    ("grpc.so_reuseport", 0),
)


class Echo:
    """The service. Its calls are counted, and those that a client has cancelled."""

    def __init__(self) -> None:
        self.metadata: list[dict[str, str | bytes]] = []
        """Of each call."""
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()
        """Methods whose client has gone."""
        self.hanging: asyncio.Queue[None] = asyncio.Queue()
        """One entry for each call that has begun to hang."""

    def _note(self, context: Any) -> None:
        self.metadata.append(dict(context.invocation_metadata()))

    async def unary(self, request: bytes, context: Any) -> bytes:
        """The request; metadata that begin with `x-` come back at the start and at the end."""
        self._note(context)
        own = tuple((name, value) for name, value in context.invocation_metadata() if name.startswith("x-"))
        await context.send_initial_metadata(own)
        context.set_trailing_metadata(own)
        return request

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        """All requests in one."""
        self._note(context)
        return b"".join([request async for request in requests])

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """So many answers as the request says."""
        self._note(context)
        for number in range(int(request)):
            yield b"%d" % number

    async def chat(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """Each request, as it comes."""
        self._note(context)
        async for request in requests:
            yield request

    async def hang(self, request: bytes, _: Any) -> bytes:
        """Never answers."""
        await self._hang("hang")
        return request

    async def hang_amid(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        """Answers once, and never again."""
        yield request
        await self._hang("hang_amid")

    async def _hang(self, method: str) -> None:
        self.hanging.put_nowait(None)
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.put_nowait(method)

    async def fail(self, request: bytes, context: Any) -> bytes:
        """An error with details and trailing metadata."""
        context.set_trailing_metadata((("x-why-bin", b"\x00\xff"),))
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, request.decode())
        return b""

    async def fail_amid(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """An answer, then an error."""
        yield request
        await context.abort(grpc.StatusCode.DATA_LOSS, "no more of it")

    def handlers(self) -> Any:
        """What grpcio wants."""
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
                "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
                "Count": grpc.unary_stream_rpc_method_handler(self.count),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
                "Hang": grpc.unary_unary_rpc_method_handler(self.hang),
                "HangAmid": grpc.unary_stream_rpc_method_handler(self.hang_amid),
                "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
                "FailAmid": grpc.unary_stream_rpc_method_handler(self.fail_amid),
            },
        )


@contextlib.asynccontextmanager
async def serving_grpc(*, is_secure: bool = False) -> AsyncIterator[tuple[Echo, str]]:
    """A running server: its service and its address for a target group."""
    echo = Echo()
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((echo.handlers(),))
    if is_secure:
        own = issued()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(own.key_pem, own.pem)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield echo, f"{'https://' if is_secure else ''}127.0.0.1:{port}"
    finally:
        await server.stop(None)


class Stub:
    """A client of the service."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.unary = channel.unary_unary(f"/{SERVICE}/Unary")
        self.collect = channel.stream_unary(f"/{SERVICE}/Collect")
        self.count = channel.unary_stream(f"/{SERVICE}/Count")
        self.chat = channel.stream_stream(f"/{SERVICE}/Chat")
        self.hang = channel.unary_unary(f"/{SERVICE}/Hang")
        self.hang_amid = channel.unary_stream(f"/{SERVICE}/HangAmid")
        self.fail = channel.unary_unary(f"/{SERVICE}/Fail")
        self.fail_amid = channel.unary_stream(f"/{SERVICE}/FailAmid")
        self.missing = channel.unary_unary(f"/{SERVICE}/Missing")


@contextlib.asynccontextmanager
async def calling(port: int, *, is_secure: bool = False, **settings: Any) -> AsyncIterator[Stub]:
    """A channel to a port of this machine."""
    where = f"127.0.0.1:{port}"
    if is_secure:
        channel = grpc.aio.secure_channel(where, grpc.ssl_channel_credentials(AUTHORITY.pem()), options=OPTIONS, **settings)
    else:
        channel = grpc.aio.insecure_channel(where, options=OPTIONS, **settings)
    async with channel:
        yield Stub(channel)


async def _main() -> None:
    async with serving_grpc() as (_, address):
        sys.stdout.write(address.rpartition(":")[2] + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
