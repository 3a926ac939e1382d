"""Conditions and actions in words, for explanations and rule tables.

Built-in ones describe themselves. This module adds those of the program's own, of which only the name is known.
"""

from __future__ import annotations

from albkit.model.actions import Action
from albkit.model.actions.action import RoutingAction
from albkit.model.conditions import Condition
from albkit.model.conditions.condition import BuiltInCondition

__all__ = ("describe_action", "describe_condition")


def describe_condition(condition: Condition) -> str:
    """Return what a condition requires."""
    return condition.describe() if isinstance(condition, BuiltInCondition) else f"{_name(condition)}() holds"


def describe_action(action: Action) -> str:
    """Return what an action does."""
    return action.describe() if isinstance(action, RoutingAction) else f"ask {_name(action)}()"


def _name(own: object) -> str:
    """Return the name of a callable of the program's own."""
    try:
        name = getattr(own, "__name__", None)
    except Exception:  # noqa: BLE001 - its attributes may raise anything
        name = None
    return name if type(name) is str else type(own).__name__
