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

`ClientSocket.move` is the only place that changes the state. A state without an entry for an event does not allow it: the caller has a
bug, and `move` raises KeyError. An entry that leads back to its own state means that the event is allowed and changes nothing.
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
    "TRANSITIONS",
    "Event",
    "State",
)

State = Literal["awaiting head", "in exchange", "reading body", "closing", "lingering", "resetting", "closed", "detached"]
Event = Literal["next", "head", "body", "end of body", "park", "close", "linger", "reset", "abort", "lose", "detach"]

# States. Strings, because members of an Enum cost more to compare and to look up, and a debug line can print these.
AWAITING_HEAD: Final = "awaiting head"
"""No request is in progress. Bytes that arrive are collected until they are a request head."""
IN_EXCHANGE: Final = "in exchange"
"""A request is in progress and its body is not read, or is complete. Bytes that arrive are kept, up to `Limits.early_bytes`."""
READING_BODY: Final = "reading body"
"""A request is in progress. Bytes that arrive are its body and go to a sink."""
CLOSING: Final = "closing"
"""The transport sends what is buffered and closes. Bytes that arrive are discarded."""
LINGERING: Final = "lingering"
"""As CLOSING, but the connection stays open for reading after FIN until the client closes it or a deadline passes."""
RESETTING: Final = "resetting"
"""The kernel still sends, or the client has not acknowledged, a part of a response that is cut. Then the connection is reset."""
CLOSED: Final = "closed"
"""The connection was aborted or lost. The exchange may not have noticed yet."""
DETACHED: Final = "detached"
"""A tunnel has the transport."""

# Events.
NEXT: Final = "next"
"""The exchange asks for the next request head."""
HEAD: Final = "head"
"""A request head is complete and was taken."""
BODY: Final = "body"
"""The exchange is ready for the request body."""
END_BODY: Final = "end of body"
"""The last byte of the request body was read, or its framing is broken and nothing more can be read of it."""
PARK: Final = "park"
"""The exchange does not want the rest of the request body, at least for now."""
CLOSE: Final = "close"
LINGER: Final = "linger"
RESET: Final = "reset"
ABORT: Final = "abort"
LOSE: Final = "lose"
"""The socket is gone."""
DETACH: Final = "detach"

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    # LOSE changes nothing during an exchange: the exchange learns of the loss as a Failure, and ends by itself.
    AWAITING_HEAD: {NEXT: AWAITING_HEAD, HEAD: IN_EXCHANGE, CLOSE: CLOSING, LINGER: LINGERING, ABORT: CLOSED, LOSE: AWAITING_HEAD},
    IN_EXCHANGE: {
        NEXT: AWAITING_HEAD,
        BODY: READING_BODY,
        PARK: IN_EXCHANGE,
        CLOSE: CLOSING,
        LINGER: LINGERING,
        RESET: RESETTING,
        ABORT: CLOSED,
        LOSE: IN_EXCHANGE,
        DETACH: DETACHED,
    },
    # BODY again: a hook may stop waiting for the body and ask for it once more.
    READING_BODY: {
        BODY: READING_BODY,
        END_BODY: IN_EXCHANGE,
        PARK: IN_EXCHANGE,
        CLOSE: CLOSING,
        LINGER: LINGERING,
        RESET: RESETTING,
        ABORT: CLOSED,
        LOSE: READING_BODY,
    },
    CLOSING: {ABORT: CLOSED, LOSE: CLOSED},
    # LINGER and RESET: the exchange failed after it had ended the connection in good order, and cuts it.
    LINGERING: {LINGER: LINGERING, CLOSE: CLOSING, RESET: RESETTING, ABORT: CLOSED, LOSE: CLOSED},
    RESETTING: {RESET: RESETTING, ABORT: CLOSED, LOSE: CLOSED},
    # The connection can be aborted while the exchange is busy elsewhere, so the exchange goes on for a moment as if nothing had happened.
    CLOSED: {NEXT: CLOSED, BODY: CLOSED, PARK: CLOSED, ABORT: CLOSED, LOSE: CLOSED, DETACH: DETACHED},
    # The exchange fails if the target is lost in the moment in which a tunnel is opened.
    DETACHED: {ABORT: DETACHED},
}
