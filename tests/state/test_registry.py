from __future__ import annotations

import pytest

import albkit as alb
from albkit.state.registry import Registry


def test_registry_finds_a_group_by_its_name() -> None:
    """One state per group, always the same one."""
    registry = Registry([alb.TargetGroup("api", "a:80"), alb.TargetGroup("web")])
    assert registry.group("api").group.name == "api"
    assert registry.group("api") is registry.group("api")
    assert registry.groups == (registry.group("api"), registry.group("web"))


def test_registry_asked_for_an_unknown_group_raises() -> None:
    """A group that nobody sends to is a KeyError."""
    with pytest.raises(KeyError):
        Registry([]).group("api")
