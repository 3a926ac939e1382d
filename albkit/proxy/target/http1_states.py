"""The states of an HTTP/1.1 connection to a target, and every transition between them, as h11 has them in its `_state.py`.

A connection that is kept alive goes round like this:

    FRESH ──BEGIN──▶ AWAITING_HEAD ──HEAD──▶ HEAD_RECEIVED ──RELAY──▶ RELAYING_BODY ──END──▶ DONE ──KEEP──▶ IDLE ──BEGIN──▶ ...
                                                   ╰──────── END (the body came with the head) ──────▲

An event maps each state in which it can happen to the state that follows: `self._state = HEAD[self._state]`. `Http1TargetConnection`
changes its state in no other way (a test checks that). A state that is missing here raises KeyError, because it is a bug in the caller.
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
    "UNASKED",
    "State",
)

State = Literal["fresh", "idle", "awaiting head", "head received", "relaying body", "done", "must close", "detached", "closed"]
"""Strings, because a dict finds them faster than members of an Enum, and a debug line can print them."""

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

Event = dict[State, State]

# A connection can be closed at any time, by its target or when the load balancer stops, and the exchange learns that a moment later. So
# everything that the exchange does is possible when the connection is closed, and changes nothing.
BEGIN: Final[Event] = {FRESH: AWAITING_HEAD, IDLE: AWAITING_HEAD, CLOSED: CLOSED}
"""An exchange begins."""
HEAD: Final[Event] = {AWAITING_HEAD: HEAD_RECEIVED}
"""The head of the final response is complete."""
RELAY: Final[Event] = {HEAD_RECEIVED: RELAYING_BODY, CLOSED: CLOSED}
"""The exchange is ready for the rest of the body."""
END: Final[Event] = {HEAD_RECEIVED: DONE, RELAYING_BODY: DONE, CLOSED: CLOSED}
"""The last byte of the response was read."""
UNASKED: Final[Event] = {
    HEAD_RECEIVED: MUST_CLOSE,
    RELAYING_BODY: MUST_CLOSE,
    DONE: MUST_CLOSE,
    MUST_CLOSE: MUST_CLOSE,
    IDLE: CLOSED,
    CLOSED: CLOSED,
}
"""Bytes came behind the response, or while there was no request."""
KEEP: Final[Event] = {DONE: IDLE}
"""The exchange is over, and the connection goes back to the pool."""
DETACH: Final[Event] = {HEAD_RECEIVED: DETACHED, CLOSED: CLOSED}
"""A tunnel takes the transport, after a 101."""
LOSE: Final[Event] = {
    FRESH: CLOSED,
    IDLE: CLOSED,
    AWAITING_HEAD: CLOSED,
    # What has come of the response is still relayed.
    HEAD_RECEIVED: HEAD_RECEIVED,
    RELAYING_BODY: CLOSED,
    DONE: CLOSED,
    MUST_CLOSE: CLOSED,
    CLOSED: CLOSED,
}
"""The socket is gone, and every byte that came before was read."""
ABORT: Final[Event] = {
    FRESH: CLOSED,
    IDLE: CLOSED,
    AWAITING_HEAD: CLOSED,
    HEAD_RECEIVED: CLOSED,
    RELAYING_BODY: CLOSED,
    DONE: CLOSED,
    MUST_CLOSE: CLOSED,
    DETACHED: CLOSED,
    CLOSED: CLOSED,
}
"""This side ends the connection: the exchange gave up, or the target broke the protocol."""
