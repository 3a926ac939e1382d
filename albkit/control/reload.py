"""Puts a new description in force as a difference: what did not change is not touched (design: identity).

A listener is known by its name, else by what it listens on (host and requested port, the path of a unix socket, or an inherited socket)
and its place among those that share it; a target group by its name; a target by its address. What stays keeps its sockets as they are,
but for their backlog. All that can fail is done first, so that a description that cannot be put in force changes nothing.
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

__all__ = ("apply",)

Identity = tuple[object, ...]

_RULES_IN_A_TURN = 64
_SETTINGS_OF_LISTENER = [field.name for field in attrs.fields(Listener) if field.name not in ("rules", "default_actions")]
_SETTINGS_OF_GROUP = [field.name for field in attrs.fields(TargetGroup) if field.name != "targets"]
_SETTINGS_OF_FORWARD = [field.name for field in attrs.fields(Forward) if field.name != "groups"]


async def apply(
    settings: Settings,
    loaded: Loaded,
    running: Sequence[RunningListener],
    runtime: Runtime,
    registration: Registration,
    tell: Callable[[Event], None],
    in_force: Callable[[tuple[RunningListener, ...]], None],
) -> None:
    """Go over to a new description, whose files have been read. Cancelled, it has either done so or changed nothing.

    Calls `in_force` with the listeners that run from then on, in the order of the description.

    Raises:
        ConfigurationError: a target that was registered at run time does not go with the new description; nothing has changed then.
        OSError: a new port cannot be opened; nothing has changed then.
    """
    _check_members(settings, runtime)
    before = dict(zip(_identities([one.listener for one in running]), running, strict=True))
    wanted = list(zip(_identities(settings.listeners), settings.listeners, strict=True))
    _match_renamed(before, wanted)
    terminations = dict(zip((identity for identity, _ in wanted), loaded.terminations, strict=True))
    known = set(runtime.choices)
    for group in settings.groups:
        if group.name not in known:
            runtime.add_group(group)
    staying: dict[Identity, RunningListener] = {}
    opened: list[RunningListener] = []
    try:
        for identity, listener in wanted:
            old = before.get(identity)
            if old is not None and old.listener.door == listener.door:
                staying[identity] = old
                continue
            new = staying[identity] = RunningListener(listener, runtime, receive)
            opened.append(new)
            await new.open(terminations[identity])
        # Before anything changes, so that a group that goes over to a name is never without targets.
        old_names = {name: runtime.choices[name].group.group.names for name in known}
        await registration.look_up_names(
            [(runtime.choices[group.name], {*old_names.get(group.name, ()), *group.names}) for group in settings.groups]
        )
        # What takes long is made ready in many turns of the loop; all of it is put in force in one.
        changed = await _changed_groups(settings, known, runtime)
        rules: dict[Identity, RuleTable[RoutePlan]] = {}
        for identity, listener in wanted:
            if staying[identity] not in opened and await _is_changed(staying[identity].listener, listener, changed):
                rules[identity] = await compile_rules(listener, runtime)
        # Once more: others may have been registered meanwhile.
        _check_members(settings, runtime)
    except BaseException:
        try:
            await close_all(opened)
        finally:
            _leave_as_it_was(known, runtime, registration)
        raise

    runtime.connections.contexts.update(loaded.contexts)
    for group in settings.groups:
        if group.name in changed:
            _change_group(group, runtime, registration)
        elif group.name not in known:
            registration.begin(runtime.choices[group.name])
    for identity, listener in wanted:
        if identity in rules or listener.is_secure:
            staying[identity].reconfigure(listener, terminations[identity], rules.get(identity))
    for new in opened:
        tell(ListenerOpened(new.listener.name, new.port))
    in_force(tuple(staying[identity] for identity, _ in wanted))
    leaving = [one for one in running if one not in staying.values()]
    try:
        await close_all(leaving)
    finally:
        for one in leaving:
            one.end_connections()
            tell(ListenerClosed(one.listener.name, one.port))
        _remove_groups(settings, runtime, registration)
        runtime.reconfigure(settings)
        tell(ConfigurationApplied(len(settings.listeners), len(settings.groups)))


async def _changed_groups(settings: Settings, known: set[str], runtime: Runtime) -> set[str]:
    """The names of the groups that were there before and are described in another way now."""
    changed = set()
    for group in settings.groups:
        if group.name in known and runtime.choices[group.name].group.group != group:
            changed.add(group.name)
        await asyncio.sleep(0)
    return changed


async def _is_changed(old: Listener, new: Listener, changed: Collection[str]) -> bool:
    """Whether a listener is described in another way now, where of the groups these are."""
    if old is new:
        return False
    if any(group.name in changed for group in new.groups) or len(old.rules) != len(new.rules):
        return True
    if any(getattr(old, name) != getattr(new, name) for name in _SETTINGS_OF_LISTENER):
        return True
    if not _are_alike(old.default_actions, new.default_actions):
        return True
    for place, (before, rule) in enumerate(zip(old.rules, new.rules, strict=True)):
        settings = (before.priority, before.conditions, before.transforms), (rule.priority, rule.conditions, rule.transforms)
        if before is not rule and (settings[0] != settings[1] or not _are_alike(before.actions, rule.actions)):
            return True
        if place % _RULES_IN_A_TURN == 0:
            await asyncio.sleep(0)
    return False


def _are_alike(old: Sequence[Action], new: Sequence[Action]) -> bool:
    """Whether these actions do the same, where the groups that they send to have not changed: their names tell, and a thousand rules
    compare no target with another."""
    return len(old) == len(new) and all(
        _of_forward(before) == _of_forward(action) if isinstance(before, Forward) and isinstance(action, Forward) else before == action
        for before, action in zip(old, new, strict=True)
    )


def _of_forward(forward: Forward) -> tuple[object, ...]:
    groups = [(group.name, weight) for group, weight in forward.groups]
    return (groups, *(getattr(forward, name) for name in _SETTINGS_OF_FORWARD))


def _leave_as_it_was(known: set[str], runtime: Runtime, registration: Registration) -> None:
    """Forget the groups that came with a description that cannot be put in force."""
    for name in known:
        registration.follow_declared_names(runtime.choices[name])
    for name in set(runtime.choices) - known:
        registration.forget_names(runtime.choices[name])
        runtime.remove_group(name)


def _check_members(settings: Settings, runtime: Runtime) -> None:
    """Targets that were registered at run time stay where their group's declared list has not changed: they must go with its settings."""
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


