"""Traffic to look at on the live page: a few requests per second of all kinds, WebSockets, and an error now and then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType

import aiohttp

__all__ = ("Traffic",)

_CLIENTS = 4
_CHATS = 3
_PAUSE = 0.8
"""Mean seconds between two requests of a client: together the clients send about five per second."""
_CHAT_SECONDS = 30.0
_PATIENCE = 10.0
_SAYINGS = ("hello", "who serves you?", "still here", "one target for the whole session", "bye for now")


class Traffic:
    """Sends traffic while the context lasts. What fails is sent again later: the gateway may be what is being tried out.

    Args:
        url: The URL of the demo's load balancer.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._tasks: list[asyncio.Task[None]] = []
        self._random = random.Random()  # noqa: S311 - no secret: it only has to look like the traffic of people
        self.sent = 0
        """Requests and messages so far."""

    async def __aenter__(self) -> Traffic:
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(self._again_and_again(self._visit)) for _ in range(_CLIENTS)]
        self._tasks += [loop.create_task(self._again_and_again(self._chat)) for _ in range(_CHATS)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _again_and_again(self, what: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        while True:
            # A new session each time: another cookie jar, so another target.
            jar = aiohttp.CookieJar(unsafe=True)  # "unsafe" accepts cookies from hosts that are IP addresses.
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE, sock_read=_CHAT_SECONDS + _PATIENCE)
            async with aiohttp.ClientSession(self._url, cookie_jar=jar, timeout=timeout) as session:
                try:
                    await what(session)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(0.5, 1.5) * _PAUSE)

    async def _visit(self, session: aiohttp.ClientSession) -> None:
        """Send some requests, as one visitor does."""
        for _ in range(self._random.randrange(5, 30)):
            method, path, headers = self._random.choices(_REQUESTS, _SHARES)[0]
            body = self._random.randbytes(self._random.randrange(1, 20_000)) if method == "POST" else None
            self.sent += 1
            async with session.request(method, path, headers=headers, data=body) as answer:
                await answer.read()
            if self._random.random() < 0.02:
                await self._leave(session)
            await self._pause()

    async def _leave(self, session: aiohttp.ClientSession) -> None:
        """Give up a slow request before its answer: 460 in the logs."""
        try:
            async with asyncio.timeout(0.3), session.get("/api/slow?seconds=2") as answer:
                await answer.read()
        except TimeoutError:
            pass

    async def _chat(self, session: aiohttp.ClientSession) -> None:
        """Keep a WebSocket open for a while, and say something now and then."""
        async with session.ws_connect("/ws") as socket:
            reader = asyncio.get_running_loop().create_task(_read_all(socket))
            try:
                async with asyncio.timeout(self._random.uniform(0.3, 1.0) * _CHAT_SECONDS):
                    while not socket.closed:
                        self.sent += 1
                        await socket.send_json({"say": self._random.choice(_SAYINGS)})
                        await asyncio.sleep(self._random.uniform(1.0, 4.0))
            except TimeoutError:
                pass
            finally:
                reader.cancel()
                await asyncio.gather(reader, return_exceptions=True)


async def _read_all(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


_REQUESTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/", {}),
    ("GET", "/api/name", {}),
    ("GET", "/api/whoami", {}),
    ("POST", "/api/echo", {}),
    ("GET", "/api/slow?seconds=0.2", {}),
    ("GET", "/api/stream?events=3&interval=0.2", {}),
    ("GET", "/teapot", {}),
    ("GET", "/name", {"Host": "any.demo.localhost"}),
    ("GET", "/nothing-is-here", {}),
    ("GET", "/api/slow?seconds=wrong", {}),
)
_SHARES = (30, 30, 10, 10, 6, 4, 3, 4, 2, 1)
