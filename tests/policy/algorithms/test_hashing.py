from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead
from albkit.policy.algorithms import algorithm_for
from albkit.policy.algorithms.consistent_hashing import ConsistentHashing, request_target
from albkit.policy.algorithms.hashing import Hashing
from albkit.policy.algorithms.ip_hash import client_address
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock, first_in_order

_CLOCK = first_in_order()


def _no_chance() -> float:
    raise AssertionError("where there is a key there is no chance")


def _path(request: RequestHead) -> str | None:
    return request.path


def _no_key(_: RequestHead) -> str | None:
    return None


def _hashing(key: Any, load_bound: float | None = None) -> ConsistentHashing:
    return ConsistentHashing(_CLOCK, alb.ConsistentHash(key=key, load_bound=load_bound))


class _Group:
    """Targets and the algorithm, which is told of them as a target choice tells it."""

    def __init__(self, algorithm: Hashing, weights: Sequence[int]) -> None:
        self.algorithm = algorithm
        self.members = [TargetState(alb.Target(f"t{number}", 80, weight=weight)) for number, weight in enumerate(weights)]
        self.candidates = list(self.members)
        for member in self.members:
            algorithm.joined(member)

    def pick(self, key: object, candidates: list[TargetState] | None = None, chance: Any = _no_chance) -> TargetState | None:
        return self.algorithm.choose_for(request_for(f"/{key}"), self.candidates if candidates is None else candidates, chance)

    def start(self, member: TargetState | None) -> TargetState:
        assert member is not None
        member.outstanding += 1
        self.algorithm.started(member)
        return member

    def finish(self, member: TargetState) -> None:
        member.outstanding -= 1
        self.algorithm.finished(member)

    def leave(self, member: TargetState) -> None:
        self.candidates.remove(member)
        self.algorithm.left(member)

    def join(self, member: TargetState) -> None:
        self.candidates.append(member)
        self.algorithm.joined(member)

    def bound_of(self, member: TargetState, bound: float) -> int:
        """How many requests the target may have once there is one more, step by step."""
        weights = sum(one.weight for one in self.candidates)
        share = member.weight / weights if weights else 1 / len(self.candidates)
        return ceil(bound * (sum(one.outstanding for one in self.candidates) + 1) * share)


# Keys


def test_client_address_is_the_address_without_its_port() -> None:
    """Every connection of a client has the same key."""
    request = request_for(client="2001:db8::1")
    assert client_address(request) == "2001:db8::1"
    request.client.port = 1
    assert client_address(request) == "2001:db8::1"


@pytest.mark.parametrize(
    "other", [request_for("/b?q=1"), request_for("/a?q=2"), request_for("/a"), request_for("/a?q=1", host="b.example")], ids=range(4)
)
def test_request_target_is_another_one_with_another_host_path_or_query(other: RequestHead) -> None:
    """What a cache on the target would keep apart is kept apart here; method and fields say nothing."""
    request = request_for("/a?q=1")
    assert request_target(request) != request_target(other)
    assert request_target(request) == request_target(request_for("/a?q=1", method="POST", fields=[("Accept", "*/*")], client="192.0.2.9"))


@pytest.mark.parametrize("setting", ["ip_hash", "consistent_hash", alb.ConsistentHash()], ids=str)
def test_algorithm_by_name_asks_for_its_own_part_of_a_request(setting: Any) -> None:
    """Address or request target: the other one moves nothing."""
    group = _Group(algorithm_for(setting, _CLOCK), [1] * 8)
    by_client = {group.algorithm.choose_for(request_for(client=f"10.0.0.{n}"), group.candidates, _no_chance) for n in range(200)}
    by_path = {group.algorithm.choose_for(request_for(f"/{n}"), group.candidates, _no_chance) for n in range(200)}
    assert (len(by_client), len(by_path)) == ((8, 1) if setting == "ip_hash" else (1, 8))


def test_ip_hash_has_no_bound() -> None:
    """A client stays with its target however much that has to do."""
    group = _Group(algorithm_for("ip_hash", _CLOCK), [1] * 4)
    assert len({group.start(group.pick(number)) for number in range(100)}) == 1


def test_consistent_hash_by_name_has_the_default_bound() -> None:
    """1.25 times the mean, as ConsistentHash()."""
    for setting in ("consistent_hash", alb.ConsistentHash()):
        group = _Group(algorithm_for(setting, _CLOCK), [1] * 4)
        for _ in range(400):
            group.start(group.pick("hot"))
        assert max(member.outstanding for member in group.members) == 125


