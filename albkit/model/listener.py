"""A door for clients, with its rules."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.actions import Action
from albkit.model.attributes import default
from albkit.model.names import fault_of_name
from albkit.model.rule import Rule, check_actions
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults, as_tuple

__all__ = ("Listener",)


@attrs.frozen
class Listener:
    """Listens on a port and decides by its rules where each request goes (alb-reference 1.3).

    Args:
        port: 0 to 65535; 0 takes a free port, which `LoadBalancer.listeners` then tells.
        default_actions: What is done with a request that no rule matches: `Forward(...)` or `FixedResponse(...)`.
        rules: Rules, each with a priority of its own.
        name: 1 to 32 letters, digits and hyphens, unique within the load balancer; may be left out.
        host: The local address to listen on; `None` (the default) for all, IPv4 and IPv6.
        protocol: `"HTTP"`.

    Raises:
        ConfigurationError: listing every fault.
    """

    port: int
    default_actions: tuple[Action, ...] = attrs.field(converter=as_tuple)
    rules: tuple[Rule, ...] = attrs.field(default=(), converter=as_tuple)
    name: str | None = attrs.field(default=None, kw_only=True)
    host: str | None = attrs.field(default=None, kw_only=True)
    protocol: str = attrs.field(default=cast("str", default("Listener", "protocol")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Listener")
        faults.attribute(self, "port", "protocol")
        check_actions(faults, "default_actions", self.default_actions)
        faults.instances("rules", self.rules, Rule, "a Rule")
        seen: dict[int, int] = {}
        for index, rule in enumerate(self.rules):
            if isinstance(rule, Rule):
                first = seen.setdefault(rule.priority, index)
                if first != index:
                    faults.add(f"rules[{index}].priority", f"{rule.priority} is in use already, by rules[{first}]")
        if self.name is not None:
            wrong = fault_of_name(self.name)
            if wrong:
                faults.add("name", wrong)
        if self.host is not None and (not isinstance(self.host, str) or not self.host):
            faults.add("host", f"{self.host!r} is not an address; give one, or None for all")
        faults.raise_if_any()

    @property
    def default_action(self) -> Action:
        """What is done with a request that no rule matches."""
        return self.default_actions[-1]

    @property
    def groups(self) -> tuple[TargetGroup, ...]:
        """Every target group that a rule or the default action may send to, each once, in order of appearance."""
        from_rules = [action for rule in self.rules for action in rule.actions]
        found = [action.group for action in (*self.default_actions, *from_rules) if hasattr(action, "group")]
        return tuple(dict.fromkeys(found))
