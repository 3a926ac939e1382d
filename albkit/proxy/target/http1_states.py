"""The states of an HTTP/1.1 connection to a target, and every transition between them. The model is h11's `_state.py`.

The normal cycle of a connection that is kept alive:

    FRESH ──BEGIN──▶ AWAITING_HEAD ──HEAD──▶ HEAD_RECEIVED ──RELAY──▶ RELAYING_BODY ──END──▶ DONE ──KEEP──▶ IDLE ──BEGIN──▶ ...
                                                   ╰──────────END (the body came with the head)───────▲

`Http1TargetConnection` changes its state in one method, which looks the next state up here. An event that a state has no entry for is
a bug in the caller, and raises KeyError.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = (
    "ABORT",
    "AWAITING_HEAD",
    "BEGIN",
    "CLOSED",
    "DETACH",
    "DETACHED",
    "DONE",
    "END",
    "FRESH",
    "HEAD",
    "HEAD_RECEIVED",
    "IDLE",
    "KEEP",
    "LOSE",
    "MUST_CLOSE",
    "RELAY",
    "RELAYING_BODY",
    "TRANSITIONS",
    "UNASKED",
    "Event",
    "State",
)

State = Literal["fresh", "idle", "awaiting head", "head received", "relaying body", "done", "must close", "detached", "closed"]
Event = Literal["begin", "head", "relay", "end", "unasked bytes", "keep", "detach", "lose", "abort"]

# States. Strings, because a dict finds them faster than members of an Enum, and a debug line can print them.
FRESH: Final = "fresh"
"""Connected, and no request was sent yet. What the target sends now is kept, and fails the first request."""
IDLE: Final = "idle"
"""In the pool after an exchange."""
AWAITING_HEAD: Final = "awaiting head"
"""A request was sent, or is being sent; the head of the response has not come."""
HEAD_RECEIVED: Final = "head received"
"""The head has come. Its body waits until the exchange takes it."""
RELAYING_BODY: Final = "relaying body"
"""The body goes to the client as it comes."""
DONE: Final = "done"
"""The response is complete; the exchange has not released the connection yet."""
MUST_CLOSE: Final = "must close"
"""As DONE, but bytes came that belong to no response: another client must not get them as the start of its own."""
DETACHED: Final = "detached"
"""A tunnel has the transport."""
CLOSED: Final = "closed"

# Events.
BEGIN: Final = "begin"
"""An exchange begins."""
HEAD: Final = "head"
"""The head of the final response is complete."""
RELAY: Final = "relay"
"""The exchange is ready for the rest of the body."""
END: Final = "end"
"""The last byte of the response was read."""
UNASKED: Final = "unasked bytes"
"""Bytes came that no request asked for."""
KEEP: Final = "keep"
"""The exchange is over, and the connection goes back to the pool."""
DETACH: Final = "detach"
LOSE: Final = "lose"
"""The socket is gone, and every byte that came before was read."""
ABORT: Final = "abort"
"""This side ends the connection: the exchange gave up, or the target broke the protocol."""

TRANSITIONS: Final[dict[State, dict[Event, State]]] = {
    FRESH: {BEGIN: AWAITING_HEAD, LOSE: CLOSED, ABORT: CLOSED},
    IDLE: {BEGIN: AWAITING_HEAD, UNASKED: CLOSED, LOSE: CLOSED, ABORT: CLOSED},
    AWAITING_HEAD: {HEAD: HEAD_RECEIVED, LOSE: CLOSED, ABORT: CLOSED},
    # A response that came with FIN is still relayed, so LOSE leaves the state as it is.
    HEAD_RECEIVED: {RELAY: RELAYING_BODY, END: DONE, UNASKED: MUST_CLOSE, DETACH: DETACHED, LOSE: HEAD_RECEIVED, ABORT: CLOSED},
    RELAYING_BODY: {END: DONE, UNASKED: MUST_CLOSE, LOSE: CLOSED, ABORT: CLOSED},
    DONE: {KEEP: IDLE, UNASKED: MUST_CLOSE, LOSE: CLOSED, ABORT: CLOSED},
    MUST_CLOSE: {UNASKED: MUST_CLOSE, LOSE: CLOSED, ABORT: CLOSED},
    DETACHED: {ABORT: CLOSED},
    # The socket can go at any time, so whoever holds the connection may not have noticed.
    CLOSED: {BEGIN: CLOSED, LOSE: CLOSED, ABORT: CLOSED},
}
