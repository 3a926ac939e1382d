"""The compiled actions of a rule: hooks, transforms, and either target groups or an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from albkit.clock import Clock
from albkit.model.actions import Action, Hook, is_hook
from albkit.model.actions.action import Answer, AnsweringAction
from albkit.model.actions.forward import Forward
from albkit.model.rule import routing_action
from albkit.model.transforms import Transform
from albkit.policy.group_choice import GroupChoice
from albkit.policy.target_choice import TargetChoice
from albkit.policy.transforms import compile_transforms

__all__ = ("RoutePlan",)


class RoutePlan:
    """The compiled actions of one rule.

    Args:
        actions: The configured actions.
        transforms: The configured transforms.
        choices: The target choice of every group, by the name of the group.
        clock: The source of time and random numbers.
    """

    __slots__ = ("answer", "groups", "hooks", "rewrite", "routing", "tunnel")

    def __init__(
        self, actions: Sequence[Action], transforms: Sequence[Transform], choices: Mapping[str, TargetChoice], clock: Clock
    ) -> None:
        self.hooks: tuple[Hook, ...] = tuple(action for action in actions if is_hook(action))
        """The program's own actions, which are called in order before the routing action."""
        routing = self.routing = routing_action(tuple(actions))
        self.answer: Answer | None = routing.compile() if isinstance(routing, AnsweringAction) else None
        """Answers the request; `None` if a target does."""
        self.groups = GroupChoice(routing, choices, clock) if isinstance(routing, Forward) else None
        """Chooses the group to forward to; `None` if the load balancer answers the request itself."""
        self.tunnel = routing.tunnel if isinstance(routing, Forward) else None
        """The policy of the rule's tunnels; `None` for that of their target group."""
        self.rewrite = compile_transforms(transforms)
        """Rewrites the request before it is forwarded; `None` if the rule has no transforms."""
