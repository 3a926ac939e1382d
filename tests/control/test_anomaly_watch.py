"""Targets that fail more than their peers: found, spared, taken back, and told of (docs/alb.md 5.2)."""

from __future__ import annotations

import contextlib
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit import events
from albkit.policy.target_choice import TargetChoice
from albkit.state.target import TargetState
from tests.policy.requests import request_for
from tests.support.balancing import Balancing, balancing, listener
from tests.support.clock import FakeClock
from tests.support.log_lines import about

pytestmark = pytest.mark.usefixtures("loop_guard")

NORMAL, ANOMALOUS = "normal", "anomalous"
ROUND = 5
"""Seconds between two comparisons."""
MITIGATION: dict[str, Any] = {"algorithm": "weighted_random", "anomaly_mitigation": "on"}


class House:
    """A load balancer whose targets answer in their heads, second by second."""

    def __init__(self, it: Balancing, clock: FakeClock, names: str, chance: random.Random) -> None:
        self.load_balancer = it.load_balancer
        self.it = it
        self.clock = clock
        self.chance = chance
        self.group = it.runtime.choices["group"].group.group
        self.names = {str(target): name for target, name in zip(self.group.fixed_targets, names, strict=True)}
        self.told: list[events.Event] = []
        self.load_balancer.subscribe(self.told.append)

    @property
    def choice(self) -> TargetChoice:
        return self.it.runtime.choices["group"]

    def member(self, name: str) -> TargetState:
        return next(member for member in self.choice.group.members.values() if self.names[member.address] == name)

    def look(self) -> None:
        self.it.runtime.sweep.look(self.clock.monotonic())

    def live(self, seconds: int, *, requests: int = 40, **failing: float) -> Counter[str]:
        """So many seconds with so many requests each, of which a target fails its share; how many each got."""
        seen: Counter[str] = Counter()
        for _ in range(seconds):
            for _ in range(requests):
                member = self.choice.pick(request_for())
                assert member is not None
                name = self.names[member.address]
                seen[name] += 1
                self.choice.started(member)
                if self.chance.random() < failing.get(name, 0.0):
                    self.choice.answered(member, 503, member.epoch)
                else:
                    self.choice.answered(member, 200, member.epoch)
                self.choice.finished(member)
            self.clock.advance(1)
            self.look()
        return seen

    def described(self) -> dict[str, tuple[str, bool]]:
        """Result, and whether mitigation is in effect, by target."""
        lines = self.load_balancer.describe_target_health("group")
        return {
            self.names[str(line.target)]: (line.anomaly_detection.result, line.anomaly_detection.mitigation_in_effect) for line in lines
        }

    @property
    def counted(self) -> tuple[int, int, int]:
        """Anomalous and mitigated hosts, and ejections."""
        counters = self.load_balancer.counters
        return counters["AnomalousHostCount"], counters["MitigatedHostCount"], counters["TargetEjectionCount"]

    def changes(self) -> list[tuple[str, str]]:
        """What has been told of since the last look, other than states."""
        told, self.told[:] = list(self.told), []
        return [
            (self.names[str(event.target)], event.result if isinstance(event, events.TargetAnomalyChanged) else type(event).__name__)
            for event in told
            if isinstance(event, events.TargetAnomalyChanged | events.TargetEjected | events.TargetReadmitted)
        ]

    async def apply(self, **settings: Any) -> None:
        self.group = attrs.evolve(self.group, **settings)
        await self.load_balancer.apply(listener(alb.Forward(self.group), name="door"))


@contextlib.asynccontextmanager
async def house(names: str = "abcd", **settings: Any) -> AsyncIterator[House]:
    chance = random.Random(11)
    clock = FakeClock(chance.random)
    group = alb.TargetGroup("group", [f"127.0.0.1:{number}" for number in range(1, len(names) + 1)], **settings)
    async with balancing(listener(alb.Forward(group), name="door"), clock=clock) as it:
        yield House(it, clock, names, chance)


