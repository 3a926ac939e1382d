"""Tells subscribers what has happened."""

from __future__ import annotations

import logging

from albkit.model.events import Event
from albkit.model.extensions import EventSubscriber

__all__ = ("Announcer",)

_log = logging.getLogger("albkit")


class Announcer:
    """Keeps the subscribers. One that raises is logged, stays subscribed, and keeps no other from being told."""

    def __init__(self) -> None:
        self._subscribers: list[EventSubscriber] = []

    def subscribe(self, subscriber: EventSubscriber) -> None:
        """Tell this one as well."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: EventSubscriber) -> None:
        """Tell it no more; nothing where it was not told."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def tell(self, event: Event) -> None:
        """Tell all, in the order in which they came."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:  # noqa: BLE001 - a subscriber of the program's own must not break what it is told of
                _log.exception("event subscriber %r failed on %r", subscriber, event)
