"""Explains what would happen to a request, without sending anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from albkit.errors import Failure, told
from albkit.model.message import ClientAddress, RequestHead
from albkit.model.rule import Rule
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.model.target import Target
from albkit.policy.describe import describe_action, describe_condition
from albkit.policy.protocol_versions import is_grpc_type, mismatch
from albkit.policy.route_plan import RoutePlan
from albkit.policy.rule_table import CompiledRule
from albkit.proxy.accept.listener import RunningListener
from albkit.proxy.runtime import Runtime

__all__ = ("Explanation", "explain")

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


@attrs.frozen
class Explanation:
    """What would happen to a request."""

    rule: Rule | None
    """The rule that matches; `None` for the default action."""
    group: str | None
    """The name of the target group; `None` if the rule answers the request, or if no group can be chosen."""
    target: Target | None
    """The target that would be chosen now; `None` if there is none, or if nothing is forwarded."""
    why: tuple[str, ...]
    """Line by line: why earlier rules do not match, why this one does, and how group and target are chosen."""

    def __str__(self) -> str:
        return "\n".join(self.why)


def explain(
    method: str,
    url: str,
    headers: Fields,
    client: str,
    listener: str | None,
    running: Sequence[RunningListener],
    runtime: Runtime,
    *,
    http2: bool,
) -> Explanation:
    """See `LoadBalancer.explain`."""
    target_url = URL(url, encoded=True)
    entered = _listener(target_url, listener, running)
    request = _request(method, target_url, headers, client, entered)
    if http2 and not entered.listener.http2:
        raise ValueError(
            f"listener {entered.listener.name or entered.port} does not accept HTTP/2; leave out http2, or set Listener(http2=True)"
        )
    table = entered.listener_runtime.rules
    chosen = table.match(request)
    why = [*_before(table.rules, chosen, request), _because(chosen)]
    plan = chosen.action
    why += [f"{describe_action(hook)} first, which may answer the request" for hook in plan.hooks]
    if plan.groups is None:
        why.append(plan.routing.describe())
        return Explanation(chosen.rule, None, None, tuple(why))
    return _forwarded(chosen, plan, request, runtime, why, "HTTP/2" if http2 else "HTTP/1.1")


def _forwarded(
    chosen: CompiledRule[RoutePlan], plan: RoutePlan, request: RequestHead, runtime: Runtime, why: list[str], protocol: str
) -> Explanation:
    now = runtime.clock.time()
    groups = plan.groups
    choice = None
    if groups is not None:
        try:
            choice = groups.only if groups.only is not None else groups.pick(request, now)[0]
        except Failure as failure:
            why.append(f"500: {failure.detail}")
            return Explanation(chosen.rule, None, None, tuple(why))
        if groups.only is None:
            why.append(f"one of the groups {', '.join(groups.names)}: by the request's cookie if it has one, otherwise random by weight")
    if choice is None:
        why.append("503: all weights are 0")
        return Explanation(chosen.rule, None, None, tuple(why))
    name = choice.group.group.name
    grpc = is_grpc_type(request.headers.get("Content-Type", ""))
    clash = mismatch(protocol, request.method, grpc=grpc, version=choice.group.group.protocol_version)
    if clash:
        why.append(f"464: group {name}: {clash}")
        return Explanation(chosen.rule, name, None, tuple(why))
    try:
        # The same order as for a real request: session first, then the algorithm.
        bound = choice.bound(request, now)
        member = bound if bound is not None else choice.peek(request)
    except Failure as failure:
        why.append(f"500: {failure.detail}")
        return Explanation(chosen.rule, name, None, tuple(why))
    except Exception as error:  # noqa: BLE001 - an algorithm of the program may raise anything; here it is only reported
        why.append(f"500: the algorithm of group {name} failed: {told(error)}")
        return Explanation(chosen.rule, name, None, tuple(why))
    if member is None:
        why.append(f"503: group {name} has no target that can be chosen")
        return Explanation(chosen.rule, name, None, tuple(why))
    reason = _binding(choice.group.group.stickiness) if bound is not None else f"chosen by {_algorithm(choice.group.group.algorithm)}"
    why.append(f"forward to group {name}, target {member.address}: {reason}; it is {member.state}, {member.outstanding} outstanding")
    return Explanation(chosen.rule, name, member.target, tuple(why))


def _binding(stickiness: object) -> str:
    return stickiness.reason if isinstance(stickiness, BuiltInStickiness) else "bound by its key"


def _algorithm(setting: object) -> str:
    return setting if isinstance(setting, str) else type(setting).__name__


def _listener(url: URL, name: str | None, running: Sequence[RunningListener]) -> RunningListener:
    if not running:
        raise RuntimeError("the load balancer is not running; await start() first")
    if name is not None:
        found = next((one for one in running if one.listener.name == name), None)
        if found is None:
            raise LookupError(f"there is no listener {name!r}; the listeners are {[one.listener.name for one in running]}")
        return found
    return next((one for one in running if one.port == url.explicit_port), running[0])


def _request(method: str, url: URL, headers: Fields, client: str, entered: RunningListener) -> RequestHead:
    request = RequestHead()
    fields = CIMultiDict(headers)
    request.method = method
    request.path = url.raw_path or "/"
    request.query_string = url.raw_query_string
    request.host = _host(fields.get("Host"), url)
    fields.setdefault("Host", url.raw_authority.rpartition("@")[2])  # For conditions of the program's own.
    request.headers = CIMultiDictProxy(fields)
    request.cookie = "; ".join(fields.getall("Cookie", [])).encode("latin-1", "replace")
    request.client = ClientAddress(client, 0)
    request.listener = entered.listener
    return request


def _host(given: str | None, url: URL) -> str:
    """The host as rules see it: in lower case, without a port or a final dot, IPv6 addresses in brackets."""
    if given is None:
        host = url.raw_host or ""
        return f"[{host}]" if ":" in host else host.lower().removesuffix(".")
    if given.startswith("["):
        return given.partition("]")[0].lower() + "]"
    return given.partition(":")[0].lower().removesuffix(".")


def _before(rules: Sequence[CompiledRule[RoutePlan]], chosen: CompiledRule[RoutePlan], request: RequestHead) -> list[str]:
    lines = []
    for rule in rules:
        if rule is chosen:
            break
        if rule.rule is None:
            continue
        # The configured conditions, for their description, beside the compiled ones, for their result.
        pairs = zip(rule.rule.conditions, rule.conditions, strict=True)
        failing = next((describe_condition(condition) for condition, holds in pairs if not holds(request)), "the same when evaluated again")
        lines.append(f"rule {rule.priority} does not match: not {failing}")
    return lines


def _because(chosen: CompiledRule[RoutePlan]) -> str:
    if chosen.rule is None:
        return "the default action applies: no rule matches"
    return f"rule {chosen.priority} matches: {' and '.join(map(describe_condition, chosen.rule.conditions))}"
