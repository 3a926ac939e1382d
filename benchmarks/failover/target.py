"""A target that names itself in every response, and that shuts down gracefully on SIGTERM: requests in progress are answered first."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
from typing import Final, cast

import uvloop

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_HEALTH: Final = b"GET /health "
BODY: Final = b"The answer of the target".ljust(63, b".") + b"\n"


class _Target:
    """What all connections share.

    Args:
        name: For the header X-Target.
        delay: Seconds that a response takes.
    """

    def __init__(self, name: str, delay: float) -> None:
        self.delay = delay
        self.head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Target: %s\r\nContent-Length: %d\r\n" % (name.encode(), len(BODY))
        self.connections: set[_Connection] = set()
        self.stopping = False
        self.over = asyncio.Event()

    def stop(self, server: asyncio.Server) -> None:
        """Close idle connections; the others close after their response."""
        self.stopping = True
        server.close()
        for connection in tuple(self.connections):
            connection.close_if_idle()
        if not self.connections:
            self.over.set()

    def left(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        if self.stopping and not self.connections:
            self.over.set()


class _Connection(asyncio.Protocol):
    """Answers one request after the other."""

    __slots__ = ("_busy", "_received", "_target", "_transport")

    _transport: asyncio.Transport

    def __init__(self, target: _Target) -> None:
        self._target = target
        self._received = b""
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._target.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._look()

    def connection_lost(self, _: Exception | None) -> None:
        self._target.left(self)

    def close_if_idle(self) -> None:
        if not self._busy:
            self._transport.close()

    def _look(self) -> None:
        """Start with the next request if it has arrived, including its body."""
        head, end, behind = self._received.partition(b"\r\n\r\n")
        if self._busy or not end:
            return
        length = _LENGTH.search(head)
        size = int(length[1]) if length is not None else 0
        if len(behind) < size:
            return
        self._received = behind[size:]
        self._busy = True
        delay = 0.0 if head.startswith(_HEALTH) else self._target.delay
        asyncio.get_running_loop().call_later(delay, self._answer)

    def _answer(self) -> None:
        self._busy = False
        if self._transport.is_closing():
            return
        if self._target.stopping:
            self._transport.write(self._target.head + b"Connection: close\r\n\r\n" + BODY)
            self._transport.close()
        else:
            self._transport.write(self._target.head + b"\r\n" + BODY)
            self._look()


async def _serve(name: str, port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    target = _Target(name, delay)
    # Whoever starts it holds the port as well, so that it can come back to it.
    server = await loop.create_server(lambda: _Connection(target), "127.0.0.1", port, backlog=4096, reuse_port=True)
    loop.add_signal_handler(signal.SIGTERM, target.stop, server)
    await target.over.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("port", type=int, help="of 127.0.0.1")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that an answer takes; 0.02 by default")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(given.name, given.port, given.delay))


if __name__ == "__main__":
    main()
