"""The rules of one listener, compiled: the first that holds wins, else the default action (alb-reference 2.5)."""

from __future__ import annotations

from collections.abc import Mapping

from albkit.model.actions import Action, FixedResponse
from albkit.model.listener import Listener
from albkit.model.message import RequestHead
from albkit.policy.conditions import Holds, compile_condition
from albkit.policy.target_choice import TargetChoice

__all__ = ("CompiledRule", "RuleTable")


class CompiledRule:
    """One rule ready to be tried."""

    __slots__ = ("action", "conditions", "position", "priority")

    def __init__(self, priority: int, position: int, conditions: tuple[Holds, ...], action: TargetChoice | FixedResponse) -> None:
        self.priority = priority
        self.position = position
        """How many rules have been evaluated when this one has."""
        self.conditions = conditions
        self.action = action


class RuleTable:
    """Decides for one request which rule applies.

    Args:
        listener: The listener whose rules these are.
        choices: Of every group that they forward to, by name.
    """

    __slots__ = ("_default", "_rules")

    def __init__(self, listener: Listener, choices: Mapping[str, TargetChoice]) -> None:
        ordered = sorted(listener.rules, key=lambda rule: rule.priority)
        self._rules = tuple(
            CompiledRule(rule.priority, position, tuple(map(compile_condition, rule.conditions)), _prepared(rule.action, choices))
            for position, rule in enumerate(ordered, 1)
        )
        self._default = CompiledRule(0, len(ordered), (), _prepared(listener.default_action, choices))

    def match(self, request: RequestHead) -> CompiledRule:
        """The first rule by priority whose conditions all hold, else the default rule (priority 0)."""
        for rule in self._rules:
            for holds in rule.conditions:
                if not holds(request):
                    break
            else:
                return rule
        return self._default


def _prepared(action: Action, choices: Mapping[str, TargetChoice]) -> TargetChoice | FixedResponse:
    return action if isinstance(action, FixedResponse) else choices[action.group.name]
