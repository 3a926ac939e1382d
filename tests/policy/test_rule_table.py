from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

import albkit as alb
from albkit.model.message import RequestHead
from albkit.policy.rule_table import RuleTable
from albkit.policy.target_choice import TargetChoice
from albkit.state.target_group import TargetGroupState
from tests.policy.naive import matches, without_dot_segments

_DEFAULT = alb.FixedResponse(404)


def _request(host: str, path: str) -> RequestHead:
    request = RequestHead()
    request.host, request.path = host, path
    return request


def _rule(priority: int, *conditions: alb.HostHeader | alb.PathPattern, body: str = "") -> alb.Rule:
    return alb.Rule(priority, list(conditions), alb.FixedResponse(200, body))


def test_rule_table_without_rules_gives_the_default() -> None:
    """The default rule has priority 0 and evaluates nothing (alb-reference 7.1, 8)."""
    rule = RuleTable(alb.Listener(80, _DEFAULT), {}).match(_request("a", "/"))
    assert (rule.priority, rule.position, rule.action) == (0, 0, _DEFAULT)


def test_rule_table_tries_by_priority_not_by_place() -> None:
    """Ascending priority, whatever the order they were written in (alb-reference 2.5)."""
    path = alb.PathPattern("*")
    table = RuleTable(alb.Listener(80, _DEFAULT, [_rule(30, path), _rule(10, path), _rule(20, path)]), {})
    assert table.match(_request("a", "/")).priority == 10


def test_rule_table_counts_the_rules_it_evaluates() -> None:
    """RuleEvaluations counts rules tried, the default rule not among them (alb-reference 8)."""
    rules = [_rule(1, alb.PathPattern("/a")), _rule(2, alb.PathPattern("/b")), _rule(3, alb.PathPattern("/c"))]
    table = RuleTable(alb.Listener(80, _DEFAULT, rules), {})
    assert [table.match(_request("", path)).position for path in ("/a", "/b", "/c", "/d")] == [1, 2, 3, 3]


def test_rule_table_asks_for_all_conditions() -> None:
    """Conditions are AND (alb-reference 3.1)."""
    table = RuleTable(alb.Listener(80, _DEFAULT, _rule(1, alb.HostHeader("a"), alb.PathPattern("/a"))), {})
    assert [table.match(_request(*asked)).priority for asked in (("a", "/a"), ("a", "/b"), ("b", "/a"))] == [1, 0, 0]


def test_rule_table_gives_a_forward_its_groups_choice() -> None:
    """A rule that forwards leads to the one choice that exists for its group."""
    group = alb.TargetGroup("api", "a:80")
    choice = TargetChoice(TargetGroupState(group))
    table = RuleTable(alb.Listener(80, alb.Forward(group), alb.Rule(1, alb.PathPattern("/a"), alb.Forward(group))), {"api": choice})
    assert table.match(_request("", "/a")).action is choice
    assert table.match(_request("", "/b")).action is choice


_hosts = st.sampled_from(["a.com", "b.com", "*.com", "*", "?.com", "A.com"])
_paths = st.sampled_from(["/", "/a", "/a/*", "*", "/?", "/a/b", "*b"])
_conditions = st.tuples(st.lists(_hosts, max_size=2), st.lists(_paths, max_size=2)).filter(any)


@given(
    st.dictionaries(st.integers(1, 50), _conditions, max_size=8),
    st.sampled_from(["a.com", "b.com", "x.b.com", "c.org"]),
    st.sampled_from(["/", "/a", "/a/b", "/a/../b", "/c", "/a/"]),
)
def test_rule_table_agrees_with_a_plain_loop(rules: dict[int, tuple[list[str], list[str]]], host: str, path: str) -> None:
    """The first rule by priority of which every condition holds, else the default."""
    expected = 0
    for priority in sorted(rules):
        hosts, paths = rules[priority]
        right_host = not hosts or any(matches(value.lower(), host) for value in hosts)
        right_path = not paths or any(matches(value, without_dot_segments(path)) for value in paths)
        if right_host and right_path:
            expected = priority
            break
    listener = alb.Listener(
        80,
        _DEFAULT,
        [
            _rule(priority, *([alb.HostHeader(hosts)] if hosts else []), *([alb.PathPattern(paths)] if paths else []))
            for priority, (hosts, paths) in rules.items()
        ],
    )
    assert RuleTable(listener, {}).match(_request(host, path)).priority == expected
