"""The compiled rules of one listener: the first rule by priority that holds applies, else the default action (docs/alb.md 2.5).

The table is an index of the rules by host (exact, or its ending) and path (exact, or its beginning), which nearly every rule names. Only
rules that could hold are tried for a request, however many rules there are. Rules that cannot be indexed (a wildcard in the middle, or
conditions on header fields or methods alone) are tried in order.

A rule with a condition of the program's own is tried last, and only if it comes before the rule that was found: such a condition is never
called for a request that an earlier rule takes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Generic, TypeVar

from albkit.model.conditions import Holds, compile_condition
from albkit.model.conditions.condition import BuiltInCondition
from albkit.model.conditions.host_header import HostHeader, host_to_match
from albkit.model.conditions.path_pattern import PathPattern
from albkit.model.listener import Listener
from albkit.model.message import RequestHead
from albkit.model.rule import Rule
from albkit.policy.paths import path_to_match

__all__ = ("CompiledRule", "RuleTable")

Action = TypeVar("Action")

_RULES_IN_A_STEP = 16
"""Rules compiled at a time. The event loop can do other work between two steps."""


class CompiledRule(Generic[Action]):
    """One rule with its compiled conditions and action. `rule` is `None` for the default action."""

    __slots__ = ("action", "conditions", "hits", "position", "priority", "rule")

    def __init__(self, rule: Rule | None, position: int, conditions: tuple[Holds, ...], action: Action) -> None:
        self.rule = rule
        self.priority = 0 if rule is None else rule.priority
        self.position = position
        """The number of rules up to and including this one: what ALB counts as rule evaluations."""
        self.conditions = conditions
        self.action = action
        self.hits = 0
        """Requests that it was applied to."""

    def holds(self, request: RequestHead) -> bool:
        """Return whether all conditions hold."""
        for holds in self.conditions:  # noqa: SIM110 - a generator costs more than the conditions
            if not holds(request):
                return False
        return True


class RuleTable(Generic[Action]):
    """Finds the rule that applies to a request.

    Args:
        listener: The listener whose rules to compile.
        prepare: Returns the action of a compiled rule, which the caller gets back when the rule applies. Its argument is `None` for the
            default action.
    """

    __slots__ = ("_anywhere", "_asking", "_by_host", "_by_host_ending", "default", "rules")

    default: CompiledRule[Action]
    """The default action."""
    rules: tuple[CompiledRule[Action], ...]
    """All others, by priority."""

    def __init__(self, listener: Listener, prepare: Callable[[Rule | None], Action]) -> None:
        for _ in self.compile(listener, prepare):
            pass

    @classmethod
    def in_steps(cls, listener: Listener, prepare: Callable[[Rule | None], Action]) -> Generator[None, None, RuleTable[Action]]:
        """Make a table in steps of a few rules each, so that the caller can do other work in between. The generator returns the table."""
        table = cls.__new__(cls)
        yield from table.compile(listener, prepare)
        return table

    def compile(self, listener: Listener, prepare: Callable[[Rule | None], Action]) -> Iterator[None]:
        """Compile the rules, a few at each step. Do not use the table before the last step."""
        ordered = sorted(listener.rules, key=lambda rule: rule.priority)
        compiled: list[CompiledRule[Action]] = []
        self.default = CompiledRule(None, len(ordered), (), prepare(None))
        self._by_host: dict[str, _Shelf[Action]] = {}
        self._by_host_ending: dict[str, _Shelf[Action]] = {}
        self._anywhere: _Shelf[Action] = _Shelf()
        self._asking: list[CompiledRule[Action]] = []
        for position, described in enumerate(ordered, 1):
            rule = CompiledRule(described, position, tuple(map(compile_condition, described.conditions)), prepare(described))
            compiled.append(rule)
            if _asks_the_program(rule):
                self._asking.append(rule)
            else:
                for shelf in self._shelves(rule):
                    shelf.add(rule)
            if position % _RULES_IN_A_STEP == 0:
                yield
        self.rules = tuple(compiled)

    def take_over(self, before: RuleTable[Action]) -> None:
        """Go on with the hit counts of the table that this one replaces. A rule with the same priority and conditions is the same rule."""
        self.default.hits += before.default.hits
        known = {rule.priority: rule for rule in before.rules if rule.hits}
        for rule in self.rules if known else ():
            old = known.get(rule.priority)
            # By equality alone: a condition of the program need not be hashable.
            if old is not None and old.rule is not None and rule.rule is not None and old.rule.conditions == rule.rule.conditions:
                rule.hits += old.hits

    def match(self, request: RequestHead) -> CompiledRule[Action]:
        """Return the first rule by priority whose conditions all hold, else the default rule (priority 0)."""
        if not self.rules:
            return self.default
        path = request.path
        # `path_to_match` tests this as well, but most requests are spared the call.
        request.path_to_match = path = path if "/." not in path else path_to_match(path)
        best = self._anywhere.first(request, path, self.default)
        host = request.host
        if self._by_host and (shelf := self._by_host.get(host)) is not None:
            best = shelf.first(request, path, best)
        if self._by_host_ending:
            dot = host.find(".")
            while dot >= 0:
                if (shelf := self._by_host_ending.get(host[dot:])) is not None:
                    best = shelf.first(request, path, best)
                dot = host.find(".", dot + 1)
        return _first(self._asking, request, best) if self._asking else best

    @property
    def asks_program(self) -> bool:
        """Whether a rule has a condition of the program's own."""
        return bool(self._asking)

    def _shelves(self, rule: CompiledRule[Action]) -> Iterable[_Shelf[Action]]:
        hosts = _of_kind(rule, HostHeader)
        if hosts is None or hosts.regex:
            return [self._anywhere]
        shelves = {}
        for value in map(host_to_match, hosts.values):
            if "*" not in value and "?" not in value:
                shelves[value] = self._by_host.setdefault(value, _Shelf())
            elif value.startswith("*.") and "*" not in value[1:] and "?" not in value:
                shelves[value] = self._by_host_ending.setdefault(value[1:], _Shelf())
            else:
                return [self._anywhere]
        return shelves.values()


