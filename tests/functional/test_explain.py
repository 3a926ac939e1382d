"""What would become of a request, told without sending it."""

from __future__ import annotations

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener, named


def calls_nobody(asked: list[str]) -> object:
    async def gatekeeper(_: alb.Request) -> None:
        asked.append("hook")

    return gatekeeper


async def test_explanation_names_rule_group_target_and_why() -> None:
    """Why the earlier rules do not apply, why this one does, and how the target is chosen."""
    async with named("a") as (a,):
        web, api = alb.TargetGroup("web", "10.0.0.1:80"), alb.TargetGroup("api", a.address)
        rules = (
            alb.Rule(20, [alb.PathPattern("/api/*"), alb.HttpRequestMethod("GET")], alb.Forward(api)),
            alb.Rule(10, alb.HostHeader("*.example.org"), alb.Forward(web)),
        )
        async with balancing(listener(alb.Forward(web), *rules)) as it:
            told = it.load_balancer.explain("GET", "http://a.example.com/api/x?q=1")
            assert told.rule is rules[0]
            assert (told.group, str(told.target)) == ("api", a.address)
            assert told.why[0] == "rule 10 does not match: not host is *.example.org"
            assert told.why[1] == "rule 20 matches: path is /api/* and method is GET"
            assert told.why[2].startswith(
                f"forward to group api, target {a.address}: chosen by round_robin; it is unavailable, 0 outstanding"
            )
            assert str(told) == "\n".join(told.why)
            default = it.load_balancer.explain("POST", "http://a.example.com/api/x")
            assert (default.rule, default.group, str(default.target)) == (None, "web", "10.0.0.1:80")
            assert "the default action applies: no rule matches" in default.why


async def test_explaining_sends_nothing_and_takes_no_turn() -> None:
    """The rotation goes on as if nobody had asked, and tells the target that really comes next; nothing is counted."""
    async with named("a", "b", "c") as origins:
        for algorithm in ("round_robin", "least_outstanding_requests"):
            group = alb.TargetGroup("group", [origin.address for origin in origins], algorithm=algorithm)
            async with balancing(listener(alb.Forward(group))) as it:
                client = await it.client()
                before = it.counters
                for _ in range(3):
                    told = {str(it.load_balancer.explain("GET", "http://x/").target) for _ in range(5)}
                assert len(told) == 1
                assert it.counters == before
                assert it.runtime.connections.count == 0
                for _ in range(7):
                    expected = str(it.load_balancer.explain("GET", "http://x/").target)
                    answer = await client.get()
                    assert {"a": 0, "b": 1, "c": 2}[answer.body.decode()] == [origin.address for origin in origins].index(expected)


async def test_conditions_are_called_and_hooks_are_not() -> None:
    """A condition sees the request as it would come, Host among its fields; a hook is only named."""
    asked: list[str] = []

    def canary(request: alb.Request) -> bool:
        asked.append(f"{request.method} {request.host} {request.path} {request.query_string} {request.client.host}")
        return request.headers["X-Canary"] == "1" and request.headers["Host"].startswith("A.example.com")

    hook = calls_nobody(asked)
    rule = alb.Rule(1, canary, [hook, alb.FixedResponse(200)])
    async with balancing(listener(alb.FixedResponse(404), rule)) as it:
        told = it.load_balancer.explain("PUT", "http://A.example.com:80/x%20y?q=%41", headers={"x-canary": "1"}, client="10.1.2.3")
        assert told.rule is rule
        assert (told.group, told.target) == (None, None)
        assert asked == ["PUT a.example.com /x%20y q=%41 10.1.2.3"]
        assert told.why[0] == "rule 1 matches: canary() holds"
        assert told.why[1] == "ask gatekeeper() first, which may answer the request"
        assert told.why[2] == "answer 200 (text/plain)"
        assert it.load_balancer.explain("GET", "http://b/", headers=[("X-Canary", "2")]).rule is None


