"""Passes the record of everything that has ended to the functions that want it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from albkit.errors import name_of
from albkit.report.log_throttle import LogThrottle
from albkit.state.record import ExchangeRecord

__all__ = ("Observer", "Observers")

_log = logging.getLogger("albkit")

Observer = Callable[[ExchangeRecord], None]


class _Run(Protocol):
    """What `Observers` needs of a `Runtime`."""

    ended: Observer | None


class Observers:
    """The functions that get the record of every exchange, tunnel, layer 4 connection and rejected connection when it has ended.

    They belong to the load balancer and outlast its stops. `Runtime.ended` is `None` while there are none, so that they cost nothing.
    An observer must not keep or change a record, and must not block. An exception of an observer is logged, at most once per second; the
    observer stays, and the others are still called.
    """

    def __init__(self) -> None:
        self._guarded: tuple[Observer, ...] = ()
        # More than one: a load balancer can be started again while exchanges of the previous run are still ending.
        self._runs: WeakSet[_Run] = WeakSet()
        self._ended: Observer | None = None

    def attach(self, run: _Run) -> None:
        """Keep `run.ended` up to date from now on, for as long as the run exists."""
        self._runs.add(run)
        run.ended = self._ended

    def add(self, observer: Observer) -> Callable[[], None]:
        """Add an observer. The returned function removes it, and does nothing when called again.

        Both are safe during a call. The change then takes effect with the next record.
        """
        guarded = _guarded(observer)
        self._set((*self._guarded, guarded))

        def remove() -> None:
            self._set(tuple(other for other in self._guarded if other is not guarded))

        return remove

    def _set(self, guarded: tuple[Observer, ...]) -> None:
        self._guarded = guarded
        if len(guarded) > 1:
            self._ended = self._call_all
        else:
            self._ended = guarded[0] if guarded else None
        for run in self._runs:
            run.ended = self._ended

    def _call_all(self, record: ExchangeRecord) -> None:
        # The tuple is replaced, never changed: an observer may add or remove one during the call.
        for observer in self._guarded:
            observer(record)


def _guarded(observer: Observer) -> Observer:
    """Wrap an observer so that its exceptions are logged."""
    throttle = LogThrottle()

    def call(record: ExchangeRecord) -> None:
        try:
            observer(record)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - an observer must not break the end of the exchange
            if throttle.may_say():
                name = name_of(observer)
                fields = {"albkit_event": "subscriber_failed", "albkit_hook": name}
                _log.exception("observer %s failed%s", name, throttle.also(), extra=fields)

    return call
