"""Opens and closes an admin API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiohttp import web

from albkit.admin.api import Api
from albkit.admin.connection import Connection, Connections
from albkit.admin.context import Context
from albkit.admin.page import read_page
from albkit.admin.settings import AdminSettings
from albkit.model.actions.fixed_response import FixedResponse
from albkit.model.listener import Listener
from albkit.proxy.accept.sockets import open_sockets, reached_at

if TYPE_CHECKING:
    from albkit.load_balancer import LoadBalancer

__all__ = ("AdminServer", "start")

_log = logging.getLogger("albkit")
_BACKLOG = 128
_SHUTDOWN = 1.0
"""Seconds for the last answers, and the farewell to viewers, to be sent."""
_KEEP_ALIVE = 75.0
_LARGEST_LINE = 8190


class AdminServer:
    """An open admin API (`albkit.extensions.Admin`).

    Args:
        context: The load balancer, and what is remembered of it.
        settings: The settings.
        on_stop: Called with this object when it is being closed.
    """

    def __init__(self, context: Context, settings: AdminSettings, on_stop: Callable[[AdminServer], None]) -> None:
        self.port = 0
        self.url = ""
        self._settings = settings
        self._context = context
        api = self._api = Api(context, settings)
        self._on_stop = on_stop
        self._connections = Connections()
        self._servers: list[asyncio.Server] = []
        self._runner = web.AppRunner(api.application(), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN)
        self._stopping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<AdminServer {self.url or 'closed'}>"

    @property
    def counters(self) -> Mapping[str, int]:
        """See `albkit.extensions.Admin`."""
        api, viewers = self._api, self._context.viewers
        return {
            "requests": api.requests,
            "unauthorized": api.guard.unauthorized,
            "refused": api.guard.refused,
            "rejected_connections": self._connections.rejected,
            "viewers": len(viewers),
            "rejected_viewers": viewers.rejected,
            "dropped_viewers": viewers.dropped,
        }

    async def open(self) -> None:
        """Open the port.

        Raises:
            OSError: it cannot be opened; the text says why and what to do.
        """
        loop, settings = asyncio.get_running_loop(), self._settings
        await self._runner.setup()
        # The sockets of a listener: the same behavior for all addresses, and the same words for what is wrong.
        listener = Listener(settings.port, FixedResponse(404), host=settings.host, backlog=_BACKLOG)
        sockets = list((await open_sockets(listener, loop)).sockets)
        try:
            self.port = sockets[0].getsockname()[1]
            self.url = f"http://{reached_at(listener, sockets[0])}"
            while sockets:
                self._servers.append(await loop.create_server(self._connect, sock=sockets[0], backlog=_BACKLOG))
                sockets.pop(0)
        finally:
            for sock in sockets:
                sock.close()

    def _connect(self) -> Connection:
        server = self._runner.server
        if server is None:
            raise RuntimeError("the admin API is closed")
        settings: dict[str, Any] = {"max_line_size": _LARGEST_LINE, "max_field_size": _LARGEST_LINE, "auto_decompress": False}
        return Connection(
            server,
            self._connections,
            loop=asyncio.get_running_loop(),
            access_log=None,
            keepalive_timeout=_KEEP_ALIVE,
            lingering_time=_SHUTDOWN,
            **settings,
        )

    async def stop(self) -> None:
        """Close the port and every connection. Safe to call again."""
        if self._stopping is None:
            self._on_stop(self)
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        # Shielded: a caller that is cancelled must not leave half of it open.
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        try:
            await self._context.viewers.close(_SHUTDOWN)
        finally:
            self._connections.close()
            await self._runner.cleanup()
            self._context.close()
            # uvloop closes the sockets in the next turn of the loop.
            await asyncio.sleep(0)
        _log.info("the admin API at %s is closed", self.url, extra={"albkit_event": "admin_closed", "albkit_url": self.url})


async def start(
    load_balancer: LoadBalancer,
    *,
    host: str | None,
    port: int,
    token: str | None,
    hosts: Sequence[str],
    on_stop: Callable[[AdminServer], None],
) -> AdminServer:
    """See `LoadBalancer.admin`."""
    settings = AdminSettings(host, port, token, hosts)
    page = await asyncio.get_running_loop().run_in_executor(None, read_page)
    context = Context(load_balancer, page)
    server = AdminServer(context, settings, on_stop)
    try:
        await server.open()
    except BaseException:
        await server.stop()
        raise
    _log.info("the admin API is open at %s", server.url, extra={"albkit_event": "admin_opened", "albkit_url": server.url})
    return server
