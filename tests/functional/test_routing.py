"""Which rule a request meets, over real connections: every condition, priorities, and conditions of a program's own."""

from __future__ import annotations

import logging

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener, named
from tests.support.gateway import running
from tests.support.peers import target

HIT = alb.FixedResponse(200, "hit")
MISS = alb.FixedResponse(404, "miss")


@pytest.mark.parametrize(
    ("condition", "path", "fields", "host", "holds"),
    [
        (alb.HostHeader("*.example.com"), "/", (), "a.b.EXAMPLE.com:8080", True),
        (alb.HostHeader("*.example.com"), "/", (), "example.com", False),
        (alb.HostHeader("a?.example.com", "b.example.com"), "/", (), "b.example.com", True),
        (alb.HostHeader(regex="^(a|b)[.]"), "/", (), "B.example.com", True),
        (alb.PathPattern("/img/*"), "/img/", (), "x", True),
        (alb.PathPattern("/img/*"), "/IMG/1", (), "x", False),
        (alb.PathPattern("/img/*"), "/img?x=/", (), "x", False),
        (alb.PathPattern("/img/*"), "/other/../img/1", (), "x", True),
        (alb.PathPattern("/a%20b"), "/a%20b", (), "x", True),
        (alb.PathPattern(regex="^/v[0-9]+/"), "/v12/x", (), "x", True),
        (alb.PathPattern(regex="^/v[0-9]+/"), "/V12/x", (), "x", False),
        (alb.HttpHeader("X-Canary", "yes*"), "/", ("x-canary: YES please",), "x", True),
        (alb.HttpHeader("X-Canary", "a, b"), "/", ("X-Canary: a", "X-Canary: b"), "x", False),
        (alb.HttpHeader("X-Canary", "b"), "/", ("X-Canary: a", "X-Canary: b"), "x", True),
        (alb.HttpHeader("X-Canary", regex="^[0-9]+$"), "/", ("X-Canary: 12",), "x", True),
        (alb.HttpHeader("X-Canary", "*"), "/", (), "x", False),
        (alb.QueryString(("version", "v1")), "/?a=b&VERSION=V1", (), "x", True),
        (alb.QueryString(("version", "v1")), "/?version=v11", (), "x", False),
        (alb.QueryString("v?"), "/?any=v7", (), "x", True),
        (alb.QueryString(("k", "\\*")), "/?k=x", (), "x", False),
        (alb.QueryString(("k", "\\*")), "/?k=*", (), "x", True),
        (alb.SourceIp("10.0.0.0/8", "127.0.0.0/8"), "/", (), "x", True),
        (alb.SourceIp("10.0.0.0/8"), "/", ("X-Forwarded-For: 10.0.0.1",), "x", False),
        (alb.HttpRequestMethod("GET"), "/", (), "x", True),
        (alb.HttpRequestMethod("POST"), "/", (), "x", False),
    ],
)
async def test_condition_decides_a_request_from_the_wire(
    condition: object, path: str, fields: tuple[str, ...], host: str, holds: bool
) -> None:
    """Each condition holds or not for what a client really sends."""
    async with balancing(listener(MISS, alb.Rule(1, condition, HIT))) as it:
        answer = await (await it.client()).get(path, *fields, host=host)
        assert answer.body == (b"hit" if holds else b"miss")


async def test_method_of_the_client_own_making_is_matched_in_capitals_only() -> None:
    """Methods are compared case and all, custom ones among them."""
    async with balancing(listener(MISS, alb.Rule(1, alb.HttpRequestMethod("PURGE"), HIT))) as it:
        client = await it.client()
        assert (await client.get(method="PURGE")).body == b"hit"
        assert (await client.get(method="GET")).body == b"miss"


