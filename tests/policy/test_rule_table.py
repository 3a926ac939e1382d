from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import albkit as alb
from albkit.model.message import RequestHead
from albkit.policy.rule_table import RuleTable
from tests.policy.naive import matches, without_dot_segments
from tests.policy.requests import request_for
from tests.support.effort import cases

_DEFAULT = alb.FixedResponse(404)


def _table(*rules: alb.Rule) -> RuleTable[Any]:
    return RuleTable(alb.Listener(80, _DEFAULT, list(rules)), lambda rule: _DEFAULT if rule is None else rule.action)


def _rule(priority: int, *conditions: Any) -> alb.Rule:
    return alb.Rule(priority, list(conditions), alb.FixedResponse(200))


def test_rule_table_without_rules_gives_the_default() -> None:
    """The default rule has priority 0 and evaluates nothing (docs/alb.md 7.1, 8)."""
    rule = _table().match(request_for())
    assert (rule.priority, rule.position, rule.action, rule.rule) == (0, 0, _DEFAULT, None)


def test_rule_table_tries_by_priority_not_by_place() -> None:
    """Ascending priority, whatever the order they were written in (docs/alb.md 2.5)."""
    path = alb.PathPattern("*")
    assert _table(_rule(30, path), _rule(10, path), _rule(20, path)).match(request_for()).priority == 10


def test_rule_table_counts_the_rules_it_evaluates() -> None:
    """RuleEvaluations counts rules tried, the default rule not among them (docs/alb.md 8)."""
    table = _table(_rule(1, alb.PathPattern("/a")), _rule(2, alb.PathPattern("/b")), _rule(3, alb.PathPattern("/c")))
    assert [table.match(request_for(path)).position for path in ("/a", "/b", "/c", "/d")] == [1, 2, 3, 3]


def test_rule_table_asks_for_all_conditions() -> None:
    """Conditions are AND (docs/alb.md 3.1)."""
    table = _table(_rule(1, alb.HostHeader("a"), alb.PathPattern("/a")))
    asked = (("a", "/a"), ("a", "/b"), ("b", "/a"))
    assert [table.match(request_for(path, host=host)).priority for host, path in asked] == [1, 0, 0]


def test_rule_table_asks_for_every_one_of_repeated_conditions() -> None:
    """All of several strings is one condition per string (docs/alb.md 3.1)."""
    table = _table(
        _rule(1, alb.HttpHeader("X", "*a*"), alb.HttpHeader("X", "*b*")), _rule(2, alb.QueryString(("a", "1")), alb.QueryString(("b", "2")))
    )
    assert table.match(request_for(fields=[("X", "ab")])).priority == 1
    assert table.match(request_for(fields=[("X", "a")])).priority == 0
    assert table.match(request_for("/?b=2&a=1")).priority == 2
    assert table.match(request_for("/?a=1")).priority == 0


def test_rule_table_gives_what_was_prepared_of_a_rule() -> None:
    """What matches gives the caller its own, made once per rule and once for the default."""
    rules = [_rule(1, alb.PathPattern("/a")), _rule(2, alb.PathPattern("/b"))]
    prepared: list[alb.Rule | None] = []

    def prepare(rule: alb.Rule | None) -> str:
        prepared.append(rule)
        return "default" if rule is None else f"rule {rule.priority}"

    table = RuleTable(alb.Listener(80, _DEFAULT, rules), prepare)
    for _ in range(2):
        assert [table.match(request_for(path)).action for path in ("/a", "/b", "/c")] == ["rule 1", "rule 2", "default"]
    assert sorted(prepared, key=str) == sorted([*rules, None], key=str)


@pytest.mark.parametrize("kind", ["host", "ending", "path", "start", "anywhere"])
def test_rule_table_never_calls_a_condition_of_a_rule_behind_the_one_that_applies(kind: str) -> None:
    """A callable is asked only by a request that has come to its rule: one that raises must harm no request of an earlier rule."""

    def raises(request: alb.Request) -> bool:
        raise AssertionError("asked")

    earlier = {
        "host": alb.HostHeader("example.com"),
        "ending": alb.HostHeader("*.com"),
        "path": alb.PathPattern("/a/b"),
        "start": alb.PathPattern("/a/*"),
        "anywhere": alb.HttpRequestMethod("GET"),
    }[kind]
    later = (alb.HostHeader("example.com"), alb.HostHeader("*.com"), alb.PathPattern("/a/b"), alb.PathPattern("/a/*"))
    behind = [_rule(place, condition, raises) for place, condition in enumerate(later, 20)]
    table = _table(_rule(10, earlier), *behind, _rule(30, raises))
    assert table.match(request_for("/a/b")).priority == 10


