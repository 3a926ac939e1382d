"""Every state of a connection before its first request with every event: what follows, or that it cannot happen."""

from __future__ import annotations

import pytest

from albkit.proxy.accept import preface_states
from tests.support.state_tables import assert_changes_are_events, assert_decided, assert_leads_to, pairs

TABLE = """
               ACCEPTED         AWAITING_HEADER  AWAITING_HELLO  HANDSHAKING  LINGERING  ENDED  HANDED_OVER
EXPECT_HEADER  AWAITING_HEADER  -                -               -            -          -      -
CLIENT_KNOWN   AWAITING_HELLO   AWAITING_HELLO   -               -            -          -      -
HELLO          -                -                HANDSHAKING     -            -          -      -
PLAIN_HTTP     -                -                LINGERING       -            -          -      -
HAND_OVER      -                -                HANDED_OVER     HANDED_OVER  -          -      -
END            ENDED            ENDED            ENDED           ENDED        ENDED      =      =
"""


@pytest.mark.parametrize(("event", "state", "follows"), pairs(TABLE))
def test_event_in_a_state_leads_where_the_table_says(event: str, state: str, follows: str) -> None:
    """An event that the state does not allow raises."""
    assert_leads_to(preface_states, event, state, follows)


def test_table_decides_every_state_and_every_event() -> None:
    """A state or an event that is added has to be decided here too."""
    assert_decided(preface_states, TABLE)


def test_state_changes_only_by_events() -> None:
    """No module sets a state of its own choice."""
    assert assert_changes_are_events(preface_states, "ACCEPTED") >= 7
