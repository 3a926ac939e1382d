"""Where the metrics of a load balancer are, from one run to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from albkit.clock import Clock
from albkit.control.reload import Identity, identities
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import CompiledRule, RuleTable
from albkit.proxy.accept.listener import RunningListener
from albkit.state.counters import Counters, TrafficCounters
from albkit.state.listener import ListenerCounters, ListenerState
from albkit.state.registry import Registry

__all__ = ("MetricSources",)


class MetricSources:
    """The objects that count.

    Args:
        name: Of the load balancer.
        counters: What belongs to no target.
        clock: The source of time.
        is_running: Returns whether the load balancer runs.
    """

    def __init__(self, name: str, counters: Counters, clock: Clock, is_running: Callable[[], bool]) -> None:
        self.name = name
        self.counters = counters
        self.clock = clock
        self.registry: Registry | None = None
        """The groups of this run, or of the one before; `None` before the first."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of this run, or of the one before."""
        self._is_running = is_running
        self._listeners: dict[Identity, tuple[ListenerState, RuleTable[RoutePlan]]] = {}
        """The listeners of this run, or of the one before."""

    @property
    def is_running(self) -> bool:
        """Whether the load balancer runs. If not, gauges are 0."""
        return self._is_running()

    def begin(self, registry: Registry, loop: asyncio.AbstractEventLoop) -> None:
        """A run begins, with these groups, in this event loop."""
        self.loop = loop
        if self.registry is not None:
            # Not earlier: an exchange of the previous run may have ended after the load balancer had stopped.
            self.registry.retire(self.counters.traffic)
        self.registry = registry

    def listen(self, running: Sequence[RunningListener]) -> None:
        """These are the listeners from now on. Each continues the counters of the listener that it stands for, of this run or the last."""
        before, self._listeners = self._listeners, {}
        in_use = {id(one.listener_runtime.listener_state.counters) for one in running}
        for identity, one in zip(identities([one.listener for one in running]), running, strict=True):
            state, rules = one.listener_runtime.listener_state, one.listener_runtime.rules
            earlier, earlier_rules = before.get(identity, (None, rules))
            # A listener that was renamed has kept its counters, and another one may have its old name now.
            if earlier is not None and id(earlier.counters) not in in_use:
                earlier.counters.add(state.counters)
                # Not the other way around: connections of the earlier listener may still be open.
                state.counters = earlier.counters
                rules.take_over(earlier_rules)
            self._listeners[identity] = state, rules

    def parts(self) -> list[TrafficCounters]:
        """Return the counters whose sum is that of the load balancer, its own first."""
        own = self.counters.traffic
        return [own, *(self.registry.traffic(own) if self.registry is not None else ())]

    def by_key(self) -> dict[str, tuple[ListenerState, RuleTable[RoutePlan]]]:
        """Return state and rules of each listener by its name, else by its port. Of several with one port, the second one is `80#2`."""
        found: dict[str, tuple[ListenerState, RuleTable[RoutePlan]]] = {}
        for one in self._listeners.values():
            state = one[0]
            key = wanted = state.listener.name or str(state.port)
            place = 1
            while key in found:
                place += 1
                key = f"{wanted}#{place}"
            found[key] = one
        return found

    @property
    def listener_counters(self) -> dict[str, ListenerCounters]:
        """The counters of each listener by its key."""
        return {key: state.counters for key, (state, _) in self.by_key().items()}

    @property
    def rule_hits(self) -> dict[str, Sequence[CompiledRule[RoutePlan]]]:
        """All rules of each listener by its key, the default action last."""
        return {key: (*table.rules, table.default) for key, (_, table) in self.by_key().items()}