async def test_failing_target_is_found_and_told_of() -> None:
    """By every group, whatever its algorithm; nothing is done about it unless that is asked for."""
    async with house() as it:
        it.live(ROUND, a=0.5)
        assert it.described() == {"a": (ANOMALOUS, False), "b": (NORMAL, False), "c": (NORMAL, False), "d": (NORMAL, False)}
        assert it.counted == (1, 0, 0)
        assert it.changes() == [("a", ANOMALOUS)]
        seen = it.live(ROUND, a=0.5)
        assert it.changes() == []
        assert seen["a"] == 50
        it.live(ROUND)
        assert it.described()["a"] == (NORMAL, False)
        assert it.counted == (0, 0, 0)
        assert it.changes() == [("a", NORMAL)]


async def test_targets_are_compared_every_five_seconds() -> None:
    """Not before (docs/alb.md 5.2)."""
    async with house() as it:
        it.live(ROUND - 1, a=1.0)
        assert it.counted == (0, 0, 0)
        it.live(1, a=1.0)
        assert it.counted == (1, 0, 0)


@pytest.mark.parametrize(("names", "found"), [("a", 0), ("ab", 0), ("abc", 1), ("abcdefgh", 1)])
async def test_three_targets_are_needed(names: str, found: int) -> None:
    """With less there are no peers."""
    async with house(names) as it:
        it.live(2 * ROUND, a=0.8)
        assert it.counted == (found, 0, 0)


@pytest.mark.parametrize("state", [alb.TargetHealthState.UNHEALTHY, alb.TargetHealthState.DRAINING, alb.TargetHealthState.INITIAL])
async def test_only_healthy_targets_are_peers(state: alb.TargetHealthState) -> None:
    """Three of which one is not are two."""
    async with house("abc") as it:
        it.member("c").state = state
        it.choice.refresh()
        it.live(2 * ROUND, a=0.8)
        assert it.counted == (0, 0, 0)


@pytest.mark.parametrize("state", [alb.TargetHealthState.UNHEALTHY, alb.TargetHealthState.DRAINING])
async def test_target_that_is_not_healthy_any_more_is_not_anomalous(state: alb.TargetHealthState) -> None:
    """It is not compared: what was found before tells nothing."""
    async with house(**MITIGATION) as it:
        it.live(ROUND, a=0.8)
        assert it.counted == (1, 1, 0)
        it.member("a").state = state
        it.choice.refresh()
        it.live(ROUND)
        assert it.counted[0] == 0
        assert it.changes() == [("a", ANOMALOUS), ("a", NORMAL)]


async def test_group_that_becomes_too_small_has_nobody_anomalous() -> None:
    """There are no peers any more; shares grow back."""
    async with house("abc", **MITIGATION) as it:
        it.live(2 * ROUND, a=0.8)
        assert it.counted == (1, 1, 0)
        it.member("c").state = alb.TargetHealthState.UNHEALTHY
        it.choice.refresh()
        it.live(ROUND, a=0.8)
        assert it.counted == (0, 1, 0)
        it.live(12 * ROUND, a=0.8)
        assert it.counted == (0, 0, 0)
        assert it.member("a").share == 1.0


async def test_all_fail_alike_and_nobody_is_anomalous() -> None:
    """A database that is down is not the fault of one target."""
    async with house(**MITIGATION) as it:
        it.live(10 * ROUND, a=0.3, b=0.3, c=0.3, d=0.3)
        assert it.counted == (0, 0, 0)
        assert it.changes() == []


async def test_few_requests_add_up_over_rounds() -> None:
    """A group with a request now and then finds its bad target as well, only later."""
    async with house("abc", **MITIGATION) as it:
        it.live(ROUND, requests=1, a=1.0)
        assert it.counted == (0, 0, 0)
        it.live(12 * ROUND, requests=1, a=1.0)
        assert it.counted == (1, 1, 0)


