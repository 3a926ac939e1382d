"""Every state of a client connection with every event: what follows, or that it cannot happen."""

from __future__ import annotations

import pytest

from albkit.proxy.client import http1_states
from tests.support.state_tables import assert_changes_are_events, assert_decided, assert_leads_to, pairs

TABLE = """
            AWAITING_HEAD  IN_EXCHANGE    READING_BODY  CLOSING  LINGERING  RESETTING  CLOSED    DETACHED
NEXT        =              AWAITING_HEAD  -             -        -          -          =         -
HEAD        IN_EXCHANGE    -              -             -        -          -          -         -
BODY        -              READING_BODY   =             -        -          -          =         -
END_BODY    -              -              IN_EXCHANGE   -        -          -          -         -
PARK        -              =              IN_EXCHANGE   -        -          -          =         -
LINGER      LINGERING      LINGERING      LINGERING     -        =          -          -         -
CLOSE       CLOSING        CLOSING        CLOSING       -        CLOSING    -          -         -
RESET       -              RESETTING      RESETTING     -        RESETTING  =          -         -
ABORT       CLOSED         CLOSED         CLOSED        CLOSED   CLOSED     CLOSED     =         =
LOSE        =              =              =             CLOSED   CLOSED     CLOSED     =         -
HAND_OVER   DETACHED       -              -             -        -          -          -         -
DETACH      -              DETACHED       -             -        -          -          DETACHED  -
"""


@pytest.mark.parametrize(("event", "state", "follows"), pairs(TABLE))
def test_event_in_a_state_leads_where_the_table_says(event: str, state: str, follows: str) -> None:
    """An event that the state does not allow raises."""
    assert_leads_to(http1_states, event, state, follows)


def test_table_decides_every_state_and_every_event() -> None:
    """A state or an event that is added has to be decided here too."""
    assert_decided(http1_states, TABLE)


def test_state_changes_only_by_events() -> None:
    """No module sets a state of its own choice."""
    assert assert_changes_are_events(http1_states, "AWAITING_HEAD") >= 7
