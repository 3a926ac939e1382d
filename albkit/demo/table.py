"""Formats a listener's rules as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from albkit.model.actions import Action
from albkit.model.actions.forward import Forward
from albkit.model.listener import Listener
from albkit.policy.describe import describe_action, describe_condition

__all__ = ("aligned", "rules_table")


def rules_table(listener: Listener, names: Mapping[str, str]) -> list[str]:
    """One line per rule, in the order of evaluation, below a heading.

    Args:
        listener: The listener.
        names: The names of targets by address; a target without one is shown by its address.
    """
    rules = sorted(listener.rules, key=lambda rule: rule.priority)
    rows = [
        ("PRIORITY", "CONDITIONS", "ACTION"),
        *((str(rule.priority), " and ".join(map(describe_condition, rule.conditions)), _action(rule.action, names)) for rule in rules),
        ("default", "everything else", _action(listener.default_action, names)),
    ]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as lines, with each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _action(action: Action, names: Mapping[str, str]) -> str:
    if not isinstance(action, Forward):
        return describe_action(action)
    group = action.group
    members = ", ".join(names.get(str(target), str(target)) for target in group.targets) or "no targets"
    how = "sticky by cookie" if group.stickiness is not None else str(group.algorithm).replace("_", " ")
    details = f"{members}; {how}" if len(group.targets) > 1 else members
    return f"{describe_action(action)} ({details})"
