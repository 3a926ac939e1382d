"""A door for clients, with its rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import attrs

from albkit.model.actions import Action, FixedResponse, Forward, Redirect
from albkit.model.attributes import default
from albkit.model.names import fault_of_name
from albkit.model.response_headers import fault_of_response_header
from albkit.model.rule import Rule, check_actions, routing_action
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults, as_tuple

__all__ = ("Listener",)


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else as_tuple(value)


@attrs.frozen
class Listener:
    """Listens on a port and decides by its rules where each request goes (alb-reference 1.3).

    Args:
        port: 0 to 65535; 0 takes a free port, which `LoadBalancer.listeners` then tells.
        default_actions: What is done with a request that no rule matches: `Forward(...)`, `Redirect(...)` or
            `FixedResponse(...)`, behind any `async` callables that may answer.
        rules: Rules, each with a priority of its own.
        name: 1 to 32 letters, digits and hyphens, unique within the load balancer; may be left out.
        host: The local address to listen on; `None` (the default) for all, IPv4 and IPv6.
        protocol: `"HTTP"`.
        response_headers: Fields by name that every response of this listener carries, whatever the target sent (alb-reference 1.3);
            `{"Server": None}` leaves out the load balancer's own Server field.

    Raises:
        ConfigurationError: listing every fault.
    """

    port: int
    default_actions: tuple[Action, ...] = attrs.field(converter=as_tuple)
    rules: tuple[Rule, ...] = attrs.field(default=(), converter=as_tuple)
    name: str | None = attrs.field(default=None, kw_only=True)
    host: str | None = attrs.field(default=None, kw_only=True)
    protocol: str = attrs.field(default=cast("str", default("Listener", "protocol")), kw_only=True)
    response_headers: tuple[tuple[str, str | None], ...] = attrs.field(default=(), converter=_pairs, kw_only=True)

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
        self._check_response_headers(faults)
        faults.raise_if_any()

    def _check_response_headers(self, faults: Faults) -> None:
        seen: set[str] = set()
        for index, item in enumerate(self.response_headers):
            if not isinstance(item, tuple) or len(item) != 2:
                faults.add(f"response_headers[{index}]", f"{item!r} is not a name and a value; give a mapping of fields")
                continue
            name, value = item
            wrong = fault_of_response_header(name, value)
            if not wrong and name.lower() in seen:
                wrong = "given already, in other letters"
            if wrong:
                faults.add(f"response_headers[{name!r}]", wrong)
            else:
                seen.add(name.lower())

    @property
    def default_action(self) -> Forward | FixedResponse | Redirect:
        """What is done with a request that no rule matches."""
        return routing_action(self.default_actions)

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The default action and those of the rules that send to a target group, in this order."""
        from_rules = [action for rule in self.rules for action in rule.actions]
        return tuple(action for action in (*self.default_actions, *from_rules) if isinstance(action, Forward))

    @property
    def groups(self) -> tuple[TargetGroup, ...]:
        """Every target group that a rule or the default action may send to, each once, in order of appearance."""
        return tuple(dict.fromkeys(group for forward in self.forwards for group, _ in forward.groups))
