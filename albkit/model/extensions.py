"""What a program may add of its own: the shapes, when each is called, and what happens when it goes wrong.

All of it runs on the loop's thread, so none of it may block. One that raises costs its own exchange a 500, a counter and a log line,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from albkit.model.events import Event
from albkit.model.message import RequestHead
from albkit.model.target import Target

__all__ = ("Action", "Algorithm", "AlgorithmTarget", "BodyTooLarge", "Condition", "EventSubscriber", "Request", "Response")

Request = RequestHead
"""What conditions and actions are given: `method path query_string headers host client listener`, and `await request.body(limit)`."""


class BodyTooLarge(ValueError):
    """`request.body(limit)` met a body above its limit. What was read is forwarded all the same."""


@attrs.frozen
class Response:
    """An answer given by an action of a program's own.

    Args:
        status: 200 to 599.
        headers: Fields, by name; Content-Length, Transfer-Encoding and Connection are ours to write.
        body: Bytes.
    """

    status: int
    headers: Mapping[str, str] | None = attrs.field(default=None, kw_only=True)
    body: bytes = attrs.field(default=b"", kw_only=True)


class Condition(Protocol):
    """A condition of a program's own: any callable.

    Called for each request that has come to its rule with all conditions before it holding. Raising counts as an error of the exchange
    (500), not as "does not hold". `explain` calls it as well.
    """

    def __call__(self, request: Request, /) -> bool: ...


class Action(Protocol):
    """An action of a program's own: any `async` callable, in front of the rule's routing action.

    Returns a `Response` to answer the request, or `None` to go on to the next action. Cancelled when the client leaves, and after
    `Limits.hook_timeout` seconds. Anything else returned is a 500.
    """

    async def __call__(self, request: Request, /) -> Response | None: ...


class AlgorithmTarget(Protocol):
    """What an algorithm sees of a target. The same object stands for a target for as long as it is registered."""

    @property
    def target(self) -> Target: ...
    @property
    def weight(self) -> int: ...
    @property
    def outstanding(self) -> int:
        """Requests sent and not yet answered in full; a tunnel counts as one while it lives."""


class Algorithm(Protocol):
    """Chooses targets; told of every change, so that none needs a scan. One object serves one target group of one load balancer.

    Raising from `choose` costs the exchange a 500; from the other methods it is logged.
    """

    def joined(self, target: AlgorithmTarget, /) -> None:
        """The target may be chosen from now on."""

    def left(self, target: AlgorithmTarget, /) -> None:
        """It may not be chosen any more."""

    def started(self, target: AlgorithmTarget, /) -> None:
        """A request goes to it; counted in `outstanding` already."""

    def finished(self, target: AlgorithmTarget, /) -> None:
        """A request to it is over; no longer counted in `outstanding`."""

    def choose(self, candidates: Sequence[AlgorithmTarget], chance: Callable[[], float], /) -> AlgorithmTarget | None:
        """One of the candidates: all that have joined, or on a retry those not tried yet. `chance` gives numbers of [0, 1)."""


class EventSubscriber(Protocol):
    """Told of what happens to a load balancer's configuration and targets; one that raises is logged and stays subscribed."""

    def __call__(self, event: Event, /) -> None: ...
