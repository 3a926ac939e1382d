"""The lifetime of tunnels, the pings that keep them open, and how they end."""

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
"""Close codes that must not appear in a frame (RFC 6455 section 7.4.1; 1004 is reserved)."""
_LONGEST_REASON = 123


class TunnelEnd(StrEnum):
    """Why a tunnel ended; the first cause counts."""

    CLIENT = "client"
    """The client sent a Close frame, FIN or RST."""
    TARGET = "target"
    """The target sent a Close frame, FIN or RST."""
    IDLE = "idle"
    """There was no byte in either direction for the idle timeout."""
    PONG_TIMEOUT = "pong timeout"
    """One side did not answer a ping."""
    MAX_AGE = "max age"
    RECHECK = "recheck"
    """The policy's `recheck` returned a false value."""
    DRAIN = "drain"
    """Its target was deregistered."""
    STOP = "stop"
    """The load balancer stopped."""
    CLOSED = "closed"
    """The program called `close`."""
    MESSAGE_TOO_LARGE = "message too large"
    ERROR = "error"
    """The policy's `recheck` failed, or bytes that should be measured as WebSocket frames were not frames."""


def fault_of_close(code: object, reason: object) -> str | None:
    """Say why a Close frame cannot contain this code and reason (RFC 6455 sections 5.5 and 7.4); `None` if it can."""
    if not isinstance(code, int) or not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _NEVER_SENT:
        return f"close code {code!r} cannot be sent; use 1000 to 1003, 1007 to 1014, or 3000 to 4999"
    if not isinstance(reason, str):
        return f"the reason {reason!r} is not text"
    try:
        size = len(reason.encode())
    except UnicodeEncodeError:
        return "the reason contains lone surrogates, which UTF-8 cannot encode"
    return None if size <= _LONGEST_REASON else f"the reason has {size} bytes in UTF-8; use at most {_LONGEST_REASON}"


def _protocols(value: Any) -> Any:
    return None if value is None else as_tuple(value)


def _setting(name: str) -> Any:
    return attrs.field(default=default("TunnelPolicy", name))


@attrs.frozen
class TunnelPolicy:
    """The lifetime and the end of the tunnels of a target group or of a rule; for `TargetGroup(tunnel=...)` and `Forward(tunnel=...)`.

    A tunnel is an `Upgrade` request that the target has answered with 101. If the handshake was that of a WebSocket (RFC 6455), the load
    balancer parses the frames: its own pings and Close frames are sent between two frames, never inside one. All other tunnels obey the
    same settings, but without pings and Close frames, and end with FIN. A tunnel keeps the policy with which it was opened.

    Args:
        idle_timeout: Seconds without a byte in either direction, above 0 to a year; then both sides get Close 1001. Default: `None`, the
            load balancer's `idle_timeout`.
        ping_interval: Seconds, above 0 and below the idle timeout: a side that has sent nothing for so long is pinged, and its pong is not
            passed on. A silent but living session thus outlasts the idle timeout, and a dead peer is detected. A side that is in the middle
            of sending a frame is not pinged. Default: `None`, no pings.
        pong_timeout: Seconds for the answer to a ping, above 0 to a year, even beyond the idle timeout. Then that side is reset, and the
            other one gets Close 1011. Default: `20`.
        max_age: Seconds from the 101, above 0 to a year, after which both sides get Close 1001. Default: `None`, no limit.
        max_tunnels: Tunnels per target, 1 or more. An upgrade goes to a target below the limit; it gets 503 if there is none, or if its
            session's target has reached the limit. Default: `None`, no limit.
        recheck: An `async` callable that receives the `Tunnel` and returns whether it may stay open: a false value ends it with Close 1008.
            An exception, or a call that takes longer than `Limits.hook_timeout`, ends it with 1011. Default: `None`.
        recheck_every: Seconds between two calls of `recheck`, above 0 to a year. The first call comes after a random half to whole of it,
            so that tunnels opened at the same time are not all checked at the same time. Default: `60`.
        max_message_size: Bytes on the wire of one WebSocket message, 1 or more. A larger message is not passed on, and both sides get Close
            1009; bytes that are not frames end the tunnel with 1002. Default: `None`, no limit.
        drain_code: The code of the Close frame for the tunnels of a deregistered target: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            Default: `1001`.
        drain_spread: Seconds, 0 to 3600: a deregistered target's tunnels are closed one by one in the last so many seconds of its
            deregistration delay (during all of it, if it is shorter), so that the clients do not all reconnect at the same time. Default:
            `30`.
        protocols: The protocols that may be upgraded to, as in an Upgrade header (`"websocket"`), one or a list. An upgrade to any other
            continues as an ordinary request, and with an empty list every upgrade does. Default: `None`, whatever the target accepts.
        frames: Whether to parse WebSocket frames. Without it there are no pings and no Close frames. Default: `True`.

    Raises:
        ConfigurationError: lists every fault.
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
                    faults.add(name, "requires frames=True; leave out one of them")
        faults.raise_if_any()

    def fault_of_idle_timeout(self, idle_timeout: float) -> str | None:
        """Say what is wrong with `ping_interval` under this idle timeout; `None` if both are valid together, or if one is invalid by
        itself."""
        interval = self.ping_interval
        if interval is None or fault("TunnelPolicy", "ping_interval", interval) or fault("TunnelPolicy", "idle_timeout", idle_timeout):
            return None
        if interval < idle_timeout:
            return None
        return f"{interval:g} is not below the idle timeout of {idle_timeout:g} seconds, so no ping would ever be sent; use a lower value"

    def _check_recheck(self, faults: Faults) -> None:
        recheck = self.recheck
        if recheck is None:
            return
        if not callable(recheck) or isinstance(recheck, type):
            faults.add("recheck", f"{recheck!r} is not an async callable or None")
        # `Settings` collects policies in a dictionary, and apply() compares them.
        elif getattr(recheck, "__hash__", None) is None:
            faults.add("recheck", f"{recheck!r} is not hashable, as every part of a configuration must be; give its class a __hash__")

    def _check_protocols(self, faults: Faults) -> None:
        for index, protocol in enumerate(self.protocols or ()):
            if not isinstance(protocol, str) or not _TOKEN.fullmatch(protocol):
                faults.add(f"protocols[{index}]", f"{protocol!r} is not a protocol such as 'websocket' or 'name/version'")
            elif protocol.lower() == "h2c":
                faults.add(f"protocols[{index}]", "h2c is never passed on, because its requests would bypass the rules; leave it out")