def _identities(listeners: Sequence[Listener]) -> list[Identity]:
    places: Counter[Identity] = Counter()
    identities: list[Identity] = []
    for listener in listeners:
        door: Identity = (listener.name,) if listener.name is not None else listener.door
        identities.append((*door, places[door]))
        places[door] += 1
    return identities


def _match_renamed(before: dict[Identity, RunningListener], wanted: Sequence[tuple[Identity, Listener]]) -> None:
    """A listener under another name on the same port or socket is the same door: opening it a second time would fail."""
    new = [(identity, listener) for identity, listener in wanted if identity not in before]
    kept = {identity for identity, _ in wanted}
    for identity, listener in new:
        for old in [old for old in before if old not in kept]:
            if not listener.takes_free_port and before[old].listener.door == listener.door:
                before[identity] = before.pop(old)
                break


def _change_group(new: TargetGroup, runtime: Runtime, registration: Registration) -> None:
    """Take over the settings; change the members only where the declared list has changed, so that those registered at run time stay."""
    choice = runtime.choices[new.name]
    old = choice.group.group
    choice.group.group = new
    if _how_connected(old) != _how_connected(new):
        # What was connected in another way serves no further request.
        for member in choice.group.members.values():
            runtime.connections.outdate(member)
    if old.targets != new.targets:
        registration.change_targets(choice)
    if any(getattr(old, name) != getattr(new, name) for name in _SETTINGS_OF_GROUP):
        choice.refresh()
    if getattr(new.stickiness, "while_draining", "") != "honor":
        registration.dishonor(choice)
    if old.health_check != new.health_check:
        registration.change_health_check(choice, was_checked=old.health_check is not None)


def _how_connected(group: TargetGroup) -> tuple[object, ...]:
    return group.protocol, group.verify, group.client_certificate, group.proxy_protocol


def _remove_groups(settings: Settings, runtime: Runtime, registration: Registration) -> None:
    names = {group.name for group in settings.groups}
    for name in [name for name in runtime.choices if name not in names]:
        choice = runtime.choices[name]
        registration.end(choice)
        runtime.remove_group(name)
