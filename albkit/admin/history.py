"""The last failures and events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count, islice
from time import time
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from albkit.model import events
from albkit.model.descriptions import FailureDescription

if TYPE_CHECKING:
    from albkit.load_balancer import LoadBalancer

__all__ = ("History",)

_MOST = 200
_LONGEST = 300

Kept = TypeVar("Kept")


class _Last(Generic[Kept]):
    """The last entries of one kind, each with a number. They are put into words only when somebody reads them."""

    def __init__(self, in_words: Callable[[int, float, Kept], dict[str, Any]]) -> None:
        self._in_words = in_words
        self._numbers = count(1)
        self._entries: deque[tuple[int, float, Kept]] = deque(maxlen=_MOST)
        self.told = 0
        """The number of the last entry that viewers have."""

    def add(self, at: float, entry: Kept) -> None:
        self._entries.append((next(self._numbers), at, entry))

    def items(self, *, told: bool = False) -> list[dict[str, Any]]:
        """All of them, newest first; with `told`, only those that viewers have."""
        return [self._in_words(*entry) for entry in reversed(self._entries) if not told or entry[0] <= self.told]

    def take_new(self) -> list[dict[str, Any]]:
        """Those that viewers do not have yet, newest first. From now on they have them."""
        new = [self._in_words(*entry) for entry in _newest(self._entries, self.told)]
        if new:
            self.told = new[0]["id"]
        return new


def _newest(entries: deque[tuple[int, float, Kept]], told: int) -> list[tuple[int, float, Kept]]:
    new = entries[-1][0] - told if entries else 0
    return list(islice(reversed(entries), new))


class History:
    """Remembers what fails and happens while an admin API is open.

    Args:
        load_balancer: The load balancer.
    """

    def __init__(self, load_balancer: LoadBalancer) -> None:
        self.failures: _Last[FailureDescription] = _Last(_failure)
        self.events: _Last[events.Event] = _Last(_event)
        self._ends = [
            load_balancer.on_failure(lambda failure: self.failures.add(failure.at, failure)),
            load_balancer.subscribe(lambda event: self.events.add(time(), event), *_WORDS),
        ]

    def close(self) -> None:
        """Remember nothing more."""
        while self._ends:
            self._ends.pop()()


def _failure(number: int, at: float, failure: FailureDescription) -> dict[str, Any]:
    return {
        "id": number,
        "at": round(at, 3),
        "reason": failure.reason,
        "sentence": failure.sentence,
        "phase": failure.phase,
        "side": failure.side,
        "status": failure.status,
        "client": failure.client,
        "group": failure.group,
        "target": failure.target,
        "rule": f"{failure.listener}/{failure.rule}" if failure.rule is not None else None,
        "request": failure.request,
        "detail": failure.detail,
    }


def _event(number: int, at: float, event: Any) -> dict[str, Any]:
    group, target = getattr(event, "group", None), getattr(event, "target", None)
    address = str(target) if target is not None else None
    text = _WORDS[type(event)](event)
    where = f"{group}: " if group is not None else ""
    return {
        "id": number,
        "at": round(at, 3),
        "kind": type(event).__name__,
        "text": f"{where}{f'{address} ' if address else ''}{text}"[:_LONGEST],
        "group": group,
        "target": address,
    }


_WORDS: Final[dict[type, Callable[[Any], str]]] = {
    events.TargetRegistered: lambda _: "is registered",
    events.TargetStateChanged: lambda event: f"is {event.state}" + (f" ({event.reason})" if event.reason else ""),
    events.TargetEjected: lambda event: f"is ejected for {event.seconds:g} s: {event.reason}",
    events.TargetReadmitted: lambda _: "gets requests again, on probation",
    events.TargetAnomalyChanged: lambda event: f"is {event.result} compared with its peers",
    events.TargetDrained: lambda _: "has drained",
    events.ListenerOpened: lambda event: f"listener {event.name or event.port} is open on port {event.port}",
    events.ListenerClosed: lambda event: f"listener {event.name or event.port} is closed",
    events.LoadBalancerStarted: lambda event: f"load balancer {event.name} has started",
    events.LoadBalancerStopping: lambda event: f"load balancer {event.name} stops",
    events.LoadBalancerStopped: lambda event: f"load balancer {event.name} has stopped",
    events.ConfigurationApplied: lambda event: f"a configuration of {event.listeners} listeners and {event.groups} groups is in effect",
    events.CertificatesRead: lambda event: f"certificates were read again from {', '.join(event.files)}",
}
"""The kinds of events that are kept, and their texts behind the group and the target. Exchanges and tunnels are too many."""
