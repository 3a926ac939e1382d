"""Every built-in condition, action, algorithm and kind of stickiness has all of its parts.

Each of these sets has a registry. The tests walk the registries, so that a new member needs no test of its own here: a test fails and names
what is missing. The example in a member's docstring, which the reference page shows, is the object that they work with.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model import actions, conditions, stickiness
from albkit.model.actions import ACTIONS
from albkit.model.actions.action import AnsweringAction, LocalReply, RoutingAction
from albkit.model.attributes import ATTRIBUTES
from albkit.model.conditions import CONDITIONS
from albkit.model.conditions.condition import BuiltInCondition
from albkit.model.message import ClientAddress, RequestHead, ResponseHead
from albkit.model.redirect_loops import doubts_about_redirects
from albkit.model.stickiness import STICKINESS
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.policy import algorithms
from albkit.policy import stickiness as policy_of_stickiness
from albkit.policy.algorithms import ALGORITHMS, counts_requests
from albkit.policy.algorithms.algorithm import BuiltInAlgorithm
from albkit.policy.describe import describe_action, describe_condition
from albkit.policy.rule_table import RuleTable
from albkit.policy.stickiness import stickiness_for
from albkit.policy.target_choice import TargetChoice
from albkit.state.counters import Counters
from albkit.state.target_group import TargetGroupState
from tests.policy.requests import request_for
from tests.support.clock import FakeClock

_DOCS = Path(__file__).parent.parent / "docs"
_PUBLIC: tuple[type, ...] = (*CONDITIONS, *ACTIONS, *STICKINESS)

every_public_class = pytest.mark.parametrize("kind", _PUBLIC, ids=lambda kind: kind.__name__)
every_condition = pytest.mark.parametrize("kind", CONDITIONS, ids=lambda kind: kind.__name__)
every_action = pytest.mark.parametrize("kind", ACTIONS, ids=lambda kind: kind.__name__)
every_stickiness = pytest.mark.parametrize("kind", STICKINESS, ids=lambda kind: kind.__name__)
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def _page(name: str) -> str:
    return (_DOCS / name).read_text(encoding="utf-8")


def _example_code(kind: type) -> str:
    # getdoc(), because Python 3.13 takes the common indentation out of `__doc__`, and earlier ones leave it in.
    found = re.search(r"^Example:\n +(.+)$", inspect.getdoc(kind) or "", re.MULTILINE)
    assert found is not None, f"the docstring of {kind.__name__} has no Example"
    return found[1]


def _example(kind: type) -> Any:
    """The object that the docstring of a class shows."""
    made = eval(_example_code(kind), {"alb": alb})
    assert type(made) is kind
    return made


def _texts(value: object) -> Iterator[str]:
    """Every text in the fields of an example."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _texts(part)


def _has_own(kind: type, base: type, name: str) -> bool:
    """Whether a class, or one between it and the base, defines an attribute that the base only declares."""
    return any(name in vars(one) for one in kind.__mro__[: kind.__mro__.index(base)])


# All sets


@pytest.mark.parametrize(
    ("package", "base", "members"),
    [
        (conditions, BuiltInCondition, CONDITIONS),
        (actions, RoutingAction, ACTIONS),
        (stickiness, BuiltInStickiness, STICKINESS),
        (algorithms, BuiltInAlgorithm, tuple(ALGORITHMS.values())),
    ],
    ids=["conditions", "actions", "stickiness", "algorithms"],
)
def test_registry_lists_every_class_of_its_package(package: ModuleType, base: type, members: tuple[type, ...]) -> None:
    """A file that no line of the registry names would never be used."""
    modules = [importlib.import_module(f"{package.__name__}.{module.name}") for module in pkgutil.iter_modules(package.__path__)]
    defined = {getattr(module, name) for module in modules for name in module.__all__}
    classes = {one for one in defined if isinstance(one, type) and issubclass(one, base)}
    shared = {one for one in classes if any(one is not member and issubclass(member, one) for member in members)}
    assert classes - shared - {base} == set(members)
    assert len(set(members)) == len(members)


@every_public_class
def test_member_is_exported(kind: type) -> None:
    """Programs get it from the package."""
    assert kind.__name__ in alb.__all__
    assert getattr(alb, kind.__name__) is kind


@every_public_class
def test_member_is_on_the_reference_page_with_its_example(kind: type) -> None:
    """The page shows the example of the docstring, and the example runs."""
    section = re.search(rf"^## {kind.__name__}$(.*?)(?=^## |\Z)", _page("reference.md"), re.DOTALL | re.MULTILINE)
    assert section is not None, f"docs/make_reference.py has no Section for {kind.__name__}"
    assert f"```python\n{_example_code(kind)}\n```" in section[1]
    assert _example(kind) == _example(kind)


@every_public_class
def test_member_is_among_the_features(kind: type) -> None:
    """Readers look there for what exists."""
    assert f"`{kind.__name__}`" in _page("features.md")