async def test_rules_are_tried_by_priority_whatever_their_order() -> None:
    """The lowest priority that holds wins, not the first in the list, and all conditions of a rule must hold."""
    async with named("one", "two", "other") as (one, two, other):
        groups = [alb.TargetGroup(name, origin.address) for name, origin in zip(("one", "two", "other"), (one, two, other), strict=True)]
        rules = (
            alb.Rule(20, alb.PathPattern("/api/*"), alb.Forward(groups[1])),
            alb.Rule(10, [alb.PathPattern("/api/*"), alb.HttpRequestMethod("POST")], alb.Forward(groups[0])),
        )
        async with balancing(listener(alb.Forward(groups[2]), *rules)) as it:
            client = await it.client()
            assert (await client.get("/api/x", "Content-Length: 0", method="POST")).body == b"one"
            assert (await client.get("/api/x")).body == b"two"
            assert (await client.get("/apix")).body == b"other"
            assert it.counters["RuleEvaluations"] == 1 + 2 + 2


async def test_each_listener_has_rules_of_its_own() -> None:
    """What one listener answers says nothing of the other."""
    async with balancing(listener(MISS, alb.Rule(1, alb.PathPattern("/*"), HIT)), listener(MISS)) as it:
        assert (await (await it.client_of(0)).get()).body == b"hit"
        assert (await (await it.client_of(1)).get()).body == b"miss"


async def test_callable_as_a_condition_sees_the_request() -> None:
    """A condition of the program's own is asked after those before it, with method, path, query, fields, host, client and listener."""
    seen: list[alb.Request] = []

    def odd(request: alb.Request) -> bool:
        seen.append(request)
        return int(request.query_string.removeprefix("n=")) % 2 == 1

    door = listener(MISS, alb.Rule(1, [alb.PathPattern("/n/*"), odd], HIT), name="door")
    async with balancing(door) as it:
        client = await it.client()
        assert (await client.get("/n/x?n=1", "X-One: 1", host="A.example.com:80")).body == b"hit"
        assert (await client.get("/n/x?n=2")).body == b"miss"
        assert (await client.get("/elsewhere")).body == b"miss"
        assert len(seen) == 2
        first = seen[0]
        assert (first.method, first.path, first.query_string, first.host) == ("GET", "/n/x", "n=1", "a.example.com")
        assert (first.headers["x-one"], first.client.host, first.client.port) == ("1", "127.0.0.1", client.port)
        assert first.listener == door


async def test_condition_that_raises_costs_its_own_exchange_500(caplog: pytest.LogCaptureFixture) -> None:
    """500, a counter and a log line; the next request on the same connection is fine."""

    def fragile(request: alb.Request) -> bool:
        return request.headers["X-Must"] == "be there"

    with caplog.at_level(logging.WARNING, "albkit"):
        async with target() as origin, running(origin.address, rules=alb.Rule(1, fragile, HIT)) as gateway:
            client = await gateway.client()
            answer = await client.get()
            assert (answer.status, answer.get(b"connection")) == (500, None)
            assert gateway.counters["Failure_HookFailed"] == 1
            assert gateway.counters["HTTPCode_ELB_500_Count"] == 1
            assert (await client.get("/", "X-Must: be there")).body == b"hit"
            assert (await client.get("/", "X-Must: be")).body == b"ok"
    assert any("HookFailed" in record.message and "KeyError" in record.message for record in caplog.records)
    assert any(record.exc_info for record in caplog.records), "the traceback is there for the program's author"


@pytest.mark.parametrize("named", ["api.example.com", "api.example.com.", "*.example.com", "API.example.com."])
async def test_host_with_a_dot_at_its_end_is_the_same_host(named: str) -> None:
    """In a rule and in a request (RFC 3986 section 3.2.2); the target is told the one that was judged."""
    rule = alb.Rule(1, alb.HostHeader(named), alb.FixedResponse(200, "api"))
    async with target() as origin, running(origin.address, rules=[rule]) as gateway:
        client = await gateway.client()
        for host in ("api.example.com", "api.example.com.", "Api.Example.COM.:8080"):
            assert (await client.get("/", host=host)).body == b"api"
            explained = gateway.load_balancer.explain("GET", f"http://{host}/")
            assert explained.rule is rule
        await client.get("/", host="other.example.org.")
        assert b"\r\nHost: other.example.org:" in origin.heads[0]
        assert (await client.get("/", host="api.example.com..")).body != b"api"
