"""The routes that change something, and `explain`."""

from __future__ import annotations

from typing import Any

import attrs
from yarl import URL

from albkit.admin.context import Context
from albkit.admin.problem import Fault, Problem, faults_of_configuration
from albkit.admin.route import Call
from albkit.errors import ConfigurationError
from albkit.model.descriptions import TargetDescription
from albkit.model.health import TargetHealthState
from albkit.model.target import Target, target_from
from albkit.model.tunnel import fault_of_close

__all__ = ("change", "close_tunnel", "close_tunnels", "delete", "drain", "explain", "put_back", "register", "reopen_logs")

_GOING_AWAY = 1001


async def register(api: Context, call: Call) -> dict[str, Any]:
    """Register targets."""
    group = _group(api, call)
    targets, faults = _targets(call.body["targets"])
    if faults:
        raise Problem.of_faults(faults)
    try:
        await api.load_balancer.register_targets(group, targets)
    except ConfigurationError as error:
        raise Problem.of_faults(list(faults_of_configuration(error, "targets"))) from None
    return {"targets": api.state.target_items(group, map(str, targets))}


def _targets(items: list[Any]) -> tuple[list[Target], list[Fault]]:
    targets: list[Target] = []
    faults: list[Fault] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(items):
        settings = dict(item) if isinstance(item, dict) else {"target": item}
        target = attrs.evolve(target_from(settings.pop("target")), **settings)
        first = seen.setdefault(str(target), index)
        if first != index:
            faults.append((f"targets[{index}]", f"{target} is already in the list, as targets[{first}]; leave it out"))
        targets.append(target)
    return targets, faults


async def change(api: Context, call: Call) -> dict[str, Any]:
    """Change the weight of a target, whether it is a standby target, or both."""
    group = _group(api, call)
    address = _address(call)
    found = _described(api, group, address)
    if found is None or found.state is TargetHealthState.DRAINING:
        words = f"{address} is not in service in target group {group}"
        if found is not None or api.drained.get(group, address) is not None:
            raise Problem(409, f"{words}: put it back first")
        raise Problem(404, f"{words}; register it first")
    # `weight` of the description is that in force.
    changed = attrs.evolve(found.target, weight=found.weight)
    await _register(api, group, attrs.evolve(changed, **call.body))
    return _target(api, group, address)


async def drain(api: Context, call: Call) -> dict[str, Any]:
    """Deregister a target, and remember it."""
    group = _group(api, call)
    address = _address(call)
    found = _described(api, group, address)
    if found is not None:
        if found.state is not TargetHealthState.DRAINING or api.drained.get(group, address) is None:
            api.drained.remember(group, attrs.evolve(found.target, weight=found.weight))
        await api.load_balancer.deregister_targets(group, found.target)
    elif api.drained.get(group, address) is None:
        raise Problem(404, f"target group {group} has no target {address}")
    return _target(api, group, address)


async def put_back(api: Context, call: Call) -> dict[str, Any]:
    """Register a target again that drains or was drained."""
    group = _group(api, call)
    address = _address(call)
    target = api.drained.get(group, address)
    if target is None:
        found = _described(api, group, address)
        if found is None:
            raise Problem(404, f"{address} was not drained through this admin API, so it is unknown how it was declared; register it")
        target = attrs.evolve(found.target, weight=found.weight)
        if found.state is not TargetHealthState.DRAINING:
            return _target(api, group, address)
    await _register(api, group, target)
    api.drained.forget(group, address)
    return _target(api, group, address)


async def delete(api: Context, call: Call) -> None:
    """Deregister a target, and forget it."""
    group = _group(api, call)
    address = _address(call)
    remembered = api.drained.forget(group, address)
    found = _described(api, group, address)
    if found is not None:
        await api.load_balancer.deregister_targets(group, found.target)
    elif not remembered:
        raise Problem(404, f"target group {group} has no target {address}")


async def close_tunnel(api: Context, call: Call) -> None:
    """Close one tunnel."""
    code = _code(call.request.query.get("code", str(_GOING_AWAY)))
    number = call.path["id"]
    if not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise Problem(404, f"there is no tunnel {number[:40]!r}")
    if not await api.load_balancer.close_tunnels(ids=[int(number)], code=code):
        raise Problem(404, f"there is no open tunnel {number}")


async def close_tunnels(api: Context, call: Call) -> dict[str, int]:
    """Close the tunnels to a target, to a group, or all."""
    body = call.body
    code = body.get("code", _GOING_AWAY)
    if body.get("all"):
        return {"closed": await api.load_balancer.close_tunnels(code=code)}
    _check_group(api, body["group"])
    return {"closed": await api.load_balancer.close_tunnels(body["group"], body.get("target"), code=code)}


def _code(text: str) -> int:
    """The code of a Close frame in the query."""
    code = int(text) if text.isascii() and text.isdigit() and len(text) == 4 else 0
    wrong = fault_of_close(code, "")
    if wrong:
        raise Problem.of_faults([("code", f"{text[:20]!a}: {wrong}")])
    return code


async def reopen_logs(api: Context, call: Call) -> None:
    """Open the log files again."""
    del call
    api.load_balancer.reopen_logs()


async def explain(api: Context, call: Call) -> dict[str, Any]:
    """Explain what would happen to a request."""
    body = call.body
    settings = {"headers": body.get("headers", {}), "listener": body.get("listener"), "http2": body.get("http2", False)}
    try:
        found = api.load_balancer.explain(body["method"], body["url"], client=body.get("client", "127.0.0.1"), **settings)
    except LookupError as error:
        raise Problem.of_faults([("listener", str(error))]) from None
    except ValueError as error:
        raise Problem.of_faults([("http2" if settings["http2"] else "url", str(error))]) from None
    return {
        "rule": f"{_listener_id(api, settings['listener'], body['url'])}/{found.rule.priority}" if found.rule is not None else None,
        "group": found.group,
        "target": str(found.target) if found.target is not None else None,
        "why": list(found.why),
    }


def _listener_id(api: Context, name: str | None, url: str) -> str:
    """The id of the listener that `explain` has used: the one of this name, else of this port, else the first."""
    listeners = api.load_balancer.describe_listeners()
    port = URL(url, encoded=True).explicit_port
    named = (one.id for one in listeners if name is not None and one.name == name)
    return next(named, None) or next((one.id for one in listeners if one.port == port), listeners[0].id if listeners else "")


# What several of them need.


def _check_group(api: Context, group: str) -> None:
    try:
        next(api.load_balancer.describe_targets(group), None)
    except LookupError as error:
        raise Problem(404, str(error.args[0])) from None


def _group(api: Context, call: Call) -> str:
    _check_group(api, call.path["group"])
    return call.path["group"]


def _address(call: Call) -> str:
    """The address in the path, as targets are named: `http://web:80` is the target `web:80`."""
    try:
        return str(target_from(call.path["address"]))
    except ConfigurationError as error:
        raise Problem(404, f"there is no such target: {'; '.join(error.faults)}") from None


def _described(api: Context, group: str, address: str) -> TargetDescription | None:
    return next(api.load_balancer.describe_targets(group, address), None)


def _target(api: Context, group: str, address: str) -> dict[str, Any]:
    items = api.state.target_items(group, [address])
    if not items:
        raise Problem(404, f"target group {group} has no target {address}")
    return {"target": items[0]}


async def _register(api: Context, group: str, target: Target) -> None:
    try:
        await api.load_balancer.register_targets(group, target)
    except ConfigurationError as error:
        raise Problem.of_faults([("", fault.partition(": ")[2] or fault) for fault in error.faults]) from None