def test_rule_table_calls_a_callable_once_the_conditions_before_it_hold() -> None:
    """Conditions are tried in the order in which they stand, and no further than to the first that does not hold."""
    asked: list[str] = []

    def note(request: alb.Request) -> bool:
        asked.append(request.path)
        return True

    table = _table(_rule(1, alb.PathPattern("/a"), note))
    assert [table.match(request_for(path)).priority for path in ("/a", "/b")] == [1, 0]
    assert asked == ["/a"]


_hosts = ("a.com", "b.a.com", "A.com", "*.a.com", "*.COM", "*", "?.com", "b.*", "*a*", "*.?om", "b.a.???")
_paths = ("/", "/a", "/a/*", "*", "/?", "/a/b", "*b", "/a*", "/a/*/c", "/a?b", "/A", "/a/b/*", "*/b*", "//*", "/?/*")
_header_values = ("x", "X*", "*y", "?", "x, y")
_queries: tuple[Any, ...] = (("k", "v"), ("K*", "*"), "v", "*", ("?", "V?"))
_networks = ("10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "0.0.0.0/0")


def _some(values: tuple[Any, ...], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=most)


def _on_path(letter: str) -> Callable[[RequestHead], bool]:
    return lambda request: letter in request.path


_own = {letter: _on_path(letter) for letter in "abc"}
_conditions = st.fixed_dictionaries(
    {},
    optional={
        "host": _some(_hosts),
        "path": _some(_paths),
        "method": _some(("GET", "POST")),
        "header": _some(_header_values),
        "query": _some(_queries),
        "source": _some(_networks),
        "own": st.sampled_from(sorted(_own)),
    },
).filter(bool)
_requests = st.fixed_dictionaries(
    {
        "target": st.builds(
            lambda path, query: f"{path}?{query}" if query else path,
            st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c", "/a/../b", "/./a", "/c", "//", "//b", "/ab", "/axb", "*", "/a/b/"]),
            st.sampled_from(["", "k=v", "K=V", "kk=", "v", "x=v&k=w", "k=vv", "a=b?c", "&"]),
        ),
        "host": st.sampled_from(["a.com", "b.a.com", "c.b.a.com", "x.com", ".a.com", "com", "b.org", ""]),
        "method": st.sampled_from(["GET", "POST", "get"]),
        "fields": st.lists(st.tuples(st.sampled_from(["X", "x", "Y"]), st.sampled_from(["x", "y", "XY", ""])), max_size=3),
        "client": st.sampled_from(["10.1.2.3", "10.2.0.1", "192.0.2.1", "2001:db8::1", ""]),
    }
)


def _built(described: dict[str, Any]) -> list[Any]:
    kinds: dict[str, Callable[[Any], Any]] = {
        "host": alb.HostHeader,
        "path": alb.PathPattern,
        "method": alb.HttpRequestMethod,
        "header": lambda values: alb.HttpHeader("X", values),
        "query": alb.QueryString,
        "source": alb.SourceIp,
        "own": _own.__getitem__,
    }
    return [kinds[kind](values) for kind, values in described.items()]


def _naively(described: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether all conditions hold, by the words of docs/alb.md 3."""
    path, _, query = request["target"].partition("?")
    parameters = [parameter.partition("=") for parameter in query.lower().split("&") if parameter]
    values = [value.lower() for name, value in request["fields"] if name.lower() == "x"]
    pairs = [("*", item) if isinstance(item, str) else item for item in described.get("query", ())]
    answers = {
        # RFC 3986 section 3.2.2: with a dot at its end it is the same name.
        "host": lambda: any(matches(value.lower().removesuffix(".") or value, request["host"]) for value in described["host"]),
        "path": lambda: any(matches(value, without_dot_segments(path)) for value in described["path"]),
        "method": lambda: request["method"] in described["method"],
        "header": lambda: any(matches(value.lower(), text) for value in described["header"] for text in values),
        "query": lambda: any(
            matches(key.lower(), name) and matches(value.lower(), text) for key, value in pairs for name, _, text in parameters
        ),
        "source": lambda: any(
            request["client"] and ipaddress.ip_address(request["client"]) in ipaddress.ip_network(network)
            for network in described["source"]
        ),
        "own": lambda: described["own"] in path,
    }
    return all(answers[kind]() for kind in described)


@settings(max_examples=cases(400, part=4))
@given(st.dictionaries(st.integers(1, 50), _conditions, max_size=10), st.lists(_requests, min_size=1, max_size=8))
def test_rule_table_agrees_with_a_plain_loop(rules: dict[int, dict[str, Any]], requests: list[dict[str, Any]]) -> None:
    """The first rule by priority of which every condition holds, else the default, and the count of rules up to it."""
    table = _table(*[_rule(priority, *_built(described)) for priority, described in rules.items()])
    ordered = sorted(rules)
    for request in requests:
        expected = next((priority for priority in ordered if _naively(rules[priority], request)), 0)
        given_ = dict(request)
        found = table.match(request_for(given_.pop("target"), **given_))
        assert found.priority == expected
        assert found.position == (ordered.index(expected) + 1 if expected else len(ordered))


_wild = st.text("ab/*?.", min_size=0, max_size=6).map(lambda text: "/" + text)
_wild_hosts = st.text("ab.*?", min_size=1, max_size=6)


@settings(max_examples=cases(400, part=4))
@given(
    st.dictionaries(st.integers(1, 30), st.tuples(st.lists(_wild_hosts, max_size=2), st.lists(_wild, max_size=3)).filter(any), max_size=8),
    st.lists(st.tuples(st.text("ab.", max_size=5), st.text("ab/.", max_size=6).map(lambda text: "/" + text)), min_size=1, max_size=8),
)
def test_rule_table_agrees_with_a_plain_loop_wherever_wildcards_stand(
    rules: dict[int, tuple[list[str], list[str]]], asked: list[tuple[str, str]]
) -> None:
    """However a rule is filed by what stands before its first wildcard, it is found when it is the first that holds."""
    described = {
        priority: {kind: values for kind, values in (("host", hosts), ("path", paths)) if values}
        for priority, (hosts, paths) in rules.items()
    }
    table = _table(*[_rule(priority, *_built(conditions)) for priority, conditions in described.items()])
    for host, path in asked:
        expected = next(
            (priority for priority in sorted(rules) if _naively(described[priority], {"target": path, "host": host, "fields": []})), 0
        )
        assert table.match(request_for(path, host=host)).priority == expected


def test_rule_table_tries_only_the_rules_that_could_match() -> None:
    """Rules filed under another host or path are not looked at: their number costs a request nothing."""
    tried: list[int] = []
    rules = [_rule(number, alb.HostHeader(f"h{number}.com"), alb.PathPattern(f"/p{number}/*")) for number in range(1, 1001)]
    table = _table(*rules)

    def noting(priority: int) -> Callable[[RequestHead], bool]:
        def note(request: RequestHead) -> bool:
            tried.append(priority)
            return True

        return note

    for rule in table.rules:
        rule.conditions = (noting(rule.priority), *rule.conditions)
    assert table.match(request_for("/p700/x", host="h700.com")).priority == 700
    assert table.match(request_for("/p700/x", host="h701.com")).priority == 0
    assert tried == [700]


def test_new_table_goes_on_with_the_hits_of_rules_that_are_the_same() -> None:
    """The same priority and the same conditions; the action may differ. A rule with other conditions starts at 0."""
    path, host = alb.PathPattern("/a"), alb.HostHeader("a.example.com")
    before = _table(_rule(1, path), _rule(2, host), _rule(3, path), _rule(4, path))
    for rule in (before.default, *before.rules):
        rule.hits = 10 + rule.priority
    after = _table(_rule(1, alb.PathPattern("/a")), _rule(2, path), _rule(4, path, host), _rule(5, path))
    after.take_over(before)
    assert [(rule.priority, rule.hits) for rule in (after.default, *after.rules)] == [(0, 10), (1, 11), (2, 0), (4, 0), (5, 0)]


def test_hits_are_taken_over_without_a_hash_of_conditions_of_the_program() -> None:
    """A condition of the program is any callable, also one of a class with `__eq__` and without `__hash__`."""

    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, _: RequestHead) -> bool:
            return True

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Odd)

    before, after = _table(_rule(1, Odd())), _table(_rule(1, Odd()))
    before.rules[0].hits = 3
    after.take_over(before)
    assert after.rules[0].hits == 3
