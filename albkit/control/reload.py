"""Replaces the configuration of a running load balancer. Only what differs changes (docs/changing.md).

A listener is identified by its name, else by what it listens on (host and requested port, the path of a unix socket, or an inherited
socket) and its position among listeners that share it; a target group by its name; a target by its address. Listeners that stay keep their
sockets as they are, apart from the backlog. Everything that can fail is done first, so that a configuration that cannot take effect changes
nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import attrs

from albkit.control.registration import Registration
from albkit.model.actions import Action
from albkit.model.actions.forward import Forward
from albkit.model.events import ConfigurationApplied, Event, ListenerClosed, ListenerOpened
from albkit.model.listener import Listener
from albkit.model.settings import Settings
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import RuleTable
from albkit.proxy.accept.listener import RunningListener, close_all
from albkit.proxy.accept.listener_runtime import compile_rules
from albkit.proxy.runtime import Runtime
from albkit.proxy.serving import receive
from albkit.proxy.tls.loading import Loaded

__all__ = ("Identity", "apply", "identities")

Identity = tuple[object, ...]

_RULES_PER_ITERATION = 64
_SETTINGS_OF_LISTENER = [field.name for field in attrs.fields(Listener) if field.name not in ("rules", "default_actions")]
_SETTINGS_OF_GROUP = [field.name for field in attrs.fields(TargetGroup) if field.name != "targets"]
_SETTINGS_OF_FORWARD = [field.name for field in attrs.fields(Forward) if field.name != "groups"]


async def apply(
    settings: Settings,
    loaded: Loaded,
    running: Sequence[RunningListener],
    runtime: Runtime,
    registration: Registration,
    publish: Callable[[Event], None],
    in_force: Callable[[tuple[RunningListener, ...]], None],
) -> None:
    """Apply a new configuration whose files have been read. If it is cancelled, it has either changed everything or nothing.

    Calls `in_force` with the listeners that run from then on, in the order of the configuration.

    Raises:
        ConfigurationError: a target that was registered at run time does not fit the new configuration. Nothing has changed.
        OSError: a new port cannot be opened. Nothing has changed.
    """
    _check_members(settings, runtime)
    change = _Change(settings, loaded, running, runtime, registration)
    try:
        await change.prepare()
    except BaseException:
        try:
            await close_all(change.opened)
        finally:
            _roll_back(change.known, runtime, registration)
        raise
    change.take_effect()
    for new in change.opened:
        publish(ListenerOpened(new.listener.name, new.port, url=new.url))
    in_force(change.listeners)
    leaving = [one for one in running if one not in change.listeners]
    try:
        await close_all(leaving)
    finally:
        for one in leaving:
            # After all listeners are closed, so that a client that reconnects cannot reach the old listener.
            one.end_connections()
            publish(ListenerClosed(one.listener.name, one.port, url=one.url))
        _remove_groups(settings, runtime, registration)
        runtime.reconfigure(settings)
        publish(change.applied())


class _Change:
    """The difference between the running configuration and the new one. First everything that can fail, then everything else at once."""

    def __init__(
        self, settings: Settings, loaded: Loaded, running: Sequence[RunningListener], runtime: Runtime, registration: Registration
    ) -> None:
        self._settings = settings
        self._loaded = loaded
        self._runtime = runtime
        self._registration = registration
        self._before = dict(zip(identities([one.listener for one in running]), running, strict=True))
        self._wanted = list(zip(identities(settings.listeners), settings.listeners, strict=True))
        _match_renamed(self._before, self._wanted)
        self._terminations = dict(zip((identity for identity, _ in self._wanted), loaded.terminations, strict=True))
        self._staying: dict[Identity, RunningListener] = {}
        self._changed: set[str] = set()
        """The names of the groups whose configuration differs."""
        self._rules: dict[Identity, RuleTable[RoutePlan]] = {}
        """The compiled rules of listeners that stay and have other rules."""
        self.known = set(runtime.choices)
        """The names of the groups that existed before."""
        self.opened: list[RunningListener] = []

    @property
    def listeners(self) -> tuple[RunningListener, ...]:
        """The listeners of the new configuration, in its order."""
        return tuple(self._staying[identity] for identity, _ in self._wanted)

    def applied(self) -> ConfigurationApplied:
        """The event of this change."""
        names = [group.name for group in self._settings.groups]
        changed = (self._staying[identity] for identity in self._rules)
        return ConfigurationApplied(
            len(self._settings.listeners),
            len(names),
            listeners_changed=tuple(one.listener.name or one.url for one in changed),
            groups_added=tuple(name for name in names if name not in self.known),
            groups_changed=tuple(sorted(self._changed)),
            groups_removed=tuple(sorted(self.known.difference(names))),
        )

    async def prepare(self) -> None:
        """Do everything that can fail or takes long. Nothing that requests can see changes, apart from new ports.

        Raises:
            ConfigurationError, OSError: as `apply`.
        """
        settings, runtime = self._settings, self._runtime
        # New groups are added first, because rules can only be compiled for known groups.
        for group in settings.groups:
            if group.name not in self.known:
                runtime.add_group(group)
        await self._open_listeners()
        # Before anything changes, so that a group whose addresses are replaced by a DNS name is never without targets.
        old_names = {name: runtime.choices[name].group.group.names for name in self.known}
        await self._registration.look_up_names(
            [(runtime.choices[group.name], {*old_names.get(group.name, ()), *group.names}) for group in settings.groups]
        )
        # Long computations are done in many iterations of the loop.
        self._changed = await _changed_groups(settings, self.known, runtime)
        for identity, listener in self._wanted:
            stays = self._staying[identity]
            if stays not in self.opened and await _is_changed(stays.listener, listener, self._changed):
                self._rules[identity] = await compile_rules(listener, runtime)
        # Again, because more targets may have been registered during the awaits above.
        _check_members(settings, runtime)

    async def _open_listeners(self) -> None:
        for identity, listener in self._wanted:
            old = self._before.get(identity)
            if old is not None and old.listener.bind_key == listener.bind_key:
                self._staying[identity] = old
                continue
            new = self._staying[identity] = RunningListener(listener, self._runtime, receive)
            self.opened.append(new)
            await new.open(self._terminations[identity])

    def take_effect(self) -> None:
        """Change everything in one iteration of the loop, so that no request sees half of it."""
        runtime, registration = self._runtime, self._registration
        runtime.connections.contexts.update(self._loaded.contexts)
        for group in self._settings.groups:
            if group.name in self._changed:
                _change_group(group, runtime, registration)
            elif group.name not in self.known:
                registration.begin(runtime.choices[group.name])
        for identity, listener in self._wanted:
            # A TLS listener also gets new certificates when its configuration is unchanged.
            if identity in self._rules or listener.is_secure:
                self._staying[identity].reconfigure(listener, self._terminations[identity], self._rules.get(identity))


async def _changed_groups(settings: Settings, known: set[str], runtime: Runtime) -> set[str]:
    """The names of the groups that existed before and whose configuration differs."""
    changed = set()
    for group in settings.groups:
        if group.name in known and runtime.choices[group.name].group.group != group:
            changed.add(group.name)
        await asyncio.sleep(0)
    return changed


async def _is_changed(old: Listener, new: Listener, changed: Collection[str]) -> bool:
    """Whether the configuration of a listener differs, given the names of the groups that differ."""
    if old is new:
        return False
    if any(group.name in changed for group in new.groups) or len(old.rules) != len(new.rules):
        return True
    if any(getattr(old, name) != getattr(new, name) for name in _SETTINGS_OF_LISTENER):
        return True
    if not _equal_actions(old.default_actions, new.default_actions):
        return True
    for place, (before, rule) in enumerate(zip(old.rules, new.rules, strict=True)):
        settings = (before.priority, before.conditions, before.transforms), (rule.priority, rule.conditions, rule.transforms)
        if before is not rule and (settings[0] != settings[1] or not _equal_actions(before.actions, rule.actions)):
            return True
        # Comparing a thousand rules takes milliseconds, in which no request would be served.
        if place % _RULES_PER_ITERATION == 0:
            await asyncio.sleep(0)
    return False


def _equal_actions(old: Sequence[Action], new: Sequence[Action]) -> bool:
    """Whether actions are equal, given that the groups they forward to are. Groups are compared by name only: with a thousand rules,
    comparing their targets each time would take too long."""
    return len(old) == len(new) and all(
        _key_of_forward(before) == _key_of_forward(action)
        if isinstance(before, Forward) and isinstance(action, Forward)
        else before == action
        for before, action in zip(old, new, strict=True)
    )


def _key_of_forward(forward: Forward) -> tuple[object, ...]:
    groups = [(group.name, weight) for group, weight in forward.groups]
    return (groups, *(getattr(forward, name) for name in _SETTINGS_OF_FORWARD))


def _roll_back(known: set[str], runtime: Runtime, registration: Registration) -> None:
    """Undo the preparations for a configuration that cannot take effect."""
    for name in known:
        registration.follow_declared_names(runtime.choices[name])
    for name in set(runtime.choices) - known:
        registration.forget_names(runtime.choices[name])
        runtime.remove_group(name)


def _check_members(settings: Settings, runtime: Runtime) -> None:
    """Check targets that were registered at run time: they stay if their group's declared list is unchanged, so they must fit its new
    settings."""
    faults = Faults("LoadBalancer")
    for group in settings.groups:
        choice = runtime.choices.get(group.name)
        if choice is None or choice.group.group.targets != group.targets:
            continue
        for member in choice.group.members.values():
            wrong = group.fault_of_member(member.target)
            if wrong:
                faults.add(f"target group {group.name!r}", f"{member.address}, registered at run time: {wrong}")
    faults.raise_if_any()


def identities(listeners: Sequence[Listener]) -> list[Identity]:
    """Return what identifies each listener, in the same order: its name, else what it listens on and its place."""
    places: Counter[Identity] = Counter()
    identities: list[Identity] = []
    for listener in listeners:
        key: Identity = (listener.name,) if listener.name is not None else listener.bind_key
        identities.append((*key, places[key]))
        places[key] += 1
    return identities


def _match_renamed(before: dict[Identity, RunningListener], wanted: Sequence[tuple[Identity, Listener]]) -> None:
    """Match a listener that has a new name, but the same port or socket, with the running one: its socket cannot be opened twice."""
    new = [(identity, listener) for identity, listener in wanted if identity not in before]
    kept = {identity for identity, _ in wanted}
    for identity, listener in new:
        for old in [old for old in before if old not in kept]:
            # Port 0 is no address: two listeners that ask for any free port have nothing in common.
            if not listener.takes_free_port and before[old].listener.bind_key == listener.bind_key:
                before[identity] = before.pop(old)
                break


def _change_group(new: TargetGroup, runtime: Runtime, registration: Registration) -> None:
    """Apply the settings of a group. Its members change only if the declared list has, so that targets registered at run time stay."""
    choice = runtime.choices[new.name]
    old = choice.group.group
    choice.group.group = new
    if _connection_settings(old) != _connection_settings(new):
        # Existing connections were made with the old settings and must serve no further request.
        for member in choice.group.members.values():
            runtime.connections.outdate(member)
    if old.targets != new.targets:
        registration.change_targets(choice)
    if any(getattr(old, name) != getattr(new, name) for name in _SETTINGS_OF_GROUP):
        choice.refresh()
    if getattr(new.stickiness, "while_draining", "") != "honor":
        registration.end_sessions(choice)
    if old.health_check != new.health_check:
        registration.change_health_check(choice, was_checked=old.health_check is not None)


def _connection_settings(group: TargetGroup) -> tuple[object, ...]:
    return group.protocol, group.protocol_version, group.verify, group.client_certificate, group.proxy_protocol


def _remove_groups(settings: Settings, runtime: Runtime, registration: Registration) -> None:
    names = {group.name for group in settings.groups}
    for name in [name for name in runtime.choices if name not in names]:
        choice = runtime.choices[name]
        registration.remove_group(choice)
        runtime.remove_group(name)
