"""WebSockets behind a balancer as it used to be done, beside how it is done here, with the same two targets behind both.

The old recipe is that of a classic balancer: it listens on TCP, passes bytes on, and tells the client's address in a PROXY protocol header
that the server reads itself. It sees no requests, and so knows neither paths nor cookies: a session is an address. The new one listens on
HTTP: rules, cookies, and a tunnel for each upgrade.

Run it as it stands: it starts two little servers, shows step by step what each way can and cannot do, and ends by itself. Where something
did not happen that it shows, it says so and ends with status 1.
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
"""What a PROXY protocol header of version 2 begins with."""
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CLIENTS = 6
MOVES = 24


class Server:
    """A target: a WebSocket server in a few lines, which answers each message with its own name and the client that it knows of."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.behind_tcp = self.behind_http = ""

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen twice: where each connection begins with a PROXY protocol header, and where it does not."""
        addresses = []
        for told in (True, False):
            server = await asyncio.start_server(lambda r, w, told=told: self.serve(r, w, told), "127.0.0.1", 0)
            await stack.enter_async_context(server)
            addresses.append("{}:{}".format(*server.sockets[0].getsockname()))
        self.behind_tcp, self.behind_http = addresses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: bool) -> None:
        """One connection."""
        try:
            client = await read_header(reader) if told else "?"
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            # Behind HTTP the load balancer has written it down, for every request.
            client = client if told else fields.get("x-forwarded-for", "?")
            key = fields["sec-websocket-key"] + GUID
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324 - RFC 6455 wants it
            answer = ("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Accept: {accept}")
            writer.write("\r\n".join((*answer, "", "")).encode())
            while (opcode := await read_message(reader)) == 1:
                text = f"{self.name} {path} {client}".encode()
                writer.write(bytes((0x81, len(text))) + text)
            if opcode == 8:
                writer.write(b"\x88\x02\x03\xe8")  # Close 1000.
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client has left.
        finally:
            writer.close()


async def read_header(reader: asyncio.StreamReader) -> str:
    """The client's address in a PROXY protocol header of version 2, which every server behind a classic balancer must know how to read."""
    head = await reader.readexactly(16)
    check(head.startswith(SIGNATURE), "the connection begins with a PROXY protocol header")
    command, family, size = struct.unpack("!BBH", head[12:])
    rest = await reader.readexactly(size)
    if command != 0x21 or family != 0x11:
        return "?"  # A health check, or a client that has no IPv4 address.
    return socket.inet_ntoa(rest[:4])


async def read_message(reader: asyncio.StreamReader) -> int:
    """Read a short frame of a client's; its opcode."""
    first, second = await reader.readexactly(2)
    await reader.readexactly(4 + (second & 0x7F))
    return first & 0x0F


async def say(client: aiohttp.ClientSession, url: str, path: str = "/chat") -> list[str]:
    """Connect, say a word, leave; which server answered, on which path, and whom it takes us for."""
    async with client.ws_connect(url + path) as chat:
        await chat.send_str("hello")
        return (await chat.receive_str()).split(" ")


async def old(stack: AsyncExitStack, servers: list[Server]) -> str:
    """A TCP listener, PROXY protocol, and stickiness by the client's address: all that a classic balancer has for WebSockets."""
    group = alb.TargetGroup("old", [one.behind_tcp for one in servers], proxy_protocol="v2", stickiness=alb.SourceAddress())
    listener = alb.Listener(0, alb.Forward(group), protocol="TCP", host="127.0.0.1")
    lb = await stack.enter_async_context(alb.LoadBalancer(listener))
    return lb.listeners[0].url.replace("tcp:", "ws:")


