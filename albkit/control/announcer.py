"""Tells subscribers what has happened, and callbacks of tunnels that come and go."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import BuiltinMethodType, MethodType
from typing import Any

from albkit.errors import name_of, told
from albkit.model.events import Event
from albkit.model.extensions import EventSubscriber, Tunnel, TunnelCallback

__all__ = ("Announcer", "TunnelAnnouncer")

_log = logging.getLogger("albkit")


_METHODS = (MethodType, BuiltinMethodType)
"""Two looks at a method are two objects, which are equal."""


def _remove(callables: list[Any], one: object) -> None:
    """Take out the one that was put in, whatever it and the others make of being compared."""
    for place, known in enumerate(callables):
        if known is one or (type(known) in _METHODS and type(one) in _METHODS and known == one):
            del callables[place]
            return


class Announcer:
    """Keeps the subscribers. One that raises is logged, stays subscribed, and keeps no other from being told."""

    def __init__(self) -> None:
        self._subscribers: list[EventSubscriber] = []

    def subscribe(self, subscriber: EventSubscriber) -> None:
        """Tell this one as well."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: EventSubscriber) -> None:
        """Tell it no more; nothing where it was not told."""
        _remove(self._subscribers, subscriber)

    def tell(self, event: Event) -> None:
        """Tell all, in the order in which they came."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - a subscriber of the program's own must not break what it is told of
                _log.exception("event subscriber %s failed on %s", name_of(subscriber), told(event))


class TunnelAnnouncer:
    """Keeps the callbacks of `LoadBalancer.on_tunnel`."""

    def __init__(self) -> None:
        self._opened: list[TunnelCallback] = []
        self._closed: list[TunnelCallback] = []

    def subscribe(self, opened: TunnelCallback | None, closed: TunnelCallback | None) -> Callable[[], None]:
        """Tell these as well, until what is returned is called."""
        pairs = [(kept, callback) for kept, callback in ((self._opened, opened), (self._closed, closed)) if callback is not None]
        for kept, callback in pairs:
            kept.append(callback)

        def unsubscribe() -> None:
            while pairs:
                kept, callback = pairs.pop()
                _remove(kept, callback)

        return unsubscribe

    def opened(self, tunnel: Tunnel) -> None:
        """A 101 has been passed on."""
        self._tell(self._opened, tunnel)

    def closed(self, tunnel: Tunnel) -> None:
        """Both sockets are gone."""
        self._tell(self._closed, tunnel)

    @staticmethod
    def _tell(callbacks: list[TunnelCallback], tunnel: Tunnel) -> None:
        for callback in tuple(callbacks):
            try:
                callback(tunnel)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - a callback of the program's own must not break the tunnel that it is told of
                _log.exception("tunnel callback %s failed on %r", name_of(callback), tunnel)
