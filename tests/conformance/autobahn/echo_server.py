"""A WebSocket echo server with permessage-deflate, on a free port of the loopback interface. Prints the port when it listens."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web


async def echo(request: web.Request) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(max_msg_size=0, compress=True)
    await connection.prepare(request)
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await connection.send_bytes(message.data)
    return connection


async def main() -> None:
    application = web.Application()
    application.router.add_get("/{path:.*}", echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - the port is what this process has to say
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