async def new(stack: AsyncExitStack, servers: list[Server], desk: Server) -> str:
    """An HTTP listener, rules (one for the server that has the desk of the administrators), and stickiness by a cookie."""
    chat = alb.TargetGroup("chat", [one.behind_http for one in servers], stickiness=alb.LbCookie(3600))
    admin = alb.TargetGroup("admin", desk.behind_http)
    rules = [
        alb.Rule(10, alb.PathPattern("/admin*"), alb.Forward(admin)),
        alb.Rule(20, alb.PathPattern("/private*"), alb.FixedResponse(403)),
    ]
    lb = await stack.enter_async_context(alb.LoadBalancer(alb.Listener(0, alb.Forward(chat), rules, host="127.0.0.1")))
    return lb.listeners[0].url.replace("http:", "ws:")


async def main() -> None:
    """The same questions to both."""
    async with AsyncExitStack() as stack:
        servers = [Server("a"), Server("b")]
        for server in servers:
            await server.start(stack)
        ways = {"old": await old(stack, servers)}
        async with session() as client:
            home, _, _ = await say(client, ways["old"])
        desk = next(server for server in servers if server.name != home)
        ways["new"] = await new(stack, servers, desk)

        print("1. Whom does the server take the client for?")
        for way, url in ways.items():
            async with session() as client:
                _, _, seen = await say(client, url)
            check(seen == "127.0.0.1", f"the server behind the {way} one knows the client's address")
            how = "in a header before the bytes, which the server reads itself" if way == "old" else "in X-Forwarded-For"
            print(f"   {way}: {seen}, {how}")

        print(f"2. {CLIENTS} clients behind one address, such as an office: which server has them?")
        homes: dict[str, set[str]] = {}
        for way, url in ways.items():
            names = []
            for _ in range(CLIENTS):
                async with session() as client:
                    names.append((await say(client, url))[0])
            homes[way] = set(names)
            print(f"   {way}: {' '.join(names)}")
        check(len(homes["old"]) == 1, "behind the old one all have the same server")
        check(len(homes["new"]) == 2, "behind the new one they are spread")

        print("3. A client comes back: does it find its server?")
        for way, url in ways.items():
            async with session() as client:
                names = [(await say(client, url))[0] for _ in range(4)]
                cookies = sorted(cookie.key for cookie in client.cookie_jar)
            check(len(set(names)) == 1, f"behind the {way} one a client has one server")
            print(f"   {way}: {' '.join(names)}, by {', '.join(cookies) or 'its address'}")
        check(cookies == ["AWSALB", "AWSALBCORS"], "the new one sets cookies")

        print("4. And from another address, as a telephone does on its way?")
        for way, url in ways.items():
            jar = aiohttp.CookieJar(unsafe=True)
            names = []
            for number in range(1, MOVES + 1):
                async with session(jar, f"127.0.0.{number}") as client:
                    names.append((await say(client, url))[0])
            moved = len(set(names)) > 1
            check(moved == (way == "old"), f"behind the {way} one a moving client {'loses' if way == 'old' else 'keeps'} its server")
            print(f"   {way}: {' '.join(names)}")

        print("5. Can a path have a server of its own, or be forbidden?")
        for way, url in ways.items():
            async with session() as client:
                names = [(await say(client, url, "/admin"))[0] for _ in range(3)]
                try:
                    private = "101, " + (await say(client, url, "/private"))[0]
                except aiohttp.WSServerHandshakeError as refused:
                    private = str(refused.status)
            check((private == "403") == (way == "new"), "only the new one can forbid a path")
            check((set(names) == {desk.name}) == (way == "new"), f"only the new one can have /admin at {desk.name}")
            print(f"   {way}: /admin at {' '.join(names)}; /private {private}")


def session(jar: aiohttp.CookieJar | None = None, address: str = "127.0.0.1") -> aiohttp.ClientSession:
    """A client, which comes from an address of this machine; "unsafe" takes cookies from bare IP addresses."""
    jar = jar if jar is not None else aiohttp.CookieJar(unsafe=True)
    return aiohttp.ClientSession(cookie_jar=jar, connector=aiohttp.TCPConnector(local_addr=(address, 0)))


def check(happened: bool, what: str) -> None:
    """End with status 1 where something did not happen."""
    if not happened:
        raise SystemExit(f"this should have happened, and did not: {what}")


if __name__ == "__main__":
    asyncio.run(main())
