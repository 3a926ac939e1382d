"""Opens admin APIs, and closes them with the load balancer."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from albkit.model.extensions import Admin

__all__ = ("Admins",)

_SERVER = "albkit.admin.server"
"""The admin API is a floor above the load balancer and needs aiohttp's server. So it is imported by name, when it is first asked for: a
program that opens no admin API does not load it."""


class Admins:
    """The open admin APIs of one load balancer.

    Args:
        load_balancer: The load balancer, which they use as a program does.
    """

    def __init__(self, load_balancer: object) -> None:
        self._load_balancer = load_balancer
        self._open: dict[Admin, None] = {}
        self._stops = 0
        self._draining = 0

    async def open(self, **settings: Any) -> Admin:
        """See `LoadBalancer.admin`."""
        stops = self._stops
        # In a thread, because importing reads files.
        server = await asyncio.get_running_loop().run_in_executor(None, importlib.import_module, _SERVER)
        start: Callable[..., Awaitable[Admin]] = server.start
        admin = await start(self._load_balancer, on_stop=self._forget, **settings)
        if stops != self._stops:
            await admin.stop()
            raise RuntimeError("the load balancer was stopped while its admin API was being opened")
        self._open[admin] = None
        return admin

    def _forget(self, admin: Admin) -> None:
        self._open.pop(admin, None)

    @asynccontextmanager
    async def ending(self, *, drains: bool) -> AsyncIterator[None]:
        """Close all of them when the context is left, even if the caller is cancelled meanwhile.

        Args:
            drains: Whether a run drains in this context. A second call of `stop()` has none, and must not end what the first one still
                needs.
        """
        self._draining += drains
        try:
            yield
        finally:
            self._draining -= drains
            if not self._draining:
                self._stops += 1
                await asyncio.gather(*(admin.stop() for admin in tuple(self._open)), return_exceptions=True)
