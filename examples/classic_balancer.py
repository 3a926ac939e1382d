"""Two ways to balance WebSockets, in front of the same two targets: a TCP listener with the PROXY protocol, and an HTTP listener.

A TCP listener is the classic recipe. It forwards bytes and sends the client's address in a PROXY protocol header, which the server must
parse. It sees no requests, so it cannot use paths or cookies: sessions stick to a client address. An HTTP listener has rules and cookies,
and opens a tunnel for each upgrade.

Run it without arguments. It starts two small servers, shows step by step what each way can and cannot do, and exits. If a step does not
behave as described, it prints what is missing and exits with status 1.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
from contextlib import AsyncExitStack

import aiohttp

import albkit as alb

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""The first 12 bytes of a PROXY protocol header of version 2."""
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LISTENERS = {"tcp": "the TCP listener", "http": "the HTTP listener"}
CLIENTS = 6
MOVES = 24


class Server:
    """A target: a minimal WebSocket server that answers each message with its own name, the path and the client's address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.behind_tcp = self.behind_http = ""

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen on two ports: on the first, each connection starts with a PROXY protocol header."""
        addresses = []
        for has_header in (True, False):
            server = await asyncio.start_server(lambda r, w, has_header=has_header: self.serve(r, w, has_header), "127.0.0.1", 0)
            await stack.enter_async_context(server)
            addresses.append("{}:{}".format(*server.sockets[0].getsockname()))
        self.behind_tcp, self.behind_http = addresses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, has_header: bool) -> None:
        """Serve one connection."""
        try:
            client = await read_header(reader) if has_header else "?"
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            # Behind an HTTP listener, every request carries the address in X-Forwarded-For.
            client = client if has_header else fields.get("x-forwarded-for", "?")
            key = fields["sec-websocket-key"] + GUID
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324 - RFC 6455 section 4.2.2 requires it
            answer = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Accept: {accept}")
            writer.write("\r\n".join((*answer, "", "")).encode())
            while (opcode := await read_message(reader)) == 1:
                text = f"{self.name} {path} {client}".encode()
                writer.write(bytes((0x81, len(text))) + text)
            if opcode == 8:
                writer.write(b"\x88\x02\x03\xe8")  # Close 1000.
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client disconnected.
        finally:
            writer.close()


async def read_header(reader: asyncio.StreamReader) -> str:
    """Read the client's address from a PROXY protocol header of version 2. Every server behind a TCP balancer needs such a parser."""
    head = await reader.readexactly(16)
    check(head.startswith(SIGNATURE), "the connection starts with a PROXY protocol header")
    command, family, size = struct.unpack("!BBH", head[12:])
    rest = await reader.readexactly(size)
    if command != 0x21 or family != 0x11:
        return "?"  # A health check, or a client without an IPv4 address.
    return socket.inet_ntoa(rest[:4])


async def read_message(reader: asyncio.StreamReader) -> int:
    """Read a short frame from a client and return its opcode."""
    first, second = await reader.readexactly(2)
    await reader.readexactly(4 + (second & 0x7F))
    return first & 0x0F


async def ask(client: aiohttp.ClientSession, url: str, path: str = "/chat") -> list[str]:
    """Connect, send one message and close. Return the server's name, the path, and the client address that the server sees."""
    async with client.ws_connect(url + path) as chat:
        await chat.send_str("hello")
        return (await chat.receive_str()).split(" ")


async def tcp_listener(stack: AsyncExitStack, servers: list[Server]) -> str:
    """Start a TCP listener with the PROXY protocol and stickiness by client address. Return its URL."""
    group = alb.TargetGroup("sticky-by-address", [one.behind_tcp for one in servers], proxy_protocol="v2", stickiness=alb.SourceAddress())
    listener = alb.Listener(0, alb.Forward(group), protocol="TCP", host="127.0.0.1")
    lb = await stack.enter_async_context(alb.LoadBalancer(listener))
    return lb.listeners[0].url.replace("tcp:", "ws:")


