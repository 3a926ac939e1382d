"""The state of the load balancer as the page shows it, and what has changed in it.

Everything is read from the load balancer's public names, in short steps, and only if somebody looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice, takewhile
from time import monotonic, time
from typing import TYPE_CHECKING, TypeVar

from albkit.admin.drained import DrainedTargets
from albkit.admin.history import History
from albkit.admin.items import (
    certificate_item,
    drained_item,
    group_item,
    listener_item,
    load_balancer_item,
    rule_item,
    target_item,
)
from albkit.admin.latency import Latencies
from albkit.admin.section import Item, Section, TunnelSection, encode, in_braces, in_list, in_parts, merge
from albkit.admin.turns import Turns
from albkit.model.descriptions import TargetDescription
from albkit.state.histogram import Histogram

if TYPE_CHECKING:
    from albkit.load_balancer import LoadBalancer

__all__ = ("SECTIONS", "State")

SECTIONS = ("listeners", "rules", "groups", "targets", "tunnels", "certificates")
"""Those whose items have ids, in the order of the state."""

_AGE = 1.0
"""Seconds for which what was read may be used again, if the admin API has changed nothing meanwhile."""
_FORGOTTEN_AFTER = 30.0
"""Seconds after which the state is dropped if nobody has read it."""
_AT_ONCE = 32
_GROUPS_IN_A_TURN = 100
_TARGETS_IN_A_TURN = 100
"""Latencies that are computed at each reading."""
_TUNNELS_AT_ONCE = 256
_TUNNELS_IN_A_TURN = 2500
"""Tunnels that are read for one delta, beside new ones. Ten thousand take four seconds."""
_LARGEST_CHUNK = 1 << 16

T = TypeVar("T")


class State:
    """What was last read, and the changes that no viewer has yet.

    Args:
        load_balancer: The load balancer.
        history: Its last failures and events.
        drained: The drained targets to remember.
    """

    def __init__(self, load_balancer: LoadBalancer, history: History, drained: DrainedTargets) -> None:
        self.lock = asyncio.Lock()
        """Hold it from `refresh` until the result is used: reading and encoding take many turns of the event loop."""
        self._load_balancer = load_balancer
        self._history = history
        self._drained = drained
        self._read_at = float("-inf")
        self._used_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._encoded: list[bytes] | None = None
        self._clear()

    def _clear(self) -> None:
        self._latency: Item | None = None
        self._of_groups = Latencies(_GROUPS_IN_A_TURN)
        self._of_targets = Latencies(_TARGETS_IN_A_TURN)
        self._item: Item = {}
        self._change: Item = {}
        self.sections = {name: Section() for name in SECTIONS if name != "tunnels"}
        self.tunnels = TunnelSection()
        self._next_tunnel = 0
        self._read_at = float("-inf")
        self._encoded = None

    def outdate(self) -> None:
        """Read everything again before the next use: an action has changed something."""
        self._read_at = float("-inf")

    def close(self) -> None:
        """Drop the state, and read it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._clear()

    # Reading.

    async def refresh(self, *, at_once: bool = False) -> None:
        """Read the state, unless it was just read. The caller holds the lock.

        Args:
            at_once: Read it in any case, for the next delta. Of many tunnels, the new ones are read, and a share of the
                others, in turns.
        """
        self._used_at = monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FORGOTTEN_AFTER, self._forget)
        if not at_once and self._used_at - self._read_at < _AGE:
            return
        self._read_at = self._used_at
        self._encoded = None
        turns = Turns()
        lb, sections = self._load_balancer, self.sections
        await _put(sections["listeners"], ((one.id, listener_item(one)) for one in lb.describe_listeners()), turns)
        await _put(sections["rules"], ((one.id, rule_item(one)) for one in lb.describe_rules()), turns)
        await self._read_groups(turns)
        await self._read_targets(turns)
        await _put(sections["certificates"], self._certificates(), turns)
        await self._read_tunnels(turns, in_turns=at_once)
        self._read_load_balancer()

    def _forget(self) -> None:
        """Drop the state if it is no longer used, so that it takes no memory."""
        idle = monotonic() - self._used_at
        if idle >= _FORGOTTEN_AFTER and not self.lock.locked():
            self.close()
        else:
            self._timer = asyncio.get_running_loop().call_later(max(_FORGOTTEN_AFTER - idle, 1.0), self._forget)

    def _read_load_balancer(self) -> None:
        lb = self._load_balancer
        item = load_balancer_item(lb.describe(), dict(lb.counters), self._latency)
        if self._item:
            section = Section()
            section.put("", self._item)
            section.take_changes()
            section.put("", item)
            for _, change in section.take_changes()[0]:
                merge(self._change, change)
        else:
            self._change = dict(item)
        self._item = item

    async def _read_groups(self, turns: Turns) -> None:
        lb, now, section = self._load_balancer, monotonic(), self.sections["groups"]
        present, every = set(), []
        self._of_groups.begin()
        for described in lb.describe_target_groups():
            name = described.name
            present.add(name)
            times = lb.response_times(name)
            every.append(times)
            section.put(name, group_item(described, self._of_groups.read(name, partial(_same, times), now)))
            await turns.rest()
        section.keep_only(present)
        self._of_groups.keep_only({*present, ""})
        # Group names are never empty.
        self._latency = self._of_groups.read("", lambda: Histogram.total(every), now)

    async def _read_targets(self, turns: Turns) -> None:
        section = self.sections["targets"]
        present, now = set(), monotonic()
        latencies, of = self._of_targets, self._load_balancer.response_times
        latencies.begin()
        for some in _some(self._load_balancer.describe_targets()):
            for described in some:
                address = described.address
                item = target_item(described, latencies.read(f"{described.group}/{address}", partial(of, described.group, address), now))
                present.add(item["id"])
                section.put(item["id"], item)
            await turns.rest()
        latencies.keep_only(present)
        for identity, (group, target) in self._drained.gone(self.sections["groups"].items, present).items():
            section.put(identity, drained_item(identity, group, target, section.items.get(identity)))
            present.add(identity)
        section.keep_only(present)

    def _certificates(self) -> Iterator[tuple[str, Item]]:
        seen: set[str] = set()
        for certificate in self._load_balancer.describe_certificates():
            identity = certificate.label if certificate.label not in seen else f"{certificate.label} ({certificate.listener})"
            seen.add(identity)
            yield identity, certificate_item(certificate, identity)

    async def _read_tunnels(self, turns: Turns, *, in_turns: bool) -> None:
        tunnels, now, section = self._load_balancer.tunnels, time(), self.tunnels
        # The oldest are first, so new ones are at the end.
        new = list(takewhile(lambda tunnel: not section.knows(tunnel), reversed(tunnels)))
        chosen = tunnels
        if in_turns and len(tunnels) > _TUNNELS_IN_A_TURN:
            self._next_tunnel = start = self._next_tunnel if self._next_tunnel < len(tunnels) else 0
            chosen = tunnels[start : start + _TUNNELS_IN_A_TURN]
            self._next_tunnel += _TUNNELS_IN_A_TURN
        for some in _some((*chosen, *reversed(new)), _TUNNELS_AT_ONCE):
            section.put(some, now)
            await turns.rest()
        self.tunnels.keep_only(tunnels)

    def target_items(self, group: str, addresses: Iterable[str]) -> list[Item]:
        """The items of some targets of a group, as they are now. Those of unknown targets are left out.

        Raises:
            LookupError: there is no such group.
        """
        wanted = list(addresses)
        found: dict[str, TargetDescription] = {one.address: one for one in self._load_balancer.describe_targets(group, wanted)}
        items = []
        for address in wanted:
            identity = f"{group}/{address}"
            target = self._drained.get(group, address)
            if address in found:
                items.append(target_item(found[address], self._of_targets.known(identity)))
            elif target is not None:
                items.append(drained_item(identity, group, target, self.sections["targets"].items.get(identity)))
        return items

    # Writing. The caller holds the lock.

    async def encoded_section(self, name: str) -> list[bytes]:
        """One section as JSON, in chunks: the item of the load balancer, or a list of items."""
        if name == "load_balancer":
            return [encode(self._item).encode()]
        return await _joined(in_list((self.tunnels if name == "tunnels" else self.sections[name]).values()))

    async def encoded(self) -> list[bytes]:
        """The whole state as JSON, in chunks, as viewers begin with it: with the failures and events that deltas do not repeat."""
        if self._encoded is None:
            self._encoded = await _joined(self._fragments(told=True))
        return self._encoded

    async def encoded_now(self) -> list[bytes]:
        """The same with every failure and event."""
        return await _joined(self._fragments(told=False))

    def _fragments(self, *, told: bool) -> Iterator[str]:
        yield f'{{"time":{time():.3f},"load_balancer":{encode(self._item)}'
        for name in SECTIONS:
            yield f',"{name}":'
            yield from (self.tunnels if name == "tunnels" else self.sections[name]).fragments()
        yield f',"failures":{encode(self._history.failures.items(told=told))},"events":{encode(self._history.events.items(told=told))}}}'

    def discard_changes(self) -> None:
        """Take what was read as known: the first viewer begins with it."""
        self._change = {}
        for section in self.sections.values():
            section.take_changes()
        self.tunnels.take_changes()
        self._history.failures.take_new()
        self._history.events.take_new()

    async def encoded_delta(self) -> list[bytes]:
        """What has changed since the last call, as JSON, in chunks."""
        return await _joined(self._fragments_of_delta())

    def _fragments_of_delta(self) -> Iterator[str]:
        change, self._change = self._change, {}
        gone: dict[str, list[str]] = {}
        yield f'{{"time":{time():.3f},"set":{{'
        comma = ""
        if change:
            yield f'"load_balancer":{encode(change)}'
            comma = ","
        for name, section in self.sections.items():
            changes, gone[name] = section.take_changes()
            if changes:
                yield f'{comma}"{name}":'
                yield from in_braces(in_parts(changes))
                comma = ","
        parts, gone["tunnels"] = self.tunnels.take_changes()
        if parts is not None:
            yield f'{comma}"tunnels":'
            yield from parts
        yield f'}},"gone":{encode({name: ids for name, ids in gone.items() if ids})}'
        yield f',"failures":{encode(self._history.failures.take_new())},"events":{encode(self._history.events.take_new())}}}'


def _same(times: Histogram) -> Histogram:
    return times


async def _put(section: Section, items: Iterable[tuple[str, Item]], turns: Turns) -> None:
    present = set()
    for some in _some(items):
        for identity, item in some:
            present.add(identity)
            section.put(identity, item)
        await turns.rest()
    section.keep_only(present)


def _some(items: Iterable[T], count: int = _AT_ONCE) -> Iterator[list[T]]:
    iterator = iter(items)
    while some := list(islice(iterator, count)):
        yield some


async def _joined(fragments: Iterable[str]) -> list[bytes]:
    """Join fragments to chunks for the network, in many turns."""
    turns = Turns()
    chunks: list[bytes] = []
    waiting: list[str] = []
    size = 0
    for fragment in fragments:
        waiting.append(fragment)
        size += len(fragment)
        if size >= _LARGEST_CHUNK:
            chunks.append("".join(waiting).encode())
            waiting.clear()
            size = 0
        if turns.is_over:
            await turns.rest()
    chunks.append("".join(waiting).encode())
    return chunks
