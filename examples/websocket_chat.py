"""A chat over three targets, each of which keeps the rooms of its own in memory: whoever enters a room must come to the room's target.

Run it as it stands: it starts the targets, lets a few members talk, shows what becomes of their tunnels, and ends by itself. Where
something did not happen that it shows, it says so and ends with status 1.
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
    """A target: passes what a member says on to all members of the room, of which no other target knows."""

    def __init__(self) -> None:
        self.rooms: defaultdict[str, set[web.WebSocketResponse]] = defaultdict(set)

    async def enter(self, request: web.Request) -> web.WebSocketResponse:
        """One member, from coming to leaving."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        room = self.rooms[request.match_info["room"]]
        room.add(socket)
        try:
            async for message in socket:
                for member in tuple(room):
                    with suppress(ConnectionError):  # That member is leaving.
                        await member.send_str(message.data)
        finally:
            room.discard(socket)
        return socket


class Member:
    """A client: keeps what it hears in its room, and the code that its WebSocket was closed with."""

    def __init__(self, name: str, room: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.name, self.room, self.socket = name, room, socket
        self.heard: list[str] = []
        self.left_after = 0.0
        self.listening = asyncio.create_task(self.listen())

    async def listen(self) -> None:
        """Hear everything up to the end. The library answers pings and Close frames."""
        async for message in self.socket:
            self.heard.append(message.data)
        self.left_after = time.monotonic()


def lives_on(number: int) -> Callable[[alb.Request], bool]:
    """A condition of our own: whether a request's room lives on this target.

    A checksum of the name always comes out the same. `hash` of a text does not: another process, be it a second gateway or this one after
    a restart, would send the next member of a room to another target.
    """

    def condition(request: alb.Request) -> bool:
        room = unquote(request.path).removeprefix("/rooms/")  # A path comes as the client wrote it: "%74ea" is the room "tea", too.
        return zlib.crc32(room.encode()) % 3 == number

    return condition


async def may_stay(tunnel: alb.Tunnel) -> bool:
    """The policy's recheck. A real one looks a session up, by a cookie in `tunnel.request.headers`."""
    return tunnel.request.headers["X-User"] not in BANNED


# All is short here. Real figures: idle_timeout=120, ping_interval=30, max_age=12 * 3600, recheck_every=60, drain_spread=30.
POLICY = alb.TunnelPolicy(
    idle_timeout=2,
    ping_interval=0.5,  # So members that say nothing outlast the idle timeout.
    max_age=4,
    recheck=may_stay,
    recheck_every=0.2,
    drain_spread=1,
)


async def main() -> None:
    """Describe the gateway, let everybody in, and end the tunnels in three ways."""
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
        await until(lambda: all(len(member.heard) == len(said[member.room]) for member in members), "everybody hears the room")
        for room, names in PEOPLE.items():
            homes = {tunnel.group for tunnel in lb.tunnels if tunnel.request.path == f"/rooms/{room}"}
            check(len(homes) == 1, f"the room {room} is on one target")
            print(f"{room} lives on {homes.pop()}: {', '.join(names)}")

        print("\n id client           target           protocol   in  out")
        for tunnel in lb.tunnels:
            print(
                f"{tunnel.id:3} {tunnel.client!s:16} {tunnel.target!s:16} {tunnel.protocol:9} {tunnel.frames_in:3}  {tunnel.frames_out:3}"
            )

        print("\nmallory is banned:")
        BANNED.add("mallory")
        banned = next(member for member in members if member.name == "mallory")
        await until(banned.listening.done, "mallory is thrown out")
        check(banned.socket.close_code == 1008, "mallory gets Close 1008")

        print("\nthe target of the room tea is deregistered:")
        await lb.deregister_targets("chat-0", targets[0])
        await lb.drained("chat-0", targets[0], timeout=5)
        drinkers = [member for member in members if member.room == "tea"]
        await asyncio.gather(*(member.listening for member in drinkers))
        check(all(member.socket.close_code == 1001 for member in drinkers), "all members in tea get Close 1001")
        left = sorted(member.left_after for member in drinkers)
        check(left[-1] - left[0] > 0.1, "they do not all get it at once")

        print("\nthe others are silent, are pinged, and come to their maximum age:")
        await until(lambda: all(member.listening.done() for member in members), "the others come to their end")
        check({member.socket.close_code for member in members if member.room != "tea"} == {1001, 1008}, "they get Close 1001")
        check(all(sorted(member.heard) == sorted(said[member.room]) for member in members), "nobody hears another room")
        await until(lambda: not lb.tunnels, "no tunnel is left")

        counted = {name: count for name, count in lb.counters.items() if "Tunnel" in name and count}
        print("\n" + " ".join(f"{name}={count}" for name, count in counted.items()))
        check(counted.pop("TunnelPingCount", 0) > 0, "silent members are pinged")
        ends = Counter({"TunnelEnd_Drain": 3, "TunnelEnd_Recheck": 1, "TunnelEnd_MaxAge": 6})
        check(all(counted.get(name) == count for name, count in ends.items()), f"the tunnels end as they should: {dict(ends)}")


async def enter(client: aiohttp.ClientSession, name: str, room: str) -> Member:
    """A new member in a room."""
    return Member(name, room, await client.ws_connect(f"/rooms/{room}", headers={"X-User": name}))


async def chat_server(stack: AsyncExitStack) -> str:
    """Start a target; its address."""
    app = web.Application()
    app.router.add_get("/rooms/{room}", ChatServer().enter)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"127.0.0.1:{runner.addresses[0][1]}"


def check(happened: bool, what: str) -> None:
    """End with status 1 where something did not happen."""
    if not happened:
        raise SystemExit(f"this should have happened, and did not: {what}")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, a few seconds at the most."""
    deadline = time.monotonic() + 8
    while not holds():
        check(time.monotonic() < deadline, what)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
