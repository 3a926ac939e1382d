"""The states of an HTTP/1.x connection with a client, and every transition between them. The model is h11's `_state.py`.

A connection that is kept alive repeats this cycle:

    AWAITING_HEAD ──HEAD──▶ IN_EXCHANGE ──BODY──▶ READING_BODY
          ▲                   │      ▲                 │
          ╰───────NEXT────────╯      ╰─ END_BODY, PARK ╯

and ends in one of these ways:

    LINGER ──▶ LINGERING    FIN was sent; the client may still send, and closes its side when it has seen the response
    CLOSE ───▶ CLOSING      nothing more is expected of the client, or it has left
    RESET ───▶ RESETTING    an unfinished response that only the end of the connection delimits: RST follows the last byte
    ABORT ───▶ CLOSED       now, whatever is unsent
    DETACH ──▶ DETACHED     a tunnel takes over the transport
    HAND_OVER ▶ DETACHED    HTTP/2 takes over the transport, before the first request

An event maps each state in which it can happen to the state that follows: `socket.state = HEAD[socket.state]`. The state changes in no
other way (a test checks that). A state that is missing here raises KeyError, because it is a bug in the caller. A state that is mapped to
itself ignores the event.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = (
    "ABORT",
    "AWAITING_HEAD",
    "BODY",
    "CLOSE",
    "CLOSED",
    "CLOSING",
    "DETACH",
    "DETACHED",
    "END_BODY",
    "HAND_OVER",
    "HEAD",
    "IN_EXCHANGE",
    "LINGER",
    "LINGERING",
    "LOSE",
    "NEXT",
    "PARK",
    "READING_BODY",
    "RESET",
    "RESETTING",
    "State",
)

State = Literal["awaiting head", "in exchange", "reading body", "closing", "lingering", "resetting", "closed", "detached"]
"""Strings, because a dict finds them faster than members of an Enum, and a debug line can print them."""

AWAITING_HEAD: Final = "awaiting head"
"""No request is in progress. Bytes that arrive are collected until they are a request head."""
IN_EXCHANGE: Final = "in exchange"
"""A request is in progress and its body is not read, or is complete. Bytes that arrive are kept, up to `Limits.early_bytes`."""
READING_BODY: Final = "reading body"
"""A request is in progress. Bytes that arrive are its body and go to a sink."""
CLOSING: Final = "closing"
"""The transport sends what is buffered and closes. Bytes that arrive are discarded."""
LINGERING: Final = "lingering"
"""FIN was sent. The connection stays open until the client closes it or a deadline passes. Bytes that arrive are discarded."""
RESETTING: Final = "resetting"
"""A response is cut, and the client has not acknowledged all that was sent of it. Then the connection is reset."""
CLOSED: Final = "closed"
"""The connection was aborted or lost."""
DETACHED: Final = "detached"
"""A tunnel, or HTTP/2, has the transport."""

Event = dict[State, State]

# A connection can be aborted at any time, by a deadline or when the load balancer stops, and the exchange learns that a moment later. So
# whatever an exchange does while a request is in progress is possible when the connection is closed, and changes nothing.
NEXT: Final[Event] = {AWAITING_HEAD: AWAITING_HEAD, IN_EXCHANGE: AWAITING_HEAD, CLOSED: CLOSED}
"""The exchange asks for the next request head."""
HEAD: Final[Event] = {AWAITING_HEAD: IN_EXCHANGE}
"""A request head is complete. Not possible in CLOSED: an abort discards what was received."""
BODY: Final[Event] = {
    IN_EXCHANGE: READING_BODY,
    # A hook may stop waiting for the body, and ask for it again.
    READING_BODY: READING_BODY,
    CLOSED: CLOSED,
}
"""The exchange is ready for the request body."""
END_BODY: Final[Event] = {READING_BODY: IN_EXCHANGE}
"""The last byte of the request body was read, or its framing is broken so that nothing more can be read of it."""
PARK: Final[Event] = {IN_EXCHANGE: IN_EXCHANGE, READING_BODY: IN_EXCHANGE, CLOSED: CLOSED}
"""The exchange does not want the rest of the request body, at least for now."""
LINGER: Final[Event] = {
    # The request head was refused.
    AWAITING_HEAD: LINGERING,
    IN_EXCHANGE: LINGERING,
    READING_BODY: LINGERING,
    # The exchange failed after it had ended the connection.
    LINGERING: LINGERING,
}
"""The connection ends after what was written, and the client may still be sending."""
CLOSE: Final[Event] = {AWAITING_HEAD: CLOSING, IN_EXCHANGE: CLOSING, READING_BODY: CLOSING, LINGERING: CLOSING}
"""The connection ends after what was written, and nothing more is expected of the client."""
RESET: Final[Event] = {IN_EXCHANGE: RESETTING, READING_BODY: RESETTING, LINGERING: RESETTING, RESETTING: RESETTING}
"""A response that only the end of the connection delimits cannot be completed."""
ABORT: Final[Event] = {
    AWAITING_HEAD: CLOSED,
    IN_EXCHANGE: CLOSED,
    READING_BODY: CLOSED,
    CLOSING: CLOSED,
    LINGERING: CLOSED,
    RESETTING: CLOSED,
    CLOSED: CLOSED,
    # The target was lost in the moment in which a tunnel was opened.
    DETACHED: DETACHED,
}
"""The connection ends now, whatever is unsent."""
LOSE: Final[Event] = {
    # The exchange learns of the loss as a Failure, and ends by itself.
    AWAITING_HEAD: AWAITING_HEAD,
    IN_EXCHANGE: IN_EXCHANGE,
    READING_BODY: READING_BODY,
    CLOSING: CLOSED,
    LINGERING: CLOSED,
    RESETTING: CLOSED,
    CLOSED: CLOSED,
}
"""The transport reports that the connection is lost."""
HAND_OVER: Final[Event] = {AWAITING_HEAD: DETACHED}
"""The client sent the preface of HTTP/2 instead of a request: another protocol takes the transport."""
DETACH: Final[Event] = {IN_EXCHANGE: DETACHED, CLOSED: DETACHED}
"""A tunnel takes the transport, after a 101."""