async def test_host_among_the_fields_and_the_clients_address_decide() -> None:
    """A Host given wins over the URL's; `client` is what SourceIp sees; repeated fields count one by one."""
    rules = (
        alb.Rule(1, alb.HostHeader("inner"), alb.FixedResponse(201)),
        alb.Rule(2, alb.SourceIp("10.0.0.0/8"), alb.FixedResponse(202)),
        alb.Rule(3, alb.HttpHeader("X", "b"), alb.FixedResponse(203)),
    )
    async with balancing(listener(alb.FixedResponse(200), *rules)) as it:
        explain = it.load_balancer.explain
        assert explain("GET", "http://outer/", headers={"Host": "INNER:8080"}).rule is rules[0]
        assert explain("GET", "http://inner/", headers={"Host": "outer"}).rule is None
        assert explain("GET", "http://outer/", client="10.1.1.1").rule is rules[1]
        assert explain("GET", "http://outer/", headers=[("X", "a"), ("x", "b")]).rule is rules[2]
        assert explain("GET", "http://outer/").rule is None


async def test_listener_is_chosen_by_port_or_name() -> None:
    """The one whose port the URL names, else the first; `listener=` wins; an unknown name is a LookupError."""
    one, two = listener(alb.FixedResponse(201), name="one"), listener(alb.FixedResponse(202), name="two")
    async with balancing(one, two) as it:
        explain = it.load_balancer.explain
        first, second = it.load_balancer.listeners
        assert explain("GET", f"http://x:{second.port}/").why[-1] == "answer 202 (text/plain)"
        assert explain("GET", f"http://x:{first.port}/").why[-1] == "answer 201 (text/plain)"
        assert explain("GET", "https://x/").why[-1] == "answer 201 (text/plain)"
        assert explain("GET", f"http://x:{first.port}/", listener="two").why[-1] == "answer 202 (text/plain)"
        with pytest.raises(LookupError, match=r"there is no listener 'three'; the listeners are \['one', 'two'\]"):
            explain("GET", "http://x/", listener="three")


async def test_sessions_are_told_of() -> None:
    """The cookies of group and target bind in an explanation as they do in a request."""
    async with named("a", "b") as (a, b):
        blue = alb.TargetGroup("blue", [a.address, b.address], stickiness=alb.LbCookie())
        green = alb.TargetGroup("green", "10.0.0.1:80")
        async with balancing(listener(alb.Forward({blue: 1, green: 0}, stickiness=60))) as it:
            answer = await (await it.client()).get()
            cookie = "; ".join(line.split(b";")[0].decode() for line in answer.all(b"set-cookie"))
            for _ in range(3):
                told = it.load_balancer.explain("GET", "http://x/", headers={"Cookie": cookie})
                assert str(told.target) == {b"a": a.address, b"b": b.address}[answer.body]
                assert "bound by its cookie" in told.why[-1]


async def test_nowhere_to_go_is_told_as_the_503_that_it_is() -> None:
    """No target, or all weights 0; a redirect is told in words."""
    empty = alb.TargetGroup("empty")
    rules = (
        alb.Rule(1, alb.PathPattern("/zero"), alb.Forward({empty: 0, alb.TargetGroup("other"): 0})),
        alb.Rule(2, alb.PathPattern("/away"), alb.Redirect(path="/new")),
    )
    async with balancing(listener(alb.Forward(empty), *rules)) as it:
        told = it.load_balancer.explain("GET", "http://x/")
        assert (told.group, told.target, told.why[-1]) == ("empty", None, "503: group empty has no target that can be chosen")
        told = it.load_balancer.explain("GET", "http://x/zero")
        assert (told.group, told.target, told.why[-1]) == (None, None, "503: all weights are 0")
        told = it.load_balancer.explain("GET", "http://x/away")
        assert told.why[-1] == "redirect 302 to #{protocol}://#{host}:#{port}/new?#{query}"
