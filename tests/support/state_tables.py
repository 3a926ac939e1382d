"""Tables of states, as tests write them: one line per event, one column per state; "-" is a bug in the caller, "=" changes nothing."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

__all__ = ("assert_changes_are_events", "assert_decided", "assert_leads_to", "pairs")


def pairs(table: str) -> list[tuple[str, str, str]]:
    """Every event with every state, and what follows."""
    states, *rows = (line.split() for line in table.strip().splitlines())
    return [(event, state, follows) for event, *row in rows for state, follows in zip(states, row, strict=True)]


def assert_leads_to(module: ModuleType, event: str, state: str, follows: str) -> None:
    """The event leads from the state to the one that follows, or raises."""
    row, before = getattr(module, event), getattr(module, state)
    if follows == "-":
        with pytest.raises(KeyError):
            row[before]
    else:
        assert row[before] == (before if follows == "=" else getattr(module, follows))


def assert_decided(module: ModuleType, table: str) -> None:
    """The table has every state and every event of the module."""
    states, *rows = (line.split() for line in table.strip().splitlines())
    names = [name for name in module.__all__ if name != "State"]
    assert sorted(states + [row[0] for row in rows]) == sorted(names)
    assert {getattr(module, name) for name in states} == set(module.State.__args__)


def assert_changes_are_events(module: ModuleType, first: str) -> int:
    """Every assignment to a state in the module's folder looks the state up in an event, but the first. Returns how many do."""
    changes = 0
    for path in Path(module.__file__ or "").parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
            if not any(isinstance(one, ast.Attribute) and one.attr in ("state", "_state") for one in targets):
                continue
            text = ast.unparse(node)
            if isinstance(node, ast.AnnAssign):  # In __init__.
                assert text.endswith(f" = {first}")
                continue
            assert isinstance(node, ast.Assign)
            assert isinstance(node.value, ast.Subscript), text
            assert isinstance(node.value.value, ast.Name), text
            assert isinstance(getattr(module, node.value.value.id), dict), text
            changes += 1
    return changes
