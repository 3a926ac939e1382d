"""What a rule does with a request, made ready: hooks, transforms, and where it is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from albkit.clock import Clock
from albkit.model.actions import Action, FixedResponse, Forward, Hook, Redirect, is_hook
from albkit.model.rule import routing_action
from albkit.model.transforms import Transform
from albkit.policy.group_choice import GroupChoice
from albkit.policy.target_choice import TargetChoice
from albkit.policy.transforms import compile_transforms

__all__ = ("RoutePlan",)


class RoutePlan:
    """The actions of one rule.

    Args:
        actions: As configured.
        transforms: As configured.
        choices: Of every group, by name.
        clock: Chance.
    """

    __slots__ = ("answer", "groups", "hooks", "rewrite", "tunnel")

    def __init__(
        self, actions: Sequence[Action], transforms: Sequence[Transform], choices: Mapping[str, TargetChoice], clock: Clock
    ) -> None:
        self.hooks: tuple[Hook, ...] = tuple(action for action in actions if is_hook(action))  # type: ignore[misc]
        """The program's own actions, asked in their order before the routing action."""
        routing = routing_action(tuple(actions))
        self.groups = GroupChoice(routing, choices, clock) if isinstance(routing, Forward) else None
        """Where the request is forwarded to; `None` where it is answered."""
        self.tunnel = routing.tunnel if isinstance(routing, Forward) else None
        """How the rule's tunnels live; `None` where their target group says it."""
        self.answer: FixedResponse | Redirect | None = None if isinstance(routing, Forward) else routing
        self.rewrite = compile_transforms(transforms)
