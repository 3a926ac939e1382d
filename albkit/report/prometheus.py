"""Metrics in the text format of Prometheus, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/ is the format, https://prometheus.io/docs/practices/naming/ the names.

Each level (load balancer, listener, rule, target group, target) has families of its own. So all samples of a family have the same labels,
and `sum()` over a family counts nothing twice.

A scrape of thousands of targets takes many milliseconds. `Exposition.scrape` is a generator, so that the event loop can do other work
between its steps. Targets, rules and groups may come and go meanwhile: no sample appears twice, and no counter goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, Protocol

import attrs

from albkit.clock import Clock
from albkit.model.health import TargetHealthState
from albkit.report.prometheus_families import Family, Level, escape, families, valid
from albkit.state.counters import Counters, TrafficCounters
from albkit.state.listener import ListenerCounters
from albkit.state.registry import Registry
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("CONTENT_TYPE", "Exposition", "Hits", "Row", "Samples", "Source")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The Content-Type of the text."""
_SAMPLES_AT_ONCE = 500
"""Samples in one step of a scrape."""
_MEMBERS_AT_ONCE = 200
"""Targets that one step of a scrape adds up."""
_TRIES = 3
"""How often totals are begun anew because a target or a group has left meanwhile, before they are made in one step."""

Row = tuple[str, tuple[tuple[str, str], ...], Any, TargetGroupState | None]
"""The labels of samples as text; the same as pairs; the object with the numbers; for a target, its group."""


@attrs.frozen
class Samples:
    """Some samples of a family, or none at its beginning."""

    family: Family
    rows: list[tuple[str, tuple[tuple[str, str], ...], float]]
    """Of each the suffix of its name, its labels and its value."""


class Hits(Protocol):
    """A rule, as a scrape sees it."""

    hits: int
    priority: int


class Source(Protocol):
    """The metrics of a load balancer."""

    name: str
    counters: Counters
    clock: Clock

    @property
    def is_running(self) -> bool:
        """Whether the load balancer runs."""

    @property
    def registry(self) -> Registry | None:
        """The groups of this run, or of the one before; `None` before the first."""

    @property
    def listener_counters(self) -> Mapping[str, ListenerCounters]:
        """By a text that is unique among the listeners."""

    @property
    def rule_hits(self) -> Mapping[str, Sequence[Hits]]:
        """The rules of each listener, by the same text."""


class _Totals:
    """The sums over one group or over all groups. Where a target has the same number, the name is the same."""

    def __init__(self) -> None:
        self.counters = TrafficCounters()
        self.buckets: list[int] = []
        self.last_active_at = 0.0
        self.fails_open = 0
        self.members = self.healthy = self.unhealthy = self.anomalous = self.mitigated = self.eligible = self.outstanding = self.tunnels = 0

    @property
    def other(self) -> int:
        """Targets that are neither healthy nor unhealthy."""
        return self.members - self.healthy - self.unhealthy

    def add_members(self, members: Sequence[TargetState]) -> None:
        """Add the gauges of targets."""
        self.members += len(members)
        self.healthy += sum([member.state is TargetHealthState.HEALTHY for member in members])
        self.unhealthy += sum([member.state is TargetHealthState.UNHEALTHY for member in members])
        self.anomalous += sum([member.is_anomalous for member in members])
        self.mitigated += sum([member.is_mitigated for member in members])
        self.eligible += sum([member.eligible for member in members])
        self.outstanding += sum([member.outstanding for member in members])
        self.tunnels += sum([member.tunnels for member in members])


class _Whole(_Totals):
    """The sums over all groups, and the counters that belong to no group.

    Args:
        own: These counters.
        running: Whether the load balancer runs.
        groups: The sums over each group.
    """

    def __init__(self, own: Counters, running: bool, groups: Sequence[_Totals]) -> None:
        super().__init__()
        self.own = own
        self.running = int(running)
        self.counters = TrafficCounters.total([own.traffic, *(group.counters for group in groups)])
        self.buckets = self.counters.response_times.cumulative()
        self.last_active_at = max((group.last_active_at for group in groups), default=0.0)
        for name in ("members", "healthy", "unhealthy", "anomalous", "mitigated", "eligible", "outstanding", "tunnels"):
            setattr(self, name, sum([getattr(group, name) for group in groups]))