async def http_listener(stack: AsyncExitStack, servers: list[Server], desk: Server) -> str:
    """Start an HTTP listener with cookie stickiness and two rules: one sends /admin to `desk`, one forbids /private. Return its URL."""
    chat = alb.TargetGroup("chat", [one.behind_http for one in servers], stickiness=alb.LbCookie(3600))
    admin = alb.TargetGroup("admin", desk.behind_http)
    rules = [
        alb.Rule(10, alb.PathPattern("/admin*"), alb.Forward(admin)),
        alb.Rule(20, alb.PathPattern("/private*"), alb.FixedResponse(403)),
    ]
    lb = await stack.enter_async_context(alb.LoadBalancer(alb.Listener(0, alb.Forward(chat), rules, host="127.0.0.1")))
    return lb.listeners[0].url.replace("http:", "ws:")


async def main() -> None:
    """Ask both listeners the same questions."""
    async with AsyncExitStack() as stack:
        servers = [Server("a"), Server("b")]
        for server in servers:
            await server.start(stack)
        ways = {"tcp": await tcp_listener(stack, servers)}
        async with session() as client:
            home, _, _ = await ask(client, ways["tcp"])
        desk = next(server for server in servers if server.name != home)
        ways["http"] = await http_listener(stack, servers, desk)

        print("1. Which client address does the server see?")
        for way, url in ways.items():
            async with session() as client:
                _, _, seen = await ask(client, url)
            check(seen == "127.0.0.1", f"the server behind {LISTENERS[way]} sees the client's address")
            how = "in a PROXY protocol header that the server parses" if way == "tcp" else "in X-Forwarded-For"
            print(f"   {way}: {seen}, {how}")

        print(f"2. {CLIENTS} clients share one address, as in an office. Which server gets them?")
        homes: dict[str, set[str]] = {}
        for way, url in ways.items():
            names = []
            for _ in range(CLIENTS):
                async with session() as client:
                    names.append((await ask(client, url))[0])
            homes[way] = set(names)
            print(f"   {way}: {' '.join(names)}")
        check(len(homes["tcp"]) == 1, "behind the TCP listener, all clients get the same server")
        check(len(homes["http"]) == 2, "behind the HTTP listener, the clients are spread over both servers")

        print("3. A client reconnects. Does it get the same server?")
        for way, url in ways.items():
            async with session() as client:
                names = [(await ask(client, url))[0] for _ in range(4)]
                cookies = sorted(cookie.key for cookie in client.cookie_jar)
            check(len(set(names)) == 1, f"behind {LISTENERS[way]}, a client keeps its server")
            print(f"   {way}: {' '.join(names)}, by {', '.join(cookies) or 'client address'}")
        check(cookies == ["AWSALB", "AWSALBCORS"], "the HTTP listener sets cookies")

        print("4. The client's address changes, as a phone's does. Does it keep its server?")
        for way, url in ways.items():
            jar = aiohttp.CookieJar(unsafe=True)
            names = []
            for number in range(1, MOVES + 1):
                async with session(jar, f"127.0.0.{number}") as client:
                    names.append((await ask(client, url))[0])
            moved = len(set(names)) > 1
            check(moved == (way == "tcp"), f"behind {LISTENERS[way]}, the client {'loses' if way == 'tcp' else 'keeps'} its server")
            print(f"   {way}: {' '.join(names)}")

        print("5. Can a path have its own server, or be forbidden?")
        for way, url in ways.items():
            async with session() as client:
                names = [(await ask(client, url, "/admin"))[0] for _ in range(3)]
                try:
                    private = "101, " + (await ask(client, url, "/private"))[0]
                except aiohttp.WSServerHandshakeError as refused:
                    private = str(refused.status)
            check((private == "403") == (way == "http"), "only the HTTP listener can forbid a path")
            check((set(names) == {desk.name}) == (way == "http"), f"only the HTTP listener can send /admin to {desk.name}")
            print(f"   {way}: /admin -> {' '.join(names)}; /private -> {private}")


def session(jar: aiohttp.CookieJar | None = None, address: str = "127.0.0.1") -> aiohttp.ClientSession:
    """Create a client that connects from `address`. `unsafe=True` accepts cookies from IP addresses."""
    jar = jar if jar is not None else aiohttp.CookieJar(unsafe=True)
    return aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(local_addr=(address, 0)))


def check(happened: bool, what: str) -> None:
    """Exit with status 1 if `happened` is false."""
    if not happened:
        raise SystemExit(f"expected, but did not happen: {what}")


if __name__ == "__main__":
    asyncio.run(main())