@every_public_class
def test_numbers_of_a_member_are_in_the_attribute_table(kind: type) -> None:
    """A setting that is a number or a switch has its default, range and meaning there."""
    hints = typing.get_type_hints(kind)
    for field in attrs.fields(kind):
        hint = hints[field.name]
        if {int, float, bool} & {hint, *typing.get_args(hint)}:
            assert (kind.__name__, field.name) in ATTRIBUTES


# Conditions


@every_condition
def test_condition_describes_itself(kind: type[BuiltInCondition]) -> None:
    """With all of its values, as `explain` prints them."""
    assert _has_own(kind, BuiltInCondition, "describe")
    condition = _example(kind)
    text = describe_condition(condition)
    assert text == condition.describe()
    assert all(value in text for value in _texts(attrs.astuple(condition, recurse=False)))


@every_condition
def test_condition_compiles_to_a_function_that_a_rule_table_uses(kind: type[BuiltInCondition]) -> None:
    """It answers True or False, and the rule applies accordingly."""
    assert _has_own(kind, BuiltInCondition, "compile")
    condition = _example(kind)
    request = request_for("/api/x?version=beta", host="shop.example.com", client="10.1.2.3", cookie=b"a=b")
    holds = condition.compile()(request)
    assert type(holds) is bool
    table = RuleTable(alb.Listener(80, alb.FixedResponse(404), alb.Rule(1, condition, alb.FixedResponse(200))), lambda rule: rule)
    assert table.match(request).priority == (1 if holds else 0)


@every_condition
def test_condition_says_whether_a_rule_can_have_several_of_it(kind: type[BuiltInCondition]) -> None:
    """Rule checks what the class says, and its docstring tells the same."""
    assert _has_own(kind, BuiltInCondition, "at_most_once"), f"{kind.__name__}.at_most_once is missing"
    twice = [_example(kind), _example(kind)]
    if kind.at_most_once:
        with pytest.raises(alb.ConfigurationError, match=f"2 {kind.__name__}; at most one"):
            alb.Rule(1, twice, alb.FixedResponse(200))
    else:
        assert alb.Rule(1, twice, alb.FixedResponse(200)).conditions == tuple(twice)
    said = re.search(r"A rule can have (.*?) at most once\s+each, (.*?) any number of times", alb.Rule.__doc__ or "", re.DOTALL)
    assert said is not None
    assert f"`{kind.__name__}`" in said[1 if kind.at_most_once else 2]


@every_condition
def test_condition_says_whether_it_can_break_a_redirect_loop(kind: type[BuiltInCondition]) -> None:
    """A redirect to the same port behind a proxy is doubted, unless the rule's condition distinguishes requests of one URL."""
    assert _has_own(kind, BuiltInCondition, "can_break_redirect_loops"), f"{kind.__name__}.can_break_redirect_loops is missing"
    rule = alb.Rule(1, _example(kind), alb.Redirect(protocol="HTTPS"))
    listener = alb.Listener(80, alb.FixedResponse(404), rule, proxy_protocol="required")
    doubts = list(doubts_about_redirects(listener, listener.default_actions, listener.rules))
    assert bool(doubts) is not kind.can_break_redirect_loops


# Actions


@every_action
def test_action_describes_itself(kind: type[RoutingAction]) -> None:
    """As `explain` prints it."""
    assert _has_own(kind, RoutingAction, "describe")
    action = _example(kind)
    text = describe_action(action)
    assert text
    assert text == action.describe()


@every_action
def test_action_forwards_or_answers(kind: type[RoutingAction]) -> None:
    """An action that does not forward compiles to a function that returns the reply. A counter that it names exists."""
    if kind is alb.Forward:
        return
    assert issubclass(kind, AnsweringAction)
    assert _has_own(kind, AnsweringAction, "compile")
    reply = _example(kind).compile()(request_for("/a?b=c"), lambda _client: ("http", 80))
    assert type(reply) is LocalReply
    assert 200 <= reply.status <= 599
    assert reply.body is None or isinstance(reply.body, bytes)
    assert reply.content_type
    assert not reply.counter or isinstance(getattr(Counters(), reply.counter), int)
    assert reply.action
    assert b"\n" not in reply.location


@every_action
def test_action_is_named_where_rules_and_listeners_explain_their_actions(kind: type[RoutingAction]) -> None:
    """In the docstrings, and in the error about an action that is none."""
    for owner in (alb.Rule, alb.Listener):
        assert f"`{kind.__name__}(...)`" in (owner.__doc__ or "")
    with pytest.raises(alb.ConfigurationError, match=rf"{kind.__name__}\(\.\.\.\)"):
        alb.Rule(1, alb.PathPattern("*"), 7)


# Stickiness


