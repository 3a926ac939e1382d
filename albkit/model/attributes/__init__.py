"""Every setting that is a number or one of a few words: its name, ALB's key, range, default, unit and meaning.

The classes of `albkit.model` take their defaults from this table and check their values against it; `docs/reference.md` is made from it. A
range is ALB's if it protects the user, and wider if ALB's limit only protects AWS.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from albkit.model.attributes import limits, listener, load_balancer, logs, rule, stickiness, target, target_group, tunnel
from albkit.model.attributes.attribute import Attribute

__all__ = ("ATTRIBUTES", "Attribute", "default", "fault")

_TABLES = (
    load_balancer.SETTINGS,
    limits.SETTINGS,
    listener.SETTINGS,
    logs.SETTINGS,
    rule.SETTINGS,
    target_group.SETTINGS,
    target.SETTINGS,
    stickiness.SETTINGS,
    tunnel.SETTINGS,
)

ATTRIBUTES: Final = {(attribute.owner, attribute.name): attribute for attribute in chain(*_TABLES)}
"""By the class and the name of the setting."""


def default(owner: str, name: str) -> object:
    """Return the default of a setting."""
    return ATTRIBUTES[owner, name].default


def fault(owner: str, name: str, value: object) -> str | None:
    """Say what is wrong with `value` for this setting and what would be right; `None` if it is valid."""
    attribute = ATTRIBUTES[owner, name]
    if attribute.choices:
        good = isinstance(value, str) and value in attribute.choices
        return None if good else f"{value!r} is not one of {attribute.range}"
    if isinstance(attribute.default, bool):
        return None if isinstance(value, bool) else f"{value!r} is neither True nor False"
    # True and False are integers for Python. NaN, the only number that differs from itself, would pass every comparison below.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return f"{value!r} is not a number; {attribute.range} {attribute.unit}".rstrip()
    # A setting without a unit is a count.
    if (attribute.whole or not attribute.unit) and not isinstance(value, int):
        return f"{value!r} is not a whole number; {attribute.range}"
    low, high = attribute.minimum, attribute.maximum
    if (low is not None and (value < low or (attribute.above_minimum and value == low))) or (high is not None and value > high):
        return f"{value!r} is out of range; {attribute.range} {attribute.unit}".rstrip()
    return None