async def test_idle_group_changes_nothing() -> None:
    """No requests tell nothing, neither good nor bad."""
    async with house() as it:
        it.live(ROUND, a=0.8)
        it.live(20 * ROUND, requests=0)
        assert it.counted == (1, 0, 0)
        assert it.changes() == [("a", ANOMALOUS)]


async def test_mitigation_shifts_traffic_away_and_back_in_steps() -> None:
    """Half as much each round down to a twentieth, then a tenth more each round; the others share alike what it does not get."""
    async with house(**MITIGATION) as it:
        part = []
        shares = []
        for _ in range(7):
            seen = it.live(ROUND, requests=200, a=0.6)
            part.append(seen["a"] / 1_000)
            shares.append(it.member("a").share)
        assert shares == pytest.approx([0.5, 0.25, 0.125, 0.0625, 0.05, 0.05, 0.05])
        expected = [share / (share + 3) for share in (1.0, *shares[:-1])]
        assert part == pytest.approx(expected, abs=0.03)
        assert it.described()["a"] == (ANOMALOUS, True)
        assert it.counted == (1, 1, 0)

        back = []
        for _ in range(11):
            seen = it.live(ROUND, requests=200)
            back.append(it.member("a").share)
        assert back == pytest.approx([min(1.0, 0.05 + 0.1 * step) for step in range(1, 12)])
        seen = it.live(ROUND, requests=200)
        assert max(seen.values()) < 1.3 * min(seen.values())
        assert it.described()["a"] == (NORMAL, False)
        assert it.counted == (0, 0, 0)
        assert it.changes() == [("a", ANOMALOUS), ("a", NORMAL)]


async def test_target_that_is_well_but_not_yet_at_its_full_share_is_mitigated() -> None:
    """Normal, with mitigation in effect."""
    async with house(**MITIGATION) as it:
        it.live(3 * ROUND, a=0.6)
        it.live(ROUND, a=0.0)
        assert it.described()["a"] == (NORMAL, True)
        assert it.counted == (0, 1, 0)


async def test_mitigation_keeps_weights() -> None:
    """Shares are of what the weight stands for."""
    async with house("abc", **MITIGATION) as it:
        await it.apply(targets=[alb.Target("127.0.0.1", 1, weight=4), *it.group.fixed_targets[1:]])
        it.live(ROUND, a=0.6)
        seen = it.live(ROUND, requests=400, a=0.6)
        assert seen["a"] / 2_000 == pytest.approx(0.5, abs=0.04)
        assert it.described()["a"] == (ANOMALOUS, True)


async def test_connection_failures_count_as_errors() -> None:
    """As 5xx do (docs/alb.md 5.2)."""
    async with house("abc") as it:
        for name in "abc" * 10:
            it.choice.started(it.member(name))
            if name == "a":
                it.choice.failed(it.member(name), it.member(name).epoch)
            else:
                it.choice.answered(it.member(name), 404, it.member(name).epoch)
            it.choice.finished(it.member(name))
        it.clock.advance(ROUND)
        it.look()
        assert it.described()["a"] == (ANOMALOUS, False)
        assert it.counted == (1, 0, 0), "404 is no error"


async def test_mitigation_that_is_switched_off_gives_shares_back() -> None:
    """apply(): at the next round at the latest it has its full share; who is anomalous is found as before."""
    async with house(**MITIGATION) as it:
        it.live(5 * ROUND, a=0.6)
        assert it.member("a").share < 0.1
        await it.apply(anomaly_mitigation="off")
        it.live(ROUND, a=0.6)
        assert it.member("a").share == 1.0
        assert it.counted == (1, 0, 0)
        assert it.described()["a"] == (ANOMALOUS, False)
        seen = it.live(ROUND, requests=200, a=0.6)
        assert seen["a"] / 1_000 == pytest.approx(0.25, abs=0.04)


