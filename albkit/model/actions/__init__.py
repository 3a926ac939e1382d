"""What a rule can do with a request: one file for each kind of action (docs/alb.md 4).

`ACTIONS` lists the built-in ones, which are the routing actions. Any `async` callable in front of the routing action is an action as well
(`albkit.extensions.Action`); inside albkit such a callable is called a hook.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeGuard

from albkit.model.actions.action import RoutingAction
from albkit.model.actions.fixed_response import FixedResponse
from albkit.model.actions.forward import Forward
from albkit.model.actions.redirect import Redirect
from albkit.model.message import RequestHead

__all__ = ("ACTIONS", "Action", "Hook", "is_hook")

ACTIONS: tuple[type[RoutingAction], ...] = (
    FixedResponse,
    Forward,
    Redirect,
)
"""The routing actions. CONTRIBUTING.md says what a new one needs."""

Hook = Callable[[RequestHead], Awaitable[Any]]
Action = RoutingAction | Hook


def is_hook(action: object) -> TypeGuard[Hook]:
    """Return whether an action is a callable of the program's own."""
    return callable(action) and not isinstance(action, ACTIONS) and not isinstance(action, type)
