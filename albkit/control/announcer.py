"""Delivers events to subscribers, and tunnels to the callbacks of `LoadBalancer.on_tunnel`."""

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
"""Each access to a method of an object creates a new bound method; two of them are equal, but not identical."""


def _remove(callables: list[Any], one: object) -> None:
    """Remove the callable that was added. Other objects are never compared with `==`, which may be code of the program's own."""
    for place, known in enumerate(callables):
        if known is one or (type(known) in _METHODS and type(one) in _METHODS and known == one):
            del callables[place]
            return


class Announcer:
    """The event subscribers. If one raises, the exception is logged, it stays subscribed, and the others are still called."""

    def __init__(self) -> None:
        self._subscribers: list[EventSubscriber] = []

    def subscribe(self, subscriber: EventSubscriber) -> None:
        """Add a subscriber."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: EventSubscriber) -> None:
        """Remove a subscriber; do nothing if it is unknown."""
        _remove(self._subscribers, subscriber)

    def publish(self, event: Event) -> None:
        """Call all subscribers, in the order in which they were added."""
        # A copy, because a subscriber may subscribe or unsubscribe while it is called.
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - a subscriber of the program must not break the change that it is notified of
                _log.exception("event subscriber %s failed on %s", name_of(subscriber), told(event))


class TunnelAnnouncer:
    """The callbacks of `LoadBalancer.on_tunnel`."""

    def __init__(self) -> None:
        self._opened: list[TunnelCallback] = []
        self._closed: list[TunnelCallback] = []

    def subscribe(self, opened: TunnelCallback | None, closed: TunnelCallback | None) -> Callable[[], None]:
        """Add callbacks. The returned function removes them."""
        pairs = [(kept, callback) for kept, callback in ((self._opened, opened), (self._closed, closed)) if callback is not None]
        for kept, callback in pairs:
            kept.append(callback)

        def unsubscribe() -> None:
            while pairs:
                kept, callback = pairs.pop()
                _remove(kept, callback)

        return unsubscribe

    def opened(self, tunnel: Tunnel) -> None:
        """Report a tunnel whose 101 has been passed on."""
        self._call(self._opened, tunnel)

    def closed(self, tunnel: Tunnel) -> None:
        """Report a tunnel whose sockets are both closed."""
        self._call(self._closed, tunnel)

    @staticmethod
    def _call(callbacks: list[TunnelCallback], tunnel: Tunnel) -> None:
        # A copy, as above.
        for callback in tuple(callbacks):
            try:
                callback(tunnel)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - a callback of the program must not break the tunnel that it is called for
                _log.exception("tunnel callback %s failed on %r", name_of(callback), tunnel)