async def test_mitigation_that_is_switched_off_gives_an_ill_target_its_share_back() -> None:
    """Or it would come back with a twentieth, where nobody gives it more."""
    async with house(**MITIGATION) as it:
        it.live(5 * ROUND, a=0.6)
        it.member("a").state = alb.TargetHealthState.UNHEALTHY
        it.choice.refresh()
        await it.apply(anomaly_mitigation="off", algorithm="round_robin")
        it.live(ROUND)
        assert it.counted == (0, 0, 0)
        assert it.member("a").share == 1.0


async def test_mitigation_that_is_switched_on_takes_effect() -> None:
    """apply(): for a target that was found before."""
    async with house(algorithm="weighted_random") as it:
        it.live(2 * ROUND, a=0.6)
        assert it.member("a").share == 1.0
        await it.apply(anomaly_mitigation="on")
        it.live(ROUND, a=0.6)
        assert it.member("a").share == 0.5


async def test_anomalous_target_is_ejected_and_comes_back_on_probation(caplog: pytest.LogCaptureFixture) -> None:
    """Counted, told and logged in one line each; while it is out mitigation is in effect."""
    caplog.set_level(logging.INFO, "albkit")
    async with house(ejection=alb.Ejection(consecutive_failures=None, duration=12, probation=3)) as it:
        it.live(ROUND, a=0.6)
        assert it.described()["a"] == (ANOMALOUS, True)
        assert it.counted == (1, 1, 1)
        assert it.changes() == [("a", ANOMALOUS), ("a", "TargetEjected")]
        (line,) = it.load_balancer.describe_target_health("group", "127.0.0.1:1")
        assert line.description.startswith("Ejected for 12 s: ")
        assert set(it.live(11, a=0.6)) == set("bcd")
        assert it.changes() == []
        it.live(1, a=0.0)
        assert sorted(it.changes()) == [("a", "TargetReadmitted"), ("a", NORMAL)]
        assert it.described()["a"] == (NORMAL, True)
        it.live(1, a=0.0)
        assert it.described()["a"] == (NORMAL, False)
        assert it.counted == (0, 0, 1)
    texts = [record.getMessage() for record in about(caplog.records, "target_ejected", "target_readmitted")]
    assert len(texts) == 2
    assert "is ejected for 12 s" in texts[0]
    assert "gets requests again" in texts[1]
    assert [record.__dict__["albkit_result"] for record in about(caplog.records, "target_anomaly_changed")] == ["anomalous", "normal"]


async def test_event_of_an_ejection_says_for_how_long_and_why() -> None:
    """In seconds of the clock, and in words."""
    async with house(ejection=alb.Ejection(consecutive_failures=2, duration=12)) as it:
        for _ in range(2):
            it.choice.started(it.member("a"))
            it.choice.failed(it.member("a"), it.member("a").epoch)
            it.choice.finished(it.member("a"))
        (event,) = [event for event in it.told if isinstance(event, events.TargetEjected)]
        assert (event.group, str(event.target), round(event.seconds, 3)) == ("group", "127.0.0.1:1", 12)
        assert "2 requests in a row" in event.reason


async def test_anomalous_target_is_not_ejected_unless_that_is_asked_for() -> None:
    """`anomalies=False`, and with mitigation the share is reduced instead."""
    async with house(ejection=alb.Ejection(anomalies=False)) as it:
        it.live(3 * ROUND, a=0.6)
        assert it.counted == (1, 0, 0)
    async with house(ejection=alb.Ejection(consecutive_failures=None), **MITIGATION) as it:
        it.live(3 * ROUND, a=0.6)
        assert it.counted == (1, 1, 0)
        assert it.member("a").share == 0.125


