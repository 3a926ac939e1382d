from __future__ import annotations

from typing import Any

import attrs
import pytest

from albkit.errors import ConfigurationError
from albkit.model.validation import Faults, as_tuple


@pytest.mark.parametrize(
    ("value", "items"),
    [
        pytest.param("one", ("one",), id="one text"),
        pytest.param(7, (7,), id="one number"),
        pytest.param(["a", "b"], ("a", "b"), id="list"),
        pytest.param(("a", "b"), ("a", "b"), id="tuple"),
        pytest.param({"a"}, ("a",), id="set"),
        pytest.param(frozenset(("a",)), ("a",), id="frozenset"),
        pytest.param([], (), id="nothing"),
        pytest.param(None, (), id="None"),
        pytest.param({"a": 1}, ({"a": 1},), id="a mapping is one item"),
    ],
)
def test_as_tuple_takes_one_item_or_several(value: Any, items: tuple[Any, ...]) -> None:
    """What means one or many becomes a tuple of them."""
    assert as_tuple(value) == items


def test_faults_none_noted_raises_nothing() -> None:
    """An object without a fault is built."""
    Faults("Rule").raise_if_any()


def test_faults_noted_are_all_raised_with_their_paths() -> None:
    """Order is kept, parts come below their path, and items of a part need no dot."""
    faults = Faults("Listener")
    faults.add("port", "wrong")
    faults.add("", "wrong as a whole")
    faults.inside("rules[2]", ConfigurationError("Rule", ["conditions[0]: wrong", "[1]: wrong"]))
    with pytest.raises(ConfigurationError) as raised:
        faults.raise_if_any()
    assert raised.value.faults == ("port: wrong", "wrong as a whole", "rules[2].conditions[0]: wrong", "rules[2][1]: wrong")
    assert raised.value.subject == "Listener"


def test_faults_of_attributes_come_from_the_table() -> None:
    """Each named setting of an object is checked, and each wrong one gets a fault under its name."""

    @attrs.frozen
    class Rule:
        priority: int

    faults = Faults("Rule")
    faults.attribute(Rule(0), "priority")
    faults.instances("items", ["a", 1, "b", 2], str, "text")
    with pytest.raises(ConfigurationError) as raised:
        faults.raise_if_any()
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["priority", "items[1]", "items[3]"]