def test_consistent_hash_takes_a_key_and_a_bound_of_the_programs_own() -> None:
    """The key is the program's, and so is the bound, `None` among them."""
    tenant = alb.ConsistentHash(key=lambda request: request.headers.get("X-Tenant"), load_bound=None)
    group = _Group(algorithm_for(tenant, _CLOCK), [1] * 8)
    picks = [
        group.algorithm.choose_for(request_for(f"/{number}", fields=[("X-Tenant", f"t{number % 20}")]), group.candidates, _no_chance)
        for number in range(200)
    ]
    assert all(pick is picks[number % 20] for number, pick in enumerate(picks))
    assert len(set(picks)) > 4
    group = _Group(algorithm_for(alb.ConsistentHash(load_bound=2), _CLOCK), [1] * 4)
    for _ in range(400):
        group.start(group.pick("hot"))
    assert max(member.outstanding for member in group.members) == 200


# Without a bound


@pytest.mark.parametrize("weights", [[1] * 5, [1, 2, 3, 4], [5, 0, 5], [0, 0, 0]], ids=str)
def test_hashing_gives_each_target_its_share_of_the_keys(weights: list[int]) -> None:
    """By weight, within five standard deviations of keys and of the ring; and the same key the same target, every time."""
    group = _Group(_hashing(_path), weights)
    picks = [group.pick(number) for number in range(4000)]
    assert picks == [group.pick(number) for number in range(4000)]
    counts = Counter(picks)
    shares = weights if any(weights) else [1] * len(weights)
    for member, weight in zip(group.members, shares, strict=True):
        expected = 4000 * weight / sum(shares)
        points = ceil(160 * weight / max(shares))
        assert abs(counts[member] - expected) <= (5 * sqrt(expected + expected**2 / points) if weight else 0)


def test_hashing_of_a_request_without_a_key_goes_anywhere_by_weight() -> None:
    """`None` binds a request to nobody."""
    group = _Group(_hashing(_no_key), [1, 1, 1, 1, 0])
    chance = random.Random(5).random
    without_key = [group.pick("same", chance=chance) for _ in range(4000)]
    without_request = [group.algorithm.choose(group.candidates, chance) for _ in range(4000)]
    for picks in (without_key, without_request):
        counts = Counter(picks)
        assert all(abs(counts[member] - 1000) <= 5 * sqrt(1000 + 1000**2 / 160) for member in group.members[:4])
        assert counts[group.members[4]] == 0


@pytest.mark.parametrize("bound", [None, 1.25])
def test_hashing_on_a_second_try_goes_to_the_next_on_the_ring(bound: float | None) -> None:
    """Requests with one key agree on the second target as well: it is who has the key once the first has left."""
    group = _Group(_hashing(_path, bound), [2, 2, 1, 1])
    for number in range(50):
        first = group.pick(number)
        assert first is not None
        second = group.pick(number, [member for member in group.candidates if member is not first])
        group.leave(first)
        assert group.pick(number) is second
        group.join(first)
        assert group.pick(number) is first


def test_hashing_on_a_second_try_takes_a_target_of_weight_0_only_where_there_is_no_other() -> None:
    """An answer of a target that should have nothing is better than none."""
    group = _Group(_hashing(_path), [1, 0, 1])
    first, resting, third = group.members
    assert {group.pick(number, [resting, third]) for number in range(50)} == {third}
    assert {group.pick(number, [resting]) for number in range(50)} == {resting}
    assert group.pick(1, [first]) is first
    assert group.pick(1, []) is None


@pytest.mark.parametrize("count", [1, 4, 9])
def test_hashing_moves_only_the_newcomers_keys(count: int) -> None:
    """Through the algorithm as through the ring: a target that comes takes its keys, and when it leaves they are back."""
    group = _Group(_hashing(_path), [1] * (count + 1))
    new = group.members[-1]
    group.leave(new)
    before = [group.pick(number) for number in range(2000)]
    group.join(new)
    after = [group.pick(number) for number in range(2000)]
    assert {owner for former, owner in zip(before, after, strict=True) if former is not owner} == {new}
    group.leave(new)
    assert [group.pick(number) for number in range(2000)] == before


def test_hashing_takes_up_a_weight_that_changes() -> None:
    """A target that is told to have left and joined again has its keys by its weight of then."""
    group = _Group(_hashing(_path), [1, 1])
    assert len({group.pick(number) for number in range(100)}) == 2
    changed = group.members[0]
    changed.weight = 0
    group.leave(changed)
    group.join(changed)
    assert {group.pick(number) for number in range(100)} == {group.members[1]}


# With a bound