class Exposition:
    """Writes the metrics of one load balancer.

    Args:
        source: The metrics.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.families = families(self._last_activity, self._is_healthy, self._is_eligible)
        # What all targets have in common is read once per scrape.
        self._is_running = False
        self._now = 0.0
        self._offset = 0.0
        # Kept from scrape to scrape, because making the labels costs more than all else of a sample.
        self._known: dict[TargetState, Row] = {}

    def _last_activity(self, one: Any) -> float:
        if one.outstanding:
            return self._now
        return self._offset + one.last_active_at if one.last_active_at else 0

    # Gauges are 0 while the load balancer does not run. The states of targets stay as they were when it stopped.

    def _is_healthy(self, member: TargetState) -> int:
        return int(self._is_running and member.state is TargetHealthState.HEALTHY)

    def _is_eligible(self, member: TargetState) -> int:
        return int(self._is_running and member.eligible)

    def text(self) -> Iterator[str]:
        """Write all metrics in steps. The parts are the whole text if joined. A part may be empty."""
        for family, rows in self.scrape():
            if family is None:
                yield ""
            elif not rows:
                yield family.head
            else:
                yield _lines(family, rows)

    def samples(self) -> Iterator[Samples | None]:
        """Read all metrics in steps; `None` is a pause. Each family begins with an object without samples."""
        for family, rows in self.scrape():
            if family is None:
                yield None
            else:
                yield Samples(
                    family, [(cell.suffix, (*labels, *cell.labels), cell.read(one)) for _, labels, one, _ in rows for cell in family.cells]
                )

    def scrape(self) -> Iterator[tuple[Family | None, Sequence[Row]]]:
        """Give each family and its rows, in steps: first the family without rows, then batches of rows.

        Use up a batch before other tasks of the event loop run; after that, targets among the rows may be gone. `None` in place of a family
        is a pause.
        """
        clock = self._source.clock
        self._is_running = self._source.is_running
        self._now = clock.time()
        self._offset = self._now - clock.monotonic()
        groups: list[tuple[TargetGroupState, _Totals]] = []
        whole = _Whole(self._source.counters, self._source.is_running, ())
        for whole in self._totals(groups):  # noqa: B007 - the last one is complete
            yield None, ()
        targets: list[Row] = []
        for _ in self._rows_of_targets([group for group, _ in groups], targets):
            yield None, ()
        rows = {
            Level.LOAD_BALANCER: [self._row(whole)],
            Level.LISTENER: [self._row(counters, ("listener", key)) for key, counters in self._source.listener_counters.items()],
            Level.TARGET_GROUP: [self._row(totals, ("target_group", group.group.name)) for group, totals in groups],
            Level.TARGET: targets,
        }
        before = self._moves()
        for family in self.families:
            yield family, ()
            size = max(1, _SAMPLES_AT_ONCE // len(family.cells))
            batches = self._batches_of_rules(size) if family.level is Level.RULE else _batches(rows[family.level], size)
            for batch in batches:
                present = batch if self._moves() == before else [row for row in batch if self._is_present(row)]
                yield (family, present) if present else (None, ())

    def _row(self, one: object, *labels: tuple[str, str], group: TargetGroupState | None = None) -> Row:
        pairs = (("load_balancer", self._source.name), *labels)
        return ",".join([f'{name}="{escape(value)}"' for name, value in pairs]), pairs, one, group

    def _batches_of_rules(self, size: int) -> Iterator[Sequence[Row]]:
        for key, rules in self._source.rule_hits.items():
            for part in _batches(rules, size):
                yield [self._row(rule, ("listener", key), ("priority", str(rule.priority))) for rule in part]

    # Targets that come and go.

    def _moves(self) -> tuple[Registry | None, int]:
        """Something that changes if counts have moved from one object to another, because a target or a group left."""
        registry = self._source.registry
        return registry, registry.departures.count if registry is not None else 0

    def _is_present(self, row: Row) -> bool:
        """Whether the target of a row is still a member of its group, and has counts of its own."""
        _, _, member, group = row
        return group is None or (group.counters is not self._source.counters.traffic and group.members.get(member.address) is member)

    def _rows_of_targets(self, groups: Sequence[TargetGroupState], found: list[Row]) -> Iterator[None]:
        """Make the rows of all targets, in steps."""
        known, self._known = self._known, {}
        for group in groups:
            name = group.group.name
            texts: set[str] = set()
            for members in _batches(list(group.members.values()), _MEMBERS_AT_ONCE):
                for member in members:
                    row = known.get(member)
                    if row is None or row[3] is not group:
                        row = self._row(member, ("target_group", name), ("target", valid(member.address)), group=group)
                    # Paths that are not UTF-8 could look the same.
                    if row[0] not in texts:
                        texts.add(row[0])
                        found.append(row)
                        self._known[member] = row
                yield

    def _totals(self, groups: list[tuple[TargetGroupState, _Totals]]) -> Iterator[_Whole]:
        """Make the sums in steps; the last of the objects is complete. If counts move meanwhile, it begins again."""
        for attempt in range(_TRIES + 1):
            before = self._moves()
            groups.clear()
            incomplete = _Whole(self._source.counters, self._source.is_running, ())
            for _ in self._sum_up(groups):
                if attempt < _TRIES:
                    yield incomplete
                    if self._moves() != before:
                        break
            else:
                # In the same step as the last sum.
                yield _Whole(self._source.counters, self._source.is_running, [totals for _, totals in groups])
                return

    def _sum_up(self, groups: list[tuple[TargetGroupState, _Totals]]) -> Iterator[None]:
        """Make the sums over each group, in steps. There is no pause after the last one."""
        registry = self._source.registry
        added = 0
        for group in registry.groups if registry is not None else ():
            totals = _Totals()
            parts = [group.counters]
            for members in _batches(list(group.members.values()), _MEMBERS_AT_ONCE):
                if added + len(members) > _MEMBERS_AT_ONCE:
                    yield
                    added = 0
                added += len(members)
                parts.append(TrafficCounters.total([member.counters for member in members]))
                if self._source.is_running:
                    totals.add_members(members)
            totals.counters = TrafficCounters.total(parts)
            totals.buckets = totals.counters.response_times.cumulative()
            totals.fails_open = int(group.fails_open and self._source.is_running)
            totals.last_active_at = group.last_active_at
            groups.append((group, totals))


def _batches(items: Sequence[Any], size: int) -> Iterator[Any]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _lines(family: Family, rows: Sequence[Row]) -> str:
    """The samples of some rows."""
    cells: list[tuple[str, str, Callable[[Any], float]]] = [
        (f"{family.name}{cell.suffix}{{", f"{cell.labels_text}}} ", cell.read) for cell in family.cells
    ]
    if len(cells) == 1:
        ((start, end, read),) = cells
        return "".join([f"{start}{labels}{end}{read(one)}\n" for labels, _, one, _ in rows])
    return "".join(list(chain.from_iterable([f"{s}{labels}{e}{read(one)}\n" for s, e, read in cells] for labels, _, one, _ in rows)))
