"""The Prometheus text (`report/prometheus.py`), read back with the parser of prometheus_client."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

import albkit as alb
from albkit.clock import SYSTEM, Clock
from albkit.errors import FailureKind
from albkit.model.health import TargetHealthState
from albkit.model.tunnel import TunnelEnd
from albkit.report.prometheus import Exposition, Hits
from albkit.state.counters import Counters
from albkit.state.listener import ListenerCounters
from albkit.state.registry import Registry
from albkit.state.target import TargetState

Key = tuple[str, frozenset[tuple[str, str]]]

NASTY = [
    'unix:/run/a"b.sock',
    "unix:/run/a\\b.sock",
    "unix:/run/a\nb.sock",
    'unix:/x",evil="1"} 7\nalbkit_requests_total 666\n#',
    "unix:/run/\\n.sock",
    "unix:/run/ü\u2028\r\t{}.sock",
    "unix:/run/\udcff.sock",
    r"unix:/run/\xff.sock",
]


class _Rule:
    def __init__(self, priority: int, hits: int) -> None:
        self.priority = priority
        self.hits = hits


class _Source:
    """The metrics of a load balancer that does not run."""

    def __init__(self, *groups: alb.TargetGroup) -> None:
        self.name = "albkit"
        self.counters = Counters()
        self.clock: Clock = SYSTEM
        self.is_running = True
        self.registry: Registry | None = Registry(groups) if groups else None
        self.listener_counters: Mapping[str, ListenerCounters] = {"web": ListenerCounters(exchanges=3, responses_2xx=2)}
        self.rule_hits: Mapping[str, Sequence[Hits]] = {"web": (_Rule(10, 5), _Rule(0, 1))}

    @property
    def groups(self) -> Registry:
        assert self.registry is not None
        return self.registry

    def members(self) -> list[TargetState]:
        return [member for group in self.groups.groups for member in group.members.values()]


def _group(name: str, *targets: str, count: int = 0) -> alb.TargetGroup:
    return alb.TargetGroup(name, [*targets, *(f"10.0.{n // 250}.{n % 250}:80" for n in range(count))])


def _parsed(text: str) -> dict[Key, float]:
    """Every sample; fails on a duplicate, and on a family that comes in two pieces."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    keys = Counter((sample.name, frozenset(sample.labels.items())) for sample in samples)
    assert [key for key, count in keys.items() if count > 1] == []
    heads = Counter(line.split()[2] for line in text.splitlines() if line.startswith("# TYPE "))
    assert [name for name, count in heads.items() if count > 1] == []
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def _value(samples: Mapping[Key, float], name: str, **labels: str) -> float:
    return samples[name, frozenset({"load_balancer": "albkit", **labels}.items())]


def _count_something(source: _Source) -> None:
    chance = random.Random(3)
    for member in source.members():
        for slot in ("requests", "target_2xx", "target_5xx", "processed_bytes", "retries", "tunnels", "target_tls_errors", "ejections"):
            setattr(member.counters, slot, chance.randrange(1 << 40))
        for _ in range(20):
            member.counters.response_times.observe(chance.lognormvariate(-3, 2))
        member.state = chance.choice(list(TargetHealthState))
        member.eligible = chance.random() < 0.5
        member.last_active_at = chance.random() * 100
    source.counters.failures[FailureKind.CLIENT_CLOSED] = 4
    source.counters.tunnel_ends[TunnelEnd.PONG_TIMEOUT] = 2
    source.counters.traffic.requests = 1000


def test_every_sample_is_read_back_as_it_was_written() -> None:
    """With the names, labels and values that `samples` gives."""
    source = _Source(_group("api", *NASTY, count=30), _group("web", count=5))
    _count_something(source)
    exposition = Exposition(source)
    source.clock = _Stopped()
    found = _parsed("".join(exposition.text()))
    expected = {
        (samples.family.name + suffix, frozenset(labels)): value
        for samples in exposition.samples()
        if samples is not None
        for suffix, labels, value in samples.rows
    }
    assert found == expected


class _Stopped:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 1000.0

    def time(self) -> float:
        return 1_700_000_000.25

    random = staticmethod(random.random)

    def entropy(self, size: int, /) -> bytes:
        return bytes(size)


def test_every_family_is_there_once_with_help_and_type() -> None:
    """Also those without samples, so that the text does not depend on the traffic."""
    exposition = Exposition(_Source())
    text = "".join(exposition.text())
    lines = text.splitlines()
    assert text.endswith("\n")
    assert [line.split()[2] for line in lines if line.startswith("# HELP ")] == [family.name for family in exposition.families]
    for above, line in pairwise(lines):
        assert line.startswith("# TYPE ") == above.startswith("# HELP ")


