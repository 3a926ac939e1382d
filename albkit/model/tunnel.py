"""How long a tunnel lives, what keeps it alive, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, cast

import attrs

from albkit.model.attributes import default, fault
from albkit.model.validation import Faults, as_tuple

__all__ = ("TunnelEnd", "TunnelPolicy", "fault_of_close")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")
_NEVER_SENT = (1004, 1005, 1006, 1015)
"""Close codes that must not be in a frame (RFC 6455 section 7.4.1; 1004 is reserved)."""
_LONGEST_REASON = 123


class TunnelEnd(StrEnum):
    """Why a tunnel ended; the first cause counts."""

    CLIENT = "client"
    """The client sent a Close frame, FIN or RST."""
    TARGET = "target"
    """The target did."""
    IDLE = "idle"
    """No byte in either direction for the idle timeout."""
    PONG_TIMEOUT = "pong timeout"
    """One side did not answer a ping."""
    MAX_AGE = "max age"
    RECHECK = "recheck"
    """The policy's `recheck` said no."""
    DRAIN = "drain"
    """Its target was deregistered."""
    STOP = "stop"
    """The load balancer stopped."""
    CLOSED = "closed"
    """The program called `close`."""
    MESSAGE_TOO_LARGE = "message too large"
    ERROR = "error"
    """The policy's `recheck` failed, or what should be measured as frames was none."""


def fault_of_close(code: object, reason: object) -> str | None:
    """What keeps a Close frame from saying this (RFC 6455 sections 5.5 and 7.4), or `None`."""
    if not isinstance(code, int) or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _NEVER_SENT:
        return f"close code {code!r} cannot be sent; 1000 to 1003, 1007 to 1014, or 3000 to 4999"
    if not isinstance(reason, str):
        return f"the reason {reason!r} is not text"
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        return "the reason holds lone surrogates, which no UTF-8 text can"
    return None if size <= _LONGEST_REASON else f"the reason has {size} bytes in UTF-8; {_LONGEST_REASON} at the most"


def _protocols(value: Any) -> Any:
    return None if value is None else as_tuple(value)


def _setting(name: str) -> Any:
    return attrs.field(default=default("TunnelPolicy", name))


