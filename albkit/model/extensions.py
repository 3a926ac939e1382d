"""The interfaces for code of your own: their signatures, when each is called, and what happens if it fails.

The load balancer calls all of it in the event loop's thread, so none of it may block. If a call raises an exception, its own exchange is
answered 500, with a counter and a log line, and no other exchange is affected. Interfaces that are called outside an exchange document what
a failure costs.
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
    "Admin",
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

# The same object is used internally; a separate public class would have to be copied for each request.
Request = RequestHead
"""What conditions and actions receive: `method path query_string headers host client listener`, and `await request.body(limit)`."""


class BodyTooLarge(ValueError):
    """Raised by `request.body(limit)` if the body is larger than the limit. If the request is forwarded, the target still gets the whole
    body."""


@attrs.frozen
class Response:
    """The response of an action of your own.

    Args:
        status: 200 to 599.
        headers: Header values by name. The load balancer writes Content-Length, Transfer-Encoding and Connection itself, and Upgrade except
            in a 426.
        body: Bytes; not sent with 204, 205 and 304, which have no body.
    """

    status: int
    headers: Mapping[str, str] | None = attrs.field(default=None, kw_only=True)
    body: bytes = attrs.field(default=b"", kw_only=True)


class Condition(Protocol):
    """A condition of your own: any callable.

    It is called for each request that reaches its rule, if all conditions before it hold. An exception is an error of the exchange (500);
    it does not mean "does not hold". `explain` calls it as well.
    """

    def __call__(self, request: Request, /) -> bool: ...


class Action(Protocol):
    """An action of your own: any `async` callable that precedes the rule's routing action.

    It returns a `Response` to answer the request, or `None` to continue with the next action; anything else is a 500. It runs in a task of
    its own; all actions of a request share one context (`contextvars`). The task is cancelled when the client disconnects, and after
    `Limits.hook_timeout` seconds; the load balancer does not wait for it to end. If it is still running at the end of a stop, a warning in
    the log names it.
    """

    async def __call__(self, request: Request, /) -> Response | None: ...


class AlgorithmTarget(Protocol):
    """What an algorithm knows about a target. A target is represented by the same object for as long as it is registered."""

    @property
    def target(self) -> Target: ...
    @property
    def weight(self) -> int: ...
    @property
    def outstanding(self) -> int:
        """Requests sent whose response is not complete; an open tunnel counts as one."""


class Algorithm(Protocol):
    """Chooses targets. It is notified of every change, so it never has to scan all targets. One object serves one target group of one load
    balancer.

    An exception from `choose` costs the exchange a 500; exceptions from the other methods are logged.
    """

    def joined(self, target: AlgorithmTarget, /) -> None:
        """The target can be chosen from now on."""

    def left(self, target: AlgorithmTarget, /) -> None:
        """The target cannot be chosen any more."""

    def started(self, target: AlgorithmTarget, /) -> None:
        """A request is sent to the target; `outstanding` already includes it. The target may have left, or never have joined: a session's
        target, or a standby target."""

    def finished(self, target: AlgorithmTarget, /) -> None:
        """A request to the target is over; `outstanding` no longer includes it."""

    def choose(self, candidates: Sequence[AlgorithmTarget], chance: Callable[[], float], /) -> AlgorithmTarget | None:
        """Return one of the candidates: all targets that have joined, or, for a retry, those not tried yet. `chance` returns random numbers
        of [0, 1)."""


class RequestAlgorithm(Algorithm, Protocol):
    """An algorithm that also looks at the request: if it has this method, the load balancer calls it instead of `choose`."""

    def choose_for(self, request: Request, candidates: Sequence[AlgorithmTarget], chance: Callable[[], float], /) -> AlgorithmTarget | None:
        """Return one of the candidates, as `choose` does. An exception costs the exchange a 500."""


class ListeningAlgorithm(Algorithm, Protocol):
    """An algorithm that measures exchanges: it has at least one of these methods. Exceptions are logged."""

    def answered(self, target: AlgorithmTarget, seconds: float, /) -> None:
        """The target has sent the head of a response, of any status, this many seconds after the request was sent."""

    def transferred(self, target: AlgorithmTarget, count: int, /) -> None:
        """An exchange or tunnel with the target is over, after this many bytes in both directions together. `finished` follows."""


class StickyKey(Protocol):
    """For `TargetGroup(stickiness=...)` and `ConsistentHash(key=...)`: any callable that returns the key of a request's session.

    Requests with the same key go to the same target for as long as it is available. The key may be a claim of a token, a header or a part
    of the path. If it returns `None`, the group's algorithm chooses. An exception, or any other return value, costs the exchange a 500.
    """

    def __call__(self, request: Request, /) -> str | None: ...


class HealthProbe(Protocol):
    """For `HealthCheck(probe=...)`: any `async` callable that checks whether a target is healthy.

    `True` passes. Anything else fails; text becomes the reason. An exception fails, and so does a call that takes longer than the check's
    `timeout`, which is then cancelled. There is at most one call per target at any time. When the target leaves its group, or the load
    balancer stops, the call is cancelled and awaited, so it must end quickly.
    """

    async def __call__(self, target: Target, /) -> bool | str: ...


class Tunnel(Protocol):
    """A tunnel: an `Upgrade` request that a target answered with 101, or a connection of a TCP or TLS listener.

    `LoadBalancer.tunnels` contains it while it is open.
    """

    @property
    def id(self) -> int:
        """Its number among all tunnels since the load balancer started, from 1."""

    @property
    def client(self) -> ClientAddress:
        """The client: `host` and `port`, printed as `host:port`, and `tls`."""

    @property
    def target(self) -> Target:
        """The target at the other end."""

    @property
    def group(self) -> str:
        """The name of its target group."""

    @property
    def protocol(self) -> str:
        """The protocol that the target's 101 named, in lower case: `"websocket"` or another one; `"tcp"` or `"tls"` for a TCP or TLS
        listener."""

    @property
    def request(self) -> RequestHead:
        """The request that opened it: `method path query_string headers host client listener`. Its body is no longer available.

        For a TCP or TLS listener, which reads no request, only `client` and `listener` are set; everything else is empty.
        """

    @property
    def age(self) -> float:
        """Seconds since the 101."""

    @property
    def idle(self) -> float:
        """Seconds since the last byte in either direction, accurate to about a second. The load balancer's own pings do not count."""

    @property
    def bytes_in(self) -> int:
        """Bytes that came from the client since the 101."""

    @property
    def bytes_out(self) -> int:
        """Bytes that came from the target since the 101."""

    @property
    def frames_in(self) -> int | None:
        """WebSocket frames from the client, without pongs to the load balancer's own pings; `None` if frames are not parsed."""

    @property
    def frames_out(self) -> int | None:
        """WebSocket frames from the target, in the same way."""

    @property
    def end(self) -> TunnelEnd | None:
        """What ended the tunnel, or is ending it; `None` while it is open."""

    @property
    def close_code(self) -> int | None:
        """The code of the Close frame that the load balancer or, if a side closed the tunnel, that side has sent; 1005 if it contains none
        (RFC 6455 section 7.4.1). `None` while the tunnel is open, if it ended without a Close frame, or if frames are not parsed."""

    async def close(self, code: int = 1001, reason: str = "") -> None:
        """Close the tunnel gracefully, and return when both sockets are closed, after two to three seconds at most.

        Both sides get a Close frame, after the frame that is being sent to them, and FIN when they have answered it or two seconds have
        passed. If frames are not parsed, both get FIN. If something else is closing the tunnel already, that continues, and this call waits
        for it.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 section 7.4).
            reason: At most 123 bytes in UTF-8, for the log of the other side.

        Raises:
            ValueError: a Close frame cannot contain this code or reason.
        """