class _Shelf(Generic[Action]):
    """Rules with the same host or ending of the host, indexed by path."""

    __slots__ = ("_anything", "_by_folder", "_by_path", "_by_start", "_depth", "_lengths")

    def __init__(self) -> None:
        self._by_path: dict[str, list[CompiledRule[Action]]] = {}
        self._by_folder: dict[str, list[CompiledRule[Action]]] = {}
        """By a beginning that ends with a slash, as nearly all do. A request looks up its own folders instead of every length."""
        self._depth = 0
        """The number of slashes behind the first one in the deepest folder."""
        self._by_start: dict[str, list[CompiledRule[Action]]] = {}
        """By any other beginning."""
        self._lengths: tuple[int, ...] = ()
        """The lengths of these beginnings."""
        self._anything: list[CompiledRule[Action]] = []
        """Rules that are not indexed by path."""

    def add(self, rule: CompiledRule[Action]) -> None:
        """Add a rule. Rules must be added in order of priority."""
        paths = _of_kind(rule, PathPattern)
        if paths is None or paths.regex or any(_start(value) in ("", "/") for value in paths.values):
            self._anything.append(rule)
            return
        for value in dict.fromkeys(paths.values):
            start = _start(value)
            if start is None:
                file = self._by_path.setdefault(value, [])
            elif start.startswith("/") and start.endswith("/"):
                file = self._by_folder.setdefault(start, [])
                self._depth = max(self._depth, start.count("/", 1))
            else:
                file = self._by_start.setdefault(start, [])
                if len(start) not in self._lengths:
                    self._lengths = tuple(sorted((*self._lengths, len(start))))
            if not file or file[-1] is not rule:
                file.append(rule)

    def first(self, request: RequestHead, path: str, best: CompiledRule[Action]) -> CompiledRule[Action]:
        """Return the first rule here that holds and comes before `best`, else `best`."""
        if self._by_path and (rules := self._by_path.get(path)) is not None:
            best = _first(rules, request, best)
        if left := self._depth:
            end = path.find("/", 1) + 1
            while end:
                if (rules := self._by_folder.get(path[:end])) is not None:
                    best = _first(rules, request, best)
                left -= 1
                end = path.find("/", end) + 1 if left else 0
        for length in self._lengths:
            if (rules := self._by_start.get(path[:length])) is not None:
                best = _first(rules, request, best)
        return _first(self._anything, request, best) if self._anything else best


def _first(rules: list[CompiledRule[Action]], request: RequestHead, best: CompiledRule[Action]) -> CompiledRule[Action]:
    for rule in rules:
        if best.rule is not None and rule.position >= best.position:
            break
        if rule.holds(request):
            return rule
    return best


def _asks_the_program(rule: CompiledRule[Action]) -> bool:
    """Return whether a condition of the rule is a callable of the program's own."""
    conditions = rule.rule.conditions if rule.rule is not None else ()
    return not all(isinstance(condition, BuiltInCondition) for condition in conditions)


Kind = TypeVar("Kind", bound=BuiltInCondition)


def _of_kind(rule: CompiledRule[Action], kind: type[Kind]) -> Kind | None:
    """Return the rule's condition of this kind; `None` if it has none. For kinds that a rule can have at most once."""
    conditions = rule.rule.conditions if rule.rule is not None else ()
    return next((condition for condition in conditions if isinstance(condition, kind)), None)


def _start(pattern: str) -> str | None:
    """Return the text before the first wildcard of a pattern; `None` if it has no wildcard."""
    places = [place for place in (pattern.find("*"), pattern.find("?")) if place >= 0]
    return pattern[: min(places)] if places else None