async def test_every_change_of_the_result_is_told() -> None:
    """Ejected ones among them: who counts events knows what the gauge says."""
    async with house(ejection=alb.Ejection(consecutive_failures=5, duration=7, probation=3)) as it:
        known: dict[str, str] = {}
        for second in range(60):
            it.live(1, a=0.9 if second < 20 else 0.0)
            known.update({name: what for name, what in it.changes() if what in (NORMAL, ANOMALOUS)})
            told = {name for name, result in known.items() if result == ANOMALOUS}
            assert told == {name for name, (result, _) in it.described().items() if result == ANOMALOUS}, f"second {second}"


async def test_ejection_that_is_taken_out_lets_everybody_back() -> None:
    """apply() without ejection: at the next sweep, and without probation."""
    async with house(ejection=alb.Ejection(consecutive_failures=None, duration=100)) as it:
        it.live(ROUND, a=0.9)
        await it.apply(ejection=None)
        it.look()
        assert it.described()["a"] == (NORMAL, False)
        assert ("a", "TargetReadmitted") in it.changes()
        assert it.live(1)["a"] == 10


async def test_deregistered_and_registered_again_a_target_begins_anew() -> None:
    """Nothing is held against it."""
    async with house(ejection=alb.Ejection(consecutive_failures=None, duration=100)) as it:
        it.live(ROUND, a=0.9)
        assert it.counted == (1, 1, 1)
        await it.load_balancer.deregister_targets("group", "127.0.0.1:1")
        assert it.counted == (0, 0, 1)
        await it.load_balancer.register_targets("group", "127.0.0.1:1")
        assert it.described()["a"] == (NORMAL, False)
        assert it.live(1)["a"] == 10


async def test_ejected_target_that_drains_and_comes_back_begins_anew() -> None:
    """With an exchange under way it is the same target all the time."""
    async with house(ejection=alb.Ejection(consecutive_failures=None, duration=100)) as it:
        member = it.member("a")
        it.choice.started(member)
        it.live(ROUND, a=0.9)
        assert it.counted == (1, 1, 1)
        await it.load_balancer.deregister_targets("group", "127.0.0.1:1")
        assert it.load_balancer.describe_target_health("group", "127.0.0.1:1")[0].description == "Target deregistration is in progress"
        assert it.counted[1:] == (0, 1)
        await it.load_balancer.register_targets("group", "127.0.0.1:1")
        assert it.member("a") is member
        assert it.described()["a"] == (NORMAL, False)
        assert it.live(1)["a"] == 10
        it.choice.finished(member)


async def test_registering_an_ejected_target_again_does_not_take_it_back() -> None:
    """Only its weight may have changed."""
    async with house(ejection=alb.Ejection(consecutive_failures=None, duration=100)) as it:
        it.live(ROUND, a=0.9)
        await it.load_balancer.register_targets("group", alb.Target("127.0.0.1", 1, weight=5))
        assert it.described()["a"] == (ANOMALOUS, True)
        assert it.live(1)["a"] == 0


async def test_groups_are_watched_apart() -> None:
    """Targets of another group are no peers, and one that is added later is watched as well."""
    clock = FakeClock()

    def group(name: str, port: int) -> alb.TargetGroup:
        return alb.TargetGroup(name, [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"], ejection=alb.Ejection(consecutive_failures=2))

    async with balancing(listener(alb.Forward(group("one", 1)), name="door"), clock=clock) as it:
        rules = [alb.Rule(1, alb.PathPattern("/x"), alb.Forward(group("two", 3)))]
        await it.load_balancer.apply(listener(alb.Forward(group("one", 1)), *rules, name="door"))
        choice = it.runtime.choices["two"]
        first, second = choice.group.members.values()
        for member in (first, first, second, second):
            choice.started(member)
            choice.failed(member, member.epoch)
            choice.finished(member)
        assert it.counters["TargetEjectionCount"] == 1
        clock.advance(31)
        it.runtime.sweep.look(clock.monotonic())
        assert not choice.group.ejected
        assert it.counters.get("AnomalousHostCount", 0) == 0