class Admin(Protocol):
    """An open admin API, as `LoadBalancer.admin` returns it (docs/admin.md)."""

    @property
    def port(self) -> int:
        """The open port."""

    @property
    def url(self) -> str:
        """Where a client on this machine reaches it, as `http://127.0.0.1:8404`; the live page is at its root."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What its clients did, since it was opened: `requests`, `unauthorized` (401), `refused` (403), `rejected_connections`,
        `viewers` (those now open), `rejected_viewers`, `dropped_viewers`."""

    async def stop(self) -> None:
        """Close it, and return when every socket is closed. Safe to call again."""


class Recheck(Protocol):
    """For `TunnelPolicy(recheck=...)`: any `async` callable that decides whether a tunnel may stay open.

    It is called every `recheck_every` seconds, at most one call per tunnel at any time. A false result ends the tunnel with Close 1008. An
    exception, or a call that takes longer than `Limits.hook_timeout`, ends it with Close 1011, a counter and a log line. The call runs in a
    task of its own, which is cancelled after that time, or when the tunnel ends for another reason; the load balancer does not wait for it
    to end. If it is still running at the end of a stop, a warning in the log names it.
    """

    async def __call__(self, tunnel: Tunnel, /) -> bool: ...


class TunnelCallback(Protocol):
    """For `LoadBalancer.on_tunnel`: called with a tunnel that was opened or is over. An exception is logged, and the callback stays
    registered."""

    def __call__(self, tunnel: Tunnel, /) -> None: ...


class EventSubscriber(Protocol):
    """For `LoadBalancer.subscribe`: called with each event. After an exception, which is logged, it stays subscribed."""

    def __call__(self, event: Event, /) -> None: ...
