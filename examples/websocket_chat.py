"""A chat with three targets. Each target keeps some of the rooms in memory, so all members of a room must reach the same target.

Run it without arguments. It starts the targets, sends a few messages, shows how the tunnels end, and exits. If a step does not behave as
described, it prints what is missing and exits with status 1.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from urllib.parse import unquote

import aiohttp
from aiohttp import web

import albkit as alb

PEOPLE = {"tea": ["ann", "bob", "cid"], "coffee": ["dan", "eve"], "chess": ["fay", "guy", "mallory"], "jazz": ["hal", "ida"]}
BANNED: set[str] = set()


class ChatServer:
    """A target: forwards each message to all members of the room. Other targets do not know the room."""

    def __init__(self) -> None:
        self.rooms: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)

    async def enter(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one member until the WebSocket closes."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        room = self.rooms[request.match_info["room"]]
        room.add(socket)
        try:
            async for message in socket:
                for member in tuple(room):
                    with suppress(ConnectionError):  # That member is disconnecting.
                        await member.send_str(message.data)
        finally:
            room.discard(socket)
        return socket


class Member:
    """A client that records the messages of its room and the time when its WebSocket closes."""

    def __init__(self, name: str, room: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.name, self.room, self.socket = name, room, socket
        self.heard: list[str] = []
        self.left_after = 0.0
        self.listening = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        """Receive messages until the WebSocket closes. aiohttp answers pings and Close frames."""
        async for message in self.socket:
            self.heard.append(message.data)
        self.left_after = time.monotonic()


def lives_on(number: int) -> Callable[[alb.Request], bool]:
    """Return a custom condition that holds if the request's room belongs to target `number`.

    A checksum of the name is the same in every process. `hash()` of a string is not: a second load balancer, or this one after a restart,
    would send the next member of a room to another target.
    """

    def condition(request: alb.Request) -> bool:
        room = unquote(request.path).removeprefix("/rooms/")  # The path is not decoded: "%74ea" is also the room "tea".
        return zlib.crc32(room.encode()) % 3 == number

    return condition


async def may_stay(tunnel: alb.Tunnel) -> bool:
    """The policy's `recheck`. In production, look up the session by a cookie in `tunnel.request.headers`."""
    return tunnel.request.headers["X-User"] not in BANNED


# The times are short for this demonstration. Values for production are, for example, idle_timeout=120, ping_interval=30,
# max_age=12 * 3600, recheck_every=60 and drain_spread=30.
POLICY = alb.TunnelPolicy(
    idle_timeout=2,
    ping_interval=0.5,  # Pings keep silent members connected past the idle timeout.
    max_age=4,
    recheck=may_stay,
    recheck_every=0.2,
    drain_spread=1,
)


async def main() -> None:
    """Start the load balancer, connect all members, and end the tunnels in three ways."""
    async with AsyncExitStack() as stack:
        targets = [await chat_server(stack) for _ in range(3)]
        groups = [alb.TargetGroup(f"chat-{n}", target, tunnel=POLICY, deregistration_delay=1) for n, target in enumerate(targets)]
        rules = [alb.Rule(10 + n, [alb.PathPattern("/rooms/*"), lives_on(n)], alb.Forward(group)) for n, group in enumerate(groups)]
        listener = alb.Listener(0, alb.FixedResponse(404, "no such room"), rules=rules, host="127.0.0.1")
        lb = await stack.enter_async_context(alb.LoadBalancer(listener))
        lb.on_tunnel(closed=lambda tunnel: print(f"  {tunnel.request.headers['X-User']} after {tunnel.age:.1f} s: {tunnel.end}"))
        client = await stack.enter_async_context(aiohttp.ClientSession(lb.listeners[0].url))

        members = [await enter(client, name, room) for room, names in PEOPLE.items() for name in names]
        for member in members:
            await member.socket.send_str(f"{member.name} is here")
        said = {room: {f"{name} is here" for name in names} for room, names in PEOPLE.items()}
        await until(
            lambda: all(len(member.heard) == len(said[member.room]) for member in members), "every member receives all messages of the room"
        )
        for room, names in PEOPLE.items():
            homes = {tunnel.group for tunnel in lb.tunnels if tunnel.request.path == f"/rooms/{room}"}
            check(len(homes) == 1, f"the room {room} is on one target")
            print(f"room {room} is on {homes.pop()}: {', '.join(names)}")

        print("\n id client           target           protocol   in  out")
        for tunnel in lb.tunnels:
            print(
                f"{tunnel.id:3} {tunnel.client!s:16} {tunnel.target!s:16} {tunnel.protocol:9} {tunnel.frames_in:3}  {tunnel.frames_out:3}"
            )

        print("\nmallory is banned:")
        BANNED.add("mallory")
        banned = next(member for member in members if member.name == "mallory")
        await until(banned.listening.done, "the WebSocket of mallory closes")
        check(banned.socket.close_code == 1008, "mallory gets Close 1008")

        print("\nthe target of room tea is deregistered:")
        await lb.deregister_targets("chat-0", targets[0])
        await lb.drained("chat-0", targets[0], timeout=5)
        tea_members = [member for member in members if member.room == "tea"]
        await asyncio.gather(*(member.listening for member in tea_members))
        check(all(member.socket.close_code == 1001 for member in tea_members), "all members of room tea get Close 1001")
        left = sorted(member.left_after for member in tea_members)
        check(left[-1] - left[0] > 0.1, "their tunnels do not all close at once")

        print("\nthe other members are silent, are pinged, and reach max_age:")
        await until(lambda: all(member.listening.done() for member in members), "the other tunnels end")
        check({member.socket.close_code for member in members if member.room != "tea"} == {1001, 1008}, "the other members get Close 1001")
        check(all(sorted(member.heard) == sorted(said[member.room]) for member in members), "no member receives messages of another room")
        await until(lambda: not lb.tunnels, "no tunnel remains")

        counted = {name: count for name, count in lb.counters.items() if "Tunnel" in name and count}
        print("\n" + " ".join(f"{name}={count}" for name, count in counted.items()))
        check(counted.pop("TunnelPingCount", 0) > 0, "silent members are pinged")
        ends = Counter({"TunnelEnd_Drain": 3, "TunnelEnd_Recheck": 1, "TunnelEnd_MaxAge": 6})
        check(all(counted.get(name) == count for name, count in ends.items()), f"the tunnels end for these causes: {dict(ends)}")


async def enter(client: aiohttp.ClientSession, name: str, room: str) -> Member:
    """Connect a new member to a room."""
    return Member(name, room, await client.ws_connect(f"/rooms/{room}", headers={"X-User": name}))


async def chat_server(stack: AsyncExitStack) -> str:
    """Start a target. Return its address."""
    app = web.Application()
    app.router.add_get("/rooms/{room}", ChatServer().enter)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"127.0.0.1:{runner.addresses[0][1]}"


def check(happened: bool, what: str) -> None:
    """Exit with status 1 if `happened` is false."""
    if not happened:
        raise SystemExit(f"expected, but did not happen: {what}")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, for at most eight seconds."""
    deadline = time.monotonic() + 8
    while not holds():
        check(time.monotonic() < deadline, what)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
