"""What a program may add of its own: the shapes, when each is called, and what happens when it goes wrong.

All of it runs on the loop's thread, so none of it may block. One that raises costs its own exchange a 500, a counter and a log line,
and nothing else; what has no exchange of its own says itself what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import attrs

from albkit.model.events import Event
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.target import Target
from albkit.model.tunnel import TunnelEnd

__all__ = (
    "Action",
    "Algorithm",
    "AlgorithmTarget",
    "BodyTooLarge",
    "Condition",
    "EventSubscriber",
    "HealthProbe",
    "ListeningAlgorithm",
    "Recheck",
    "Request",
    "RequestAlgorithm",
    "Response",
    "StickyKey",
    "Tunnel",
    "TunnelCallback",
)

Request = RequestHead
"""What conditions and actions are given: `method path query_string headers host client listener`, and `await request.body(limit)`."""


class BodyTooLarge(ValueError):
    """`request.body(limit)` met a body above its limit. What was read is forwarded all the same."""


@attrs.frozen
class Response:
    """An answer given by an action of a program's own.

    Args:
        status: 200 to 599.
        headers: Fields, by name; Content-Length, Transfer-Encoding and Connection are ours to write, and so is Upgrade but in a 426.
        body: Bytes; not sent with 204, 205 and 304, which have none.
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

    Returns a `Response` to answer the request, or `None` to go on to the next action. Anything else returned is a 500. Runs in a task of
    its own, all actions of a request in one context. Cancelled when the client leaves, and after `Limits.hook_timeout` seconds; nobody
    waits for it then. Where it does not end by the end of a stop, a warning names it.
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
        """A request goes to it; counted in `outstanding` already. It may have left, or never joined: a session's, or a standby."""

    def finished(self, target: AlgorithmTarget, /) -> None:
        """A request to it is over; no longer counted in `outstanding`."""

    def choose(self, candidates: Sequence[AlgorithmTarget], chance: Callable[[], float], /) -> AlgorithmTarget | None:
        """One of the candidates: all that have joined, or on a retry those not tried yet. `chance` gives numbers of [0, 1)."""


class RequestAlgorithm(Algorithm, Protocol):
    """An algorithm that chooses by the request as well: one that has this method is asked by it and not by `choose`."""

    def choose_for(self, request: Request, candidates: Sequence[AlgorithmTarget], chance: Callable[[], float], /) -> AlgorithmTarget | None:
        """One of the candidates, as `choose`. Raising costs the exchange a 500."""


class ListeningAlgorithm(Algorithm, Protocol):
    """An algorithm that is told how exchanges go: one that has a method of these is called by it. Raising is logged."""

    def answered(self, target: AlgorithmTarget, seconds: float, /) -> None:
        """The head of a response, of any status, has come from the target, so long after the request was sent."""

    def transferred(self, target: AlgorithmTarget, count: int, /) -> None:
        """An exchange or tunnel with the target is over: so many bytes went through, both ways. `finished` follows."""


class StickyKey(Protocol):
    """For `TargetGroup(stickiness=...)` and `ConsistentHash(key=...)`: any callable that tells whose request it is.

    Requests with the same key go to the same target, as long as it is there: a claim of a token, a field, a part of the path. `None` where
    there is no key; the group's algorithm then chooses. Raising, or returning anything else, costs the exchange a 500.
    """

    def __call__(self, request: Request, /) -> str | None: ...


class HealthProbe(Protocol):
    """For `HealthCheck(probe=...)`: any `async` callable that finds out whether a target is well.

    `True` passes. Anything else fails, text with this text as the reason; so does raising, and taking longer than the check's `timeout`,
    after which it is cancelled. One call at a time per target. Cancelled when the target leaves its group or the load balancer stops,
    and waited for: it must not take long to end.
    """

    async def __call__(self, target: Target, /) -> bool | str: ...


class Tunnel(Protocol):
    """A tunnel: what became of an `Upgrade` request that a target answered with 101, or of a connection of a TCP or TLS listener.

    In `LoadBalancer.tunnels` while it lives.
    """

    @property
    def id(self) -> int:
        """Its number among all tunnels of its load balancer since that was started, from 1."""

    @property
    def client(self) -> ClientAddress:
        """Whom it comes from: `host` and `port`, printed as `host:port`, and `tls`."""

    @property
    def target(self) -> Target:
        """Whom it stays with."""

    @property
    def group(self) -> str:
        """The name of its target group."""

    @property
    def protocol(self) -> str:
        """What both ends speak, as the target's 101 named it, in lower case: `"websocket"`, or anything else; else `"tcp"` or `"tls"`."""

    @property
    def request(self) -> RequestHead:
        """The request that asked for it: `method path query_string headers host client listener`. Its body is gone.

        Of a TCP or TLS listener's nothing was read: `client` and `listener` are there, all else is empty.
        """

    @property
    def age(self) -> float:
        """Seconds since the 101."""

    @property
    def idle(self) -> float:
        """Seconds since a byte went through in either direction, to a second or so. Pings of the load balancer's do not count."""

    @property
    def bytes_in(self) -> int:
        """Bytes that came from the client since the 101."""

    @property
    def bytes_out(self) -> int:
        """Bytes that came from the target since the 101."""

    @property
    def frames_in(self) -> int | None:
        """WebSocket frames from the client, without pongs to the load balancer's own pings; `None` where frames are not followed."""

    @property
    def frames_out(self) -> int | None:
        """The same from the target."""

    @property
    def end(self) -> TunnelEnd | None:
        """What ended it, or is ending it; `None` while it goes on."""

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """End it in good order, and return when both sockets are gone, after two to three seconds at the latest.

        Both sides get a Close frame behind the frame that is on its way to them, and FIN when they have answered it or have let two
        seconds pass. Where frames are not followed both get FIN. Where something is ending it already that goes on, and is waited for.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 section 7.4).
            reason: At most 123 bytes in UTF-8, for the log of the other side.

        Raises:
            ValueError: no Close frame can say this.
        """


class Recheck(Protocol):
    """For `TunnelPolicy(recheck=...)`: any `async` callable that tells whether a tunnel may go on.

    Called every `recheck_every` seconds, one call at a time per tunnel. Anything false ends the tunnel with Close 1008. Raising, and taking
    longer than `Limits.hook_timeout`, ends it with Close 1011, a counter and a log line. Runs in a task of its
    own, cancelled when the tunnel ends by itself, and after that time; nobody waits for it then. Where it does not end by the end of a
    stop, a warning names it.
    """

    async def __call__(self, tunnel: Tunnel, /) -> bool: ...


class TunnelCallback(Protocol):
    """For `LoadBalancer.on_tunnel`: told of a tunnel that was opened or is over. One that raises is logged and stays."""

    def __call__(self, tunnel: Tunnel, /) -> None: ...


class EventSubscriber(Protocol):
    """Told of what happens to a load balancer's configuration and targets; one that raises is logged and stays subscribed."""

    def __call__(self, event: Event, /) -> None: ...