@every_stickiness
def test_stickiness_binds_sessions(kind: type[BuiltInStickiness]) -> None:
    """The policy floor has a class for it, which does all that a target choice and an exchange ask of it."""
    assert kind in policy_of_stickiness.STICKINESS, f"albkit.policy.stickiness has no line for {kind.__name__}"
    setting = _example(kind)
    group = TargetGroupState(alb.TargetGroup("web", ["10.0.0.1:80", "10.0.0.2:80"], stickiness=setting))
    made = stickiness_for(setting, group, FakeClock())
    assert made is not None
    request, response = request_for(cookie=b"JSESSIONID=1"), ResponseHead()
    response.lines = [b"HTTP/1.1 200 OK", b"Set-Cookie: JSESSIONID=1", b"", b""]
    members = list(group.members.values())
    made.settle(members)
    bound = made.target(request, 0)
    assert bound is None or bound in members
    assert made.refuses(request, 0) in (True, False)
    assert isinstance(made.fields(members[0], request, response, 0), bytes)
    made.go(members[0])
    made.settle(members[1:])
    assert made.target(request, 0) is not members[0]
    made.come(members[0])


def test_stickiness_of_the_policy_floor_has_its_setting() -> None:
    """The two registries list the same kinds."""
    assert set(policy_of_stickiness.STICKINESS) == set(STICKINESS)


@every_stickiness
def test_stickiness_says_why_a_target_gets_a_request(kind: type[BuiltInStickiness]) -> None:
    """For `explain`."""
    assert _has_own(kind, BuiltInStickiness, "reason"), f"{kind.__name__}.reason is missing"
    assert kind.reason


@every_stickiness
def test_stickiness_says_whether_it_reads_requests(kind: type[BuiltInStickiness]) -> None:
    """One that does is refused for TCP listeners, which read none."""
    assert _has_own(kind, BuiltInStickiness, "reads_requests"), f"{kind.__name__}.reads_requests is missing"
    group = alb.TargetGroup("web", "10.0.0.1:80", stickiness=_example(kind))
    if kind.reads_requests:
        with pytest.raises(alb.ConfigurationError, match="stickiness"):
            alb.Listener(80, alb.Forward(group), protocol="TCP")
    else:
        assert alb.Listener(80, alb.Forward(group), protocol="TCP")
        made = stickiness_for(group.stickiness, TargetGroupState(group), FakeClock())
        assert made is not None
        made.target(_request_of_a_tcp_client(), 0)


@every_stickiness
def test_stickiness_is_named_where_target_groups_explain_theirs(kind: type[BuiltInStickiness]) -> None:
    """In the docstring, on the reference page and in the guide."""
    doc = " ".join((alb.TargetGroup.__doc__ or "").split())
    assert f"`{kind.__name__}(" in doc.partition("stickiness: ")[2].partition("algorithm: ")[0]
    row = next(line for line in _page("reference.md").splitlines() if line.startswith("| `stickiness` | `stickiness.enabled"))
    assert f"`{kind.__name__}(" in row.split("|")[3]
    assert f"`{kind.__name__}`" in _page("sessions.md")


# Algorithms


def _request_of_a_tcp_client() -> RequestHead:
    """A request of which nothing is known but the client: anything else raises AttributeError."""
    request = RequestHead()
    request.client = ClientAddress("192.0.2.1", 40000)
    return request


def test_algorithms_are_those_of_the_attribute_table() -> None:
    """A name that the table lacks would be refused, and one that no algorithm has would fail later."""
    assert sorted(ALGORITHMS) == sorted(ATTRIBUTES["TargetGroup", "algorithm"].choices)


@every_algorithm
def test_algorithm_chooses_and_counts(name: str) -> None:
    """It serves a group from the first request to a retry, and is told of requests if it counts them."""
    choice = TargetChoice(TargetGroupState(alb.TargetGroup("web", ["10.0.0.1:80", "10.0.0.2:80"], algorithm=name)), FakeClock())
    kind = ALGORITHMS[name]
    for method in ("__init__", "joined", "left", "choose"):
        assert _has_own(kind, BuiltInAlgorithm, method)
    assert counts_requests(kind(FakeClock())) is (
        _has_own(kind, BuiltInAlgorithm, "started") or _has_own(kind, BuiltInAlgorithm, "finished")
    )
    request = request_for()
    first = choice.pick(request)
    assert first is not None
    choice.started(first)
    other = choice.pick_other([first], request)
    assert other not in (None, first)
    assert choice.peek(request) is not None
    choice.finished(first)


@every_algorithm
def test_algorithm_of_a_tcp_listener_reads_no_request(name: str) -> None:
    """One that reads more than the client's address is refused there."""
    group = alb.TargetGroup("web", ["10.0.0.1:80", "10.0.0.2:80"], algorithm=name)
    try:
        alb.Listener(80, alb.Forward(group), protocol="TCP")
    except alb.ConfigurationError:
        return
    assert TargetChoice(TargetGroupState(group), FakeClock()).pick(_request_of_a_tcp_client()) is not None


@every_algorithm
def test_algorithm_is_in_the_documents(name: str) -> None:
    """In the docstring of target groups, in the guide and among the features."""
    assert f'`"{name}"`' in (alb.TargetGroup.__doc__ or "")
    assert f'`"{name}"`' in _page("balancing.md")
    assert f"`{name}`" in _page("features.md")