def test_names_of_targets_cannot_break_the_text() -> None:
    """Quotes, backslashes, newlines and bytes that are not UTF-8 stay within their label."""
    source = _Source(_group("api", *NASTY))
    for number, member in enumerate(source.members(), 1):
        member.counters.requests = number
    text = "".join(Exposition(source).text())
    text.encode()
    samples = _parsed(text)
    assert "evil" not in {name for _, labels in samples for name, _ in labels}
    for number, address in enumerate(NASTY[:6], 1):
        assert _value(samples, "albkit_target_requests_total", target_group="api", target=address) == number
    # The last two look the same. One of them has no samples; the group counts both.
    assert _value(samples, "albkit_target_requests_total", target_group="api", target=r"unix:/run/\xff.sock") == 7
    assert _value(samples, "albkit_target_group_requests_total", target_group="api") == sum(range(1, 9))


def test_group_is_the_sum_of_its_targets_and_the_load_balancer_that_of_its_groups() -> None:
    """And of what has left them."""
    source = _Source(_group("api", count=450), _group("web", count=3))
    _count_something(source)
    samples = _parsed("".join(Exposition(source).text()))
    for stem in ("requests_total", "processed_bytes_total", "response_time_seconds_count"):
        by_group = Counter[str]()
        for (name, labels), value in samples.items():
            if name == f"albkit_target_{stem}":
                by_group[dict(labels)["target_group"]] += int(value)
        assert set(by_group) == {"api", "web"}
        for group, value in by_group.items():
            assert _value(samples, f"albkit_target_group_{stem}", target_group=group) == value
        further = 1000 if stem == "requests_total" else 0
        assert _value(samples, f"albkit_{stem}") == sum(by_group.values()) + further


def test_histogram_is_cumulative_and_complete() -> None:
    """Buckets never decrease, and the infinite one is the count."""
    source = _Source(_group("api", count=5))
    _count_something(source)
    samples = _parsed("".join(Exposition(source).text()))
    for name, labels in (("albkit_response_time_seconds", {}), ("albkit_target_group_response_time_seconds", {"target_group": "api"})):
        buckets = sorted((float(dict(found)["le"]), value) for (sample, found), value in samples.items() if sample == f"{name}_bucket")
        values = [value for _, value in buckets]
        assert values == sorted(values)
        assert values[-1] == _value(samples, f"{name}_count", **labels) == 100
        exact = sum(member.counters.response_times.sum for member in source.members())
        assert _value(samples, f"{name}_sum", **labels) == pytest.approx(exact)


def test_failures_and_ends_of_tunnels_are_labels() -> None:
    """One family each."""
    source = _Source()
    source.counters.failures[FailureKind.CLIENT_CLOSED] = 4
    source.counters.tunnel_ends[TunnelEnd.PONG_TIMEOUT] = 2
    samples = _parsed("".join(Exposition(source).text()))
    kind = FailureKind.CLIENT_CLOSED
    assert _value(samples, "albkit_failures_total", reason=kind.reason, side=kind.side.value) == 4
    assert _value(samples, "albkit_tunnel_ends_total", cause="pong_timeout") == 2
    assert sum(value for (name, _), value in samples.items() if name == "albkit_failures_total") == 4


def test_listeners_and_rules_have_samples() -> None:
    """By the key of the listener, and the priority of the rule."""
    samples = _parsed("".join(Exposition(_Source()).text()))
    assert _value(samples, "albkit_listener_exchanges_total", listener="web") == 3
    assert _value(samples, "albkit_listener_responses_total", listener="web", code="2xx") == 2
    assert _value(samples, "albkit_rule_hits_total", listener="web", priority="10") == 5
    assert _value(samples, "albkit_rule_hits_total", listener="web", priority="0") == 1


def test_gauges_are_0_while_the_load_balancer_does_not_run_and_counters_stay() -> None:
    """The states of the targets are as they were when it stopped."""
    source = _Source(_group("api", "a:80"))
    (member,) = source.members()
    member.state, member.eligible = TargetHealthState.HEALTHY, True
    member.counters.requests = 7
    exposition = Exposition(source)
    for running in (True, False):
        source.is_running = running
        samples = _parsed("".join(exposition.text()))
        gauges = [
            _value(samples, "albkit_running"),
            _value(samples, "albkit_target_healthy", target_group="api", target="a:80"),
            _value(samples, "albkit_target_eligible", target_group="api", target="a:80"),
            _value(samples, "albkit_target_group_targets", target_group="api", state="healthy"),
            _value(samples, "albkit_targets", state="healthy"),
        ]
        assert gauges == [float(running)] * 5
        assert _value(samples, "albkit_requests_total") == 7


def test_last_activity_is_now_while_something_is_in_flight() -> None:
    """And 0 if there was never any."""
    source = _Source(_group("api", "a:80", "b:80", "c:80"))
    source.clock = _Stopped()
    busy, idle, _ = source.members()
    busy.outstanding, busy.last_active_at = 1, 5.0
    idle.last_active_at = 990.0
    samples = _parsed("".join(Exposition(source).text()))
    found = [
        _value(samples, "albkit_target_last_activity_timestamp_seconds", target_group="api", target=address)
        for address in ("a:80", "b:80", "c:80")
    ]
    assert found == [1_700_000_000.25, 1_699_999_990.25, 0]
    assert _value(samples, "albkit_target_group_last_activity_timestamp_seconds", target_group="api") == 1_700_000_000.25