@attrs.frozen
class TunnelPolicy:
    """How the tunnels of a target group, or of a rule, live and end; for `TargetGroup(tunnel=...)` and `Forward(tunnel=...)`.

    A tunnel is what becomes of an `Upgrade` request that the target answers with 101. One whose handshake was a WebSocket's (RFC 6455) is
    followed frame by frame: pings and Close frames of the load balancer's own go between two frames, never into one. All other tunnels
    live the same life without pings and Close frames, and end with FIN. A tunnel keeps the policy that it was opened with.

    Args:
        idle_timeout: Seconds without a byte in either direction, above 0 to a year; then both sides get Close 1001. `None` (default) for
            the load balancer's `idle_timeout`.
        ping_interval: Seconds, above 0 and below the idle timeout: a side from which nothing has come for so long is pinged, and its
            pong is not passed on. So a session that is silent and alive outlasts the idle timeout, and a dead peer is noticed. A side
            that is in the middle of sending a frame is not pinged. `None` (default) for no pings.
        pong_timeout: Seconds for an answer to a ping, above 0 to a year, 20 by default, also where that goes beyond the idle timeout. Then
            that side is reset and the other gets Close 1011.
        max_age: Seconds from the 101, above 0 to a year, after which both sides get Close 1001; `None` (default) for no limit.
        max_tunnels: Tunnels per target, 1 and more: an upgrade goes to a target that has room, and is answered 503 where none has, or
            where its session's target has none. `None` (default) for no limit.
        recheck: An `async` callable that is given the `Tunnel` and tells whether it may go on: `False` ends it with Close 1008. One that
            raises, or takes longer than `Limits.hook_timeout`, ends it with 1011. `None` (default) for none.
        recheck_every: Seconds between two calls of `recheck`, above 0 to a year, 60 by default. The first comes after half to one of it, by
            chance, so that tunnels that were opened together are not all asked about together.
        max_message_size: Bytes on the wire of one WebSocket message, 1 and more: a larger one is not passed on, and both sides get Close
            1009; bytes that are no frames end the tunnel then, with 1002. `None` (default) for no limit.
        drain_code: The code of the Close frame that tunnels of a deregistered target get: 1000 to 1003, 1007 to 1014, or 3000 to 4999;
            1001 by default.
        drain_spread: Seconds, 0 to 3600, 30 by default: a deregistered target's tunnels are closed one by one in so many seconds before
            the end of its deregistration delay (in the whole delay, where that is shorter), so that not all clients come back at once.
        protocols: What may be upgraded to, as in an Upgrade field (`"websocket"`), one or a list; an upgrade to something else goes on
            as an ordinary request, and so does every upgrade where the list is empty. `None` (default) for whatever the target accepts.
        frames: Whether WebSocket frames are followed, `True` by default. Without it there are no pings and no Close frames.

    Raises:
        ConfigurationError: listing every fault.
    """

    idle_timeout: float | None = None
    ping_interval: float | None = None
    pong_timeout: float = _setting("pong_timeout")
    max_age: float | None = None
    max_tunnels: int | None = None
    recheck: Callable[[Any], Awaitable[object]] | None = None
    recheck_every: float = _setting("recheck_every")
    max_message_size: int | None = attrs.field(default=None, kw_only=True)
    drain_code: int = attrs.field(default=cast("int", default("TunnelPolicy", "drain_code")), kw_only=True)
    drain_spread: float = attrs.field(default=cast("float", default("TunnelPolicy", "drain_spread")), kw_only=True)
    protocols: tuple[str, ...] | None = attrs.field(default=None, converter=_protocols, kw_only=True)
    frames: bool = attrs.field(default=True, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("TunnelPolicy")
        for name in ("idle_timeout", "ping_interval", "max_age", "max_tunnels", "max_message_size"):
            if getattr(self, name) is not None:
                faults.attribute(self, name)
        faults.attribute(self, "pong_timeout", "recheck_every", "drain_code", "drain_spread", "frames")
        if fault("TunnelPolicy", "drain_code", self.drain_code) is None and (wrong := fault_of_close(self.drain_code, "")):
            faults.add("drain_code", wrong)
        self._check_recheck(faults)
        self._check_protocols(faults)
        if self.idle_timeout is not None and (wrong := self.fault_of_idle_timeout(self.idle_timeout)):
            faults.add("ping_interval", wrong)
        if self.frames is False:
            for name in ("ping_interval", "max_message_size"):
                if getattr(self, name) is not None:
                    faults.add(name, "needs frames, and frames is False; drop one of them")
        faults.raise_if_any()

    def fault_of_idle_timeout(self, idle_timeout: float) -> str | None:
        """What is wrong with pings under this idle timeout, or `None`; of two values that are good by themselves."""
        interval = self.ping_interval
        if interval is None or fault("TunnelPolicy", "ping_interval", interval) or fault("TunnelPolicy", "idle_timeout", idle_timeout):
            return None
        if interval < idle_timeout:
            return None
        return f"{interval:g} is not below the idle timeout of {idle_timeout:g} seconds, so that no ping would ever be sent"

    def _check_recheck(self, faults: Faults) -> None:
        recheck = self.recheck
        if recheck is None:
            return
        if not callable(recheck) or isinstance(recheck, type):
            faults.add("recheck", f"{recheck!r} is not an async callable or None")
        elif getattr(recheck, "__hash__", None) is None:
            faults.add("recheck", f"{recheck!r} cannot be hashed, and descriptions are; give its class a __hash__")

    def _check_protocols(self, faults: Faults) -> None:
        for index, protocol in enumerate(self.protocols or ()):
            if not isinstance(protocol, str) or not _TOKEN.fullmatch(protocol):
                faults.add(f"protocols[{index}]", f"{protocol!r} is not a protocol, as 'websocket' or 'name/version'")
            elif protocol.lower() == "h2c":
                faults.add(f"protocols[{index}]", "h2c is never passed on: its requests would get past the rules")
