"""The states of a connection before its first request, and every transition between them.

    ACCEPTED ──────────CLIENT_KNOWN──────────▶ AWAITING_HELLO ──HELLO──▶ HANDSHAKING ──HAND_OVER──▶ HANDED_OVER
        │                                         ▲    │  ╰─────HAND_OVER (no TLS)─────────────────────▲
        ╰──EXPECT_HEADER──▶ AWAITING_HEADER ──────╯    ╰─PLAIN_HTTP─▶ LINGERING
                                      CLIENT_KNOWN

An event maps each state in which it can happen to the state that follows: `self._state = HELLO[self._state]`. The state changes in no
other way (a test checks that). A state that is missing here raises KeyError, because it is a bug in the caller.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = (
    "ACCEPTED",
    "AWAITING_HEADER",
    "AWAITING_HELLO",
    "CLIENT_KNOWN",
    "END",
    "ENDED",
    "EXPECT_HEADER",
    "HANDED_OVER",
    "HANDSHAKING",
    "HAND_OVER",
    "HELLO",
    "LINGERING",
    "PLAIN_HTTP",
    "State",
)

State = Literal["accepted", "awaiting PROXY header", "awaiting TLS", "TLS handshake", "lingering", "ended", "handed over"]

ACCEPTED: Final = "accepted"
"""It is not decided yet what the connection starts with."""
AWAITING_HEADER: Final = "awaiting PROXY header"
"""Bytes that arrive are collected until they are a PROXY protocol header."""
AWAITING_HELLO: Final = "awaiting TLS"
"""The client's address is known. The first bytes start the TLS handshake."""
HANDSHAKING: Final = "TLS handshake"
"""The TLS transport gets the bytes, and reports the end of the handshake."""
LINGERING: Final = "lingering"
"""A response and FIN have been sent. Bytes that arrive are discarded."""
ENDED: Final = "ended"
"""The connection was refused, failed or was lost. A TLS alert may still be on its way."""
HANDED_OVER: Final = "handed over"
"""The connection has another protocol."""

Event = dict[State, State]

EXPECT_HEADER: Final[Event] = {ACCEPTED: AWAITING_HEADER}
"""The peer may send, or has to send, a PROXY protocol header."""
CLIENT_KNOWN: Final[Event] = {ACCEPTED: AWAITING_HELLO, AWAITING_HEADER: AWAITING_HELLO}
"""The client's address is known and the client may connect."""
HELLO: Final[Event] = {AWAITING_HELLO: HANDSHAKING}
"""The first bytes of a TLS handshake have arrived."""
PLAIN_HTTP: Final[Event] = {AWAITING_HELLO: LINGERING}
"""The first bytes are HTTP without TLS."""
HAND_OVER: Final[Event] = {AWAITING_HELLO: HANDED_OVER, HANDSHAKING: HANDED_OVER}
"""The connection starts with its first request."""
END: Final[Event] = {
    ACCEPTED: ENDED,
    AWAITING_HEADER: ENDED,
    AWAITING_HELLO: ENDED,
    HANDSHAKING: ENDED,
    LINGERING: ENDED,
    ENDED: ENDED,
    # The load balancer may stop while the next protocol starts.
    HANDED_OVER: HANDED_OVER,
}
"""The connection is refused, fails, takes too long or is lost, or the load balancer stops."""
