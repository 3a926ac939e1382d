"""An upgrade from before RFC 6455: no key, an absolute URL in the request line, and a 101 with a reason phrase of the target's own.

Many proxies consume the client's bytes or close the connection. The load balancer opens a tunnel of raw bytes, because the target accepted
the upgrade that the client requested. Run it without arguments. It shows what both sides saw, and exits.
"""

from __future__ import annotations

import asyncio

import albkit as alb

REQUEST = b"GET http://name/ HTTP/1.1\r\nHost: name\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
BYTES = b"raw bytes \x00\xff, not frames"


async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer an upgrade with 101, then echo all bytes."""
    show("the target saw", await reader.readuntil(b"\r\n\r\n"))
    writer.write(ANSWER)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main() -> None:
    """Connect one client to one target through a load balancer."""
    async with await asyncio.start_server(target, "127.0.0.1", 0) as server:
        group = alb.TargetGroup("classic", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")) as lb, asyncio.timeout(10):
            lb.on_tunnel(closed=lambda tunnel: print(f"the tunnel closed: {tunnel.bytes_in} bytes in, {tunnel.bytes_out} bytes out"))
            reader, writer = await asyncio.open_connection("127.0.0.1", lb.listeners[0].port)
            writer.write(REQUEST)
            show("the client saw", await reader.readuntil(b"\r\n\r\n"))
            (tunnel,) = lb.tunnels
            print(f"tunnel to {tunnel.target}, protocol {tunnel.protocol!r}, frames in: {tunnel.frames_in} (a tunnel of raw bytes)\n")
            writer.write(BYTES)
            echo = await reader.readexactly(len(BYTES))
            print(f"the echo: {echo!r}")
            if echo != BYTES:
                raise SystemExit("the echo differs from the bytes sent")
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()


def show(what: str, head: bytes) -> None:
    """Print a request or response head, line by line."""
    print(f"{what}:\n  " + head.decode().strip().replace("\r\n", "\n  ") + "\n")


if __name__ == "__main__":
    asyncio.run(main())
