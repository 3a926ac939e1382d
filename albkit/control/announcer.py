"""Delivers events to subscribers, and tunnels to the callbacks of `LoadBalancer.on_tunnel`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import BuiltinMethodType, MethodType
from typing import Any

from albkit.errors import name_of, told
from albkit.model.events import CHANGES, TRAFFIC, Event, LoadBalancerStarted, LoadBalancerStopping
from albkit.model.extensions import Tunnel, TunnelCallback
from albkit.proxy.runtime import Runtime
from albkit.report.log_throttle import LogThrottle

__all__ = ("Announcer", "TunnelAnnouncer", "started", "stopping")

_log = logging.getLogger("albkit")


_METHODS = (MethodType, BuiltinMethodType)
"""Each access to a method of an object creates a new bound method; two of them are equal, but not identical."""


def _remove(callables: list[Any], one: object) -> None:
    """Remove the callable that was added. Other objects are never compared with `==`, which may be code of the program's own."""
    for place, known in enumerate(callables):
        if known is one or (type(known) in _METHODS and type(one) in _METHODS and known == one):
            del callables[place]
            return


class _Subscription:
    """One call of `subscribe`."""

    __slots__ = ("kinds", "subscriber", "throttle")

    def __init__(self, subscriber: Callable[[Any], None], kinds: tuple[type[Any], ...]) -> None:
        self.subscriber = subscriber
        self.kinds = kinds
        """Empty for all events."""
        self.throttle = LogThrottle()


Subscriptions = tuple[_Subscription, ...]


class Announcer:
    """The event subscribers. If one raises, the exception is logged, it stays subscribed, and the others are still called.

    Args:
        log: Writes the line of an event to the application log, before the subscribers are called. Must not raise.
    """

    def __init__(self, log: Callable[[Event], None] | None = None) -> None:
        self._log_event = log
        self._all: list[_Subscription] = []
        self._by_kind: dict[type[Any], Subscriptions] = {}
        """Filled on demand. The tuples are never changed: a subscriber may subscribe or unsubscribe while it is called."""
        self.on_change: Callable[[], None] | None = None
        """Called after a subscriber was added or removed."""

    def subscribe(self, subscriber: Callable[[Any], None], *kinds: type[Any]) -> Callable[[], None]:
        """Add a subscriber for events of these classes, or for all events. The returned function removes it.

        Raises:
            TypeError: something else than classes of events was given.
        """
        for kind in kinds:
            # By identity: `==` may be code of the program's own.
            if not any(kind is known for known in (*CHANGES, *TRAFFIC)):
                raise TypeError(f"{told(kind)} is not a class of events; give classes of albkit.events, such as ExchangeFinished")
        subscription = _Subscription(subscriber, kinds)
        self._all.append(subscription)
        self._changed()

        def unsubscribe() -> None:
            if subscription in self._all:
                self._all.remove(subscription)
                self._changed()

        return unsubscribe

    def _changed(self) -> None:
        self._by_kind.clear()
        if self.on_change is not None:
            self.on_change()

    def subscribers_of(self, kind: type[Any]) -> Subscriptions:
        """The subscribers of one class of events, in the order in which they were added. Build no event if there are none."""
        found = self._by_kind.get(kind)
        if found is None:
            found = self._by_kind[kind] = tuple(one for one in self._all if not one.kinds or kind in one.kinds)
        return found

    def publish(self, event: Event) -> None:
        """Log an event, and deliver it to its subscribers, in the order in which they were added."""
        if self._log_event is not None:
            self._log_event(event)
        for subscription in self.subscribers_of(type(event)):
            try:
                subscription.subscriber(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - a subscriber of the program must not break the change that it is notified of
                _log_failure(subscription, event, "")

    def deliver(self, event: Event, subscribers: Subscriptions) -> None:
        """Deliver an event that clients can cause any number of times. The exceptions of a subscriber are logged once per second."""
        for subscription in subscribers:
            try:
                subscription.subscriber(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - as above
                if subscription.throttle.may_say():
                    _log_failure(subscription, event, subscription.throttle.also())


def _log_failure(subscription: _Subscription, event: Event, more: str) -> None:
    name = name_of(subscription.subscriber)
    _log.exception(
        "event subscriber %s failed on %s%s", name, told(event), more, extra={"albkit_event": "subscriber_failed", "albkit_hook": name}
    )


def started(runtime: Runtime) -> LoadBalancerStarted:
    """The event of a load balancer whose listeners are open."""
    settings = runtime.settings
    targets = sum(len(group.members) for group in runtime.registry.groups)
    return LoadBalancerStarted(settings.name, len(settings.listeners), len(runtime.choices), targets)


def stopping(runtime: Runtime) -> LoadBalancerStopping:
    """The event of a load balancer that begins to stop."""
    return LoadBalancerStopping(runtime.settings.name, runtime.settings.stop_timeout, len(runtime.clients), len(runtime.tunnels))


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
                name = name_of(callback)
                fields = {"albkit_event": "subscriber_failed", "albkit_hook": name}
                _log.exception("tunnel callback %s failed on %r", name, tunnel, extra=fields)
