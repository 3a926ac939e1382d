"""Targets that can stand in for each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attrs

from albkit.errors import ConfigurationError
from albkit.model.attributes import default
from albkit.model.names import fault_of_name
from albkit.model.stickiness import LbCookie
from albkit.model.target import Target, target_from
from albkit.model.validation import Faults, as_tuple

__all__ = ("TargetGroup",)


def _targets(value: Any) -> tuple[Any, ...]:
    """Targets where the forms can be read; what cannot be read stays as it is, for validation to name it with its place."""
    return tuple(_target_or_raw(item) for item in as_tuple(value))


def _target_or_raw(item: Any) -> Any:
    try:
        return target_from(item)
    except ConfigurationError:
        return item


@attrs.frozen
class TargetGroup:
    """A named group of targets, as ALB's target group (alb-reference 1.8).

    Args:
        name: 1 to 32 letters, digits and hyphens; unique within a load balancer.
        targets: One target or a list: `Target` objects, `"host:port"`, `"http://host[:port]"` or `"unix:/path"`. May be empty: requests
            are then answered 503.
        stickiness: `LbCookie(...)`, or `None` for none.
        algorithm: `"round_robin"`.
        protocol: `"HTTP"`, what is spoken with the targets.

    Raises:
        ConfigurationError: listing every fault of its own and of the targets given as text.
    """

    name: str
    targets: tuple[Target, ...] = attrs.field(default=(), converter=_targets)
    stickiness: LbCookie | None = attrs.field(default=None, kw_only=True)
    algorithm: str = attrs.field(default=cast("str", default("TargetGroup", "algorithm")), kw_only=True)
    protocol: str = attrs.field(default=cast("str", default("TargetGroup", "protocol")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("TargetGroup")
        wrong = fault_of_name(self.name)
        if wrong:
            faults.add("name", wrong)
        self._check_targets(faults, self.targets)
        if self.stickiness is not None and not isinstance(self.stickiness, LbCookie):
            faults.add("stickiness", f"{self.stickiness!r} is not LbCookie(...) or None")
        faults.attribute(self, "algorithm", "protocol")
        faults.raise_if_any()

    @staticmethod
    def _check_targets(faults: Faults, targets: Sequence[object]) -> None:
        seen: dict[Target, int] = {}
        for index, item in enumerate(targets):
            try:
                target = target_from(item)
            except ConfigurationError as error:
                for fault in error.faults:
                    faults.add(f"targets[{index}]", fault)
                continue
            first = seen.setdefault(target, index)
            if first != index:
                faults.add(f"targets[{index}]", f"{target} is registered already, as targets[{first}]")