def test_hashing_keeps_all_requests_of_one_key_on_one_target_while_that_accepts() -> None:
    """The bound moves nothing that it need not move."""
    group = _Group(_hashing(_path, 1.25), [1] * 5)
    running: deque[TargetState] = deque()
    chance = random.Random(8)
    home = {key: group.pick(key) for key in range(100)}
    for _ in range(2000):
        key = chance.randrange(100)
        owner = home[key]
        assert owner is not None
        has_room = owner.outstanding < group.bound_of(owner, 1.25)
        picked = group.pick(key)
        assert (picked is owner) == has_room
        running.append(group.start(picked))
        if len(running) > 40:
            group.finish(running.popleft())


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    st.sampled_from([1.01, 1.25, 2.0, 100.0]),
    st.lists(st.tuples(st.sampled_from(["start", "start", "start", "finish", "flap", "leave", "join", "reweigh"]), st.integers(0, 40))),
)
def test_hashing_exceeds_no_bound_and_always_has_somebody(weights: list[int], bound: float, events: list[tuple[str, int]]) -> None:
    """Whatever starts, finishes, comes, goes and changes its weight: who is chosen is within the bound with the new request."""
    group = _Group(_hashing(_path, bound), weights)
    running: list[TargetState] = []
    for event, number in events:
        member = group.members[number % len(weights)]
        if event == "start":
            running.append(group.start(group.pick(number % 3)))
        elif event == "finish" and running:
            group.finish(running.pop(number % len(running)))
        elif event == "join" and member not in group.candidates:
            group.join(member)
        elif event == "leave" and member in group.candidates and len(group.candidates) > 1:
            group.leave(member)
        elif event in ("flap", "reweigh") and member in group.candidates:
            group.leave(member)
            member.weight = number % 4 if event == "reweigh" else member.weight
            group.join(member)
        chosen = group.pick(number)
        assert chosen is not None
        assert chosen.outstanding + 1 <= group.bound_of(chosen, bound)


@pytest.mark.parametrize("weights", [[1] * 4, [4, 2, 1, 1], [0, 0, 0, 0], [3, 0, 1, 4]], ids=str)
def test_hashing_spreads_one_hot_key_in_proportion_to_the_weights(weights: list[int]) -> None:
    """However hot a key is no target has more than 1.25 times its share, and it fills one target after the other."""
    group = _Group(_hashing(_path, 1.25), weights)
    shares = weights if any(weights) else [1] * len(weights)
    for total in range(1, 401):
        group.start(group.pick("hot"))
        for member, weight in zip(group.members, shares, strict=True):
            assert member.outstanding <= ceil(1.25 * total * weight / sum(shares))
    assert group.members[0].outstanding > 0
    assert sum(member.outstanding for member in group.members) == 400


def test_hashing_hands_what_is_too_much_on_to_the_next_on_the_ring() -> None:
    """Not to anyone: the overflow of a key has a home of its own, so that one more cache gets warm and not all."""
    group = _Group(_hashing(_path, 1.25), [1] * 10)
    order: list[TargetState] = []
    left = list(group.candidates)
    while left:
        nearest = group.pick("hot", left) if len(left) < 10 else group.pick("hot")
        assert nearest is not None
        order.append(nearest)
        left.remove(nearest)
    for _ in range(400):
        group.start(group.pick("hot"))
    counts = [member.outstanding for member in order]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == ceil(1.25 * 400 / 10)


def test_hashing_counts_what_a_target_had_when_it_came() -> None:
    """A target that comes back with requests under way has those; one that left takes its own along."""
    group = _Group(_hashing(_path, 1.25), [1, 1])
    first = group.start(group.pick("hot"))
    other = next(member for member in group.members if member is not first)
    group.leave(first)
    group.pick("hot")
    first.outstanding += 9
    group.finish(first)
    group.join(first)
    for _ in range(4):
        assert group.start(group.pick("hot")) is other
    assert group.algorithm._outstanding == 13


def test_hashing_choosing_with_a_bound_asks_few_targets() -> None:
    """Among a thousand with the mean outstanding each, a choice goes past no more than a few that are full."""
    group = _Group(_hashing(_path, 1.25), [1] * 1000)
    chance = random.Random(9)
    for _ in range(2000):
        group.start(group.pick(chance.random()))
    asked = 0
    has_room = group.algorithm._accepts

    def counted(target: TargetState) -> bool:
        nonlocal asked
        asked += 1
        return has_room(target)

    group.algorithm._accepts = counted  # type: ignore[method-assign]
    for _ in range(200):
        group.pick(chance.random())
    assert asked < 200 * 10


# Keys that fail


@pytest.mark.parametrize(
    "key", [lambda request: request.headers["X-Missing"], lambda _: 7, lambda _: b"bytes", lambda _: ("a",)], ids=range(4)
)
def test_consistent_hash_key_that_fails_costs_its_own_exchange_a_500(key: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A key that raises, or is no text, is a failure of a hook; the next request is none the worse."""
    group = alb.TargetGroup("api", ["a:80", "b:80"], algorithm=alb.ConsistentHash(key=key))
    choice = TargetChoice(TargetGroupState(group), FakeClock())
    with pytest.raises(Failure) as raised:
        choice.pick(request_for())
    assert raised.value.kind is FailureKind.HOOK_FAILED
    assert "group api" in caplog.text