# A scrape in steps.


def _churning(source: _Source, chance: random.Random, steps: Iterator[str]) -> str:
    """The text of a scrape during which targets, groups and counts come, go and grow."""
    parts = []
    for number, part in enumerate(steps):
        parts.append(part)
        registry = source.groups
        group = chance.choice(registry.groups)
        members = list(group.members.values())
        if members and chance.random() < 0.5:
            leaving = chance.choice(members)
            group.remove(leaving)
            # Its last exchange is recorded after it has left; or it is registered again.
            leaving.counters.requests += 1
            if chance.random() < 0.5:
                group.members[leaving.address] = TargetState(leaving.target)
        if chance.random() < 0.1:
            name = group.group.name
            registry.remove(name, source.counters.traffic)
            registry.add(_group(name, count=chance.randrange(1, 60)))
        if chance.random() < 0.01:
            registry.retire(source.counters.traffic)
            source.registry = Registry([_group(f"g{n}", count=40) for n in range(4)])
        for member in source.members()[:: number % 7 + 1]:
            member.counters.requests += 1
            member.counters.response_times.observe(0.01)
    return "".join(parts)


@pytest.mark.parametrize("seed", range(8))
def test_scrape_stays_right_while_targets_and_groups_come_and_go(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No crash, no sample twice, no family in pieces, and no counter of the load balancer goes back."""
    monkeypatch.setattr("albkit.report.prometheus._SAMPLES_AT_ONCE", 20)
    monkeypatch.setattr("albkit.report.prometheus._MEMBERS_AT_ONCE", 10)
    chance = random.Random(seed)
    source = _Source(*(_group(f"g{n}", count=40) for n in range(4)))
    _count_something(source)
    exposition = Exposition(source)
    before = [0.0, 0.0]
    for _ in range(6):
        samples = _parsed(_churning(source, chance, exposition.text()))
        now = [_value(samples, "albkit_requests_total"), _value(samples, "albkit_response_time_seconds_count")]
        assert now >= before
        assert now[1] >= before[1]
        before = now


def test_totals_are_exact_although_a_target_leaves_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its counts move to its group, which may have been read before or after."""
    monkeypatch.setattr("albkit.report.prometheus._MEMBERS_AT_ONCE", 1)
    for place in range(12):
        source = _Source(_group("api", "a:80", "b:80", "c:80"))
        for member in source.members():
            member.counters.requests = 10
        parts = []
        for number, part in enumerate(Exposition(source).text()):
            parts.append(part)
            if number == place:
                group = source.groups.group("api")
                group.remove(next(iter(group.members.values())))
        samples = _parsed("".join(parts))
        assert _value(samples, "albkit_requests_total") == _value(samples, "albkit_target_group_requests_total", target_group="api") == 30


def test_target_that_has_left_is_not_written_with_the_counts_of_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """After it left, its counters are those of the group."""
    monkeypatch.setattr("albkit.report.prometheus._SAMPLES_AT_ONCE", 1)
    source = _Source(_group("api", "a:80", "b:80"))
    one, other = source.members()
    one.counters.requests, other.counters.requests = 5, 7
    steps = Exposition(source).text()
    parts = []
    for part in steps:
        parts.append(part)
        if part.startswith("# HELP albkit_target_requests_total"):
            source.groups.group("api").remove(one)
    samples = _parsed("".join(parts))
    found = {dict(labels)["target"]: value for (name, labels), value in samples.items() if name == "albkit_target_requests_total"}
    assert found == {"b:80": 7}


@pytest.mark.no_cover
def test_scrape_of_a_thousand_targets_takes_short_steps() -> None:
    """3 ms of CPU time at most for 10 groups of 100 targets; the fastest of some rounds, because the machine is shared."""
    source = _Source(*(_group(f"g{n}", count=100) for n in range(10)))
    _count_something(source)
    exposition = Exposition(source)
    best: dict[int, float] = {}
    for _ in range(7):
        steps = exposition.text()
        for number in range(10_000):
            began = time.thread_time()
            part = next(steps, None)
            took = time.thread_time() - began
            if part is None:
                break
            best[number] = min(best.get(number, took), took)
    assert max(best.values()) < 0.003
    assert len(best) > 50


def test_steps_are_bounded_however_many_targets_there_are() -> None:
    """One group of ten thousand is no exception."""
    source = _Source(_group("api", count=5000))
    sizes = [part.count("\n") for part in Exposition(source).text()]
    assert max(sizes) <= 500
    assert sum(sizes) > 50_000


def test_labels_of_targets_that_left_are_forgotten() -> None:
    """What is kept from scrape to scrape is bounded by the targets that there are."""
    source = _Source(_group("api", count=50))
    exposition = Exposition(source)
    list(exposition.text())
    group = source.groups.group("api")
    for member in list(group.members.values())[10:]:
        group.remove(member)
    list(exposition.text())
    assert len(exposition._known) == 10
    assert list(chain(exposition._known)) == source.members()
