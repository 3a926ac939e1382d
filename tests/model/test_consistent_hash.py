from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.message import RequestHead


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def _key(request: RequestHead) -> str | None:
    return request.host


async def _async_key(request: RequestHead) -> str | None:
    return request.host


def test_consistent_hash_has_defaults() -> None:
    """No key of the program's own, and a quarter more than the mean."""
    assert (alb.ConsistentHash().key, alb.ConsistentHash().load_bound) == (None, 1.25)


@pytest.mark.parametrize("bound", [1.0001, 1.25, 2, 100, 100.0, None], ids=repr)
def test_consistent_hash_takes_bounds_above_1_to_100(bound: float | None) -> None:
    """Whole numbers too, and `None` for no bound."""
    assert alb.ConsistentHash(load_bound=bound).load_bound == bound


@pytest.mark.parametrize("bound", [1, 1.0, 0.5, 0, -1, 100.1, 101, float("inf"), float("nan"), "1.25", True], ids=repr)
def test_consistent_hash_of_another_bound_is_refused(bound: Any) -> None:
    """With 1 or less not all requests would find somebody."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.ConsistentHash(load_bound=bound)
    assert _paths(raised.value) == ["load_bound"]


@pytest.mark.parametrize("key", ["path", 7, _async_key, RequestHead, object(), b""], ids=range(6))
def test_consistent_hash_of_a_key_that_is_none_is_refused(key: Any) -> None:
    """A function that gives text at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.ConsistentHash(key=key)
    assert _paths(raised.value) == ["key"]


def test_consistent_hash_with_every_fault_tells_them_all() -> None:
    """Both at once, with their subject."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.ConsistentHash(key="path", load_bound=0)  # type: ignore[arg-type]
    assert (raised.value.subject, _paths(raised.value)) == ("ConsistentHash", ["key", "load_bound"])


def test_consistent_hash_is_a_value() -> None:
    """Equal settings are equal groups: applying the same one again changes nothing."""
    one = alb.ConsistentHash(key=_key, load_bound=2)
    assert {one, alb.ConsistentHash(key=_key, load_bound=2)} == {one}
    assert one != alb.ConsistentHash(load_bound=2)
    assert alb.TargetGroup("api", algorithm=one) == alb.TargetGroup("api", algorithm=alb.ConsistentHash(key=_key, load_bound=2))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.load_bound = 3  # type: ignore[misc]


def test_consistent_hash_is_given_by_name_only() -> None:
    """Nobody has to remember an order."""
    with pytest.raises(TypeError):
        alb.ConsistentHash(_key)  # type: ignore[call-arg]


def test_consistent_hash_as_a_class_is_no_algorithm() -> None:
    """An object of it is."""
    assert alb.TargetGroup("api", algorithm=alb.ConsistentHash()).algorithm == alb.ConsistentHash()
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", algorithm=alb.ConsistentHash)
    assert _paths(raised.value) == ["algorithm"]
