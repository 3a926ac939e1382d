"""Every state of a client connection with every event: what follows, or that it cannot happen."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from albkit.proxy.accept import preface_states
from albkit.proxy.client import http1_states

# One line per event, one column per state; "-" is a bug in the caller, "=" leaves the state as it is.
HTTP1 = """
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
DETACH      -              DETACHED       -             -        -          -          DETACHED  -
"""
PREFACE = """
               ACCEPTED         AWAITING_HEADER  AWAITING_HELLO  HANDSHAKING  LINGERING  ENDED  HANDED_OVER
EXPECT_HEADER  AWAITING_HEADER  -                -               -            -          -      -
CLIENT_KNOWN   AWAITING_HELLO   AWAITING_HELLO   -               -            -          -      -
HELLO          -                -                HANDSHAKING     -            -          -      -
PLAIN_HTTP     -                -                LINGERING       -            -          -      -
HAND_OVER      -                -                HANDED_OVER     HANDED_OVER  -          -      -
END            ENDED            ENDED            ENDED           ENDED        ENDED      =      =
"""
MODULES = {"http1": (http1_states, HTTP1), "preface": (preface_states, PREFACE)}


def pairs(kind: str) -> list[tuple[str, str, str, str]]:
    _, text = MODULES[kind]
    states, *rows = (line.split() for line in text.strip().splitlines())
    return [(kind, event, state, follows) for event, *row in rows for state, follows in zip(states, row, strict=True)]


@pytest.mark.parametrize(("kind", "event", "state", "follows"), pairs("http1") + pairs("preface"))
def test_event_in_a_state_leads_where_the_table_says(kind: str, event: str, state: str, follows: str) -> None:
    """An event that the state does not allow raises."""
    module, _ = MODULES[kind]
    row, before = getattr(module, event), getattr(module, state)
    if follows == "-":
        with pytest.raises(KeyError):
            row[before]
    else:
        assert row[before] == (before if follows == "=" else getattr(module, follows))


@pytest.mark.parametrize("kind", MODULES)
def test_table_decides_every_state_and_every_event(kind: str) -> None:
    """A state or an event that is added has to be decided here too."""
    module, text = MODULES[kind]
    states, *rows = (line.split() for line in text.strip().splitlines())
    names = [name for name in module.__all__ if name != "State"]
    assert sorted(states + [row[0] for row in rows]) == sorted(names)
    assert {getattr(module, name) for name in states} == set(module.State.__args__)


@pytest.mark.parametrize("folder", [Path(http1_states.__file__).parent, Path(preface_states.__file__).parent])
def test_state_changes_only_by_events(folder: Path) -> None:
    """Every assignment to a state looks it up in an event, but the first one."""
    changes = 0
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            if not any(isinstance(one, ast.Attribute) and one.attr in ("state", "_state") for one in targets):
                continue
            if isinstance(node, ast.AnnAssign):  # In __init__.
                assert ast.unparse(node).rpartition(" = ")[2] in ("AWAITING_HEAD", "ACCEPTED")
                continue
            assert isinstance(node, ast.Assign)
            event = node.value
            assert isinstance(event, ast.Subscript), ast.unparse(node)
            assert isinstance(event.value, ast.Name), ast.unparse(node)
            assert isinstance(getattr(http1_states, event.value.id, None) or getattr(preface_states, event.value.id), dict)
            changes += 1
    assert changes >= 7
