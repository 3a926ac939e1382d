"""What can be read, over real sockets."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import albkit as alb
from albkit.admin.schema import faults_of, reference
from albkit.admin.schemas import COMPONENTS
from tests.support.admin import operated, wait_for
from tests.support.peers import response, target
from tests.support.secure import secured
from tests.support.tunnels import gone, holding, switching, upgraded

SECTIONS = {
    "listeners": "Listener",
    "rules": "Rule",
    "groups": "Group",
    "targets": "Target",
    "tunnels": "Tunnel",
    "certificates": "Certificate",
}


def assert_fits(name: str, value: Any) -> None:
    """What is answered is what the document says."""
    assert faults_of(reference(name), value, COMPONENTS) == []


async def test_state_and_sections_describe_what_runs() -> None:
    """Listeners, rules, groups, targets and counters, after one request of each kind."""
    rule = alb.Rule(10, [alb.PathPattern("/teapot"), alb.HttpRequestMethod("GET")], alb.FixedResponse(418))
    async with target(None, response(200, b"hello")) as web, operated(web.address, rules=rule) as it:
        client = await it.gateway.client()
        assert (await client.get("/")).status == 200
        assert (await client.get("/teapot")).status == 418
        status, state = await it.ask("GET", "/api/state")
        assert status == 200
        assert_fits("State", state)
        port = str(it.gateway.port)
        assert list(state["listeners"]) == [port]
        listener = state["listeners"][port]
        assert listener["responses"] == {"2xx": 1, "3xx": 0, "4xx": 1, "5xx": 0}
        assert (listener["requests"], listener["rules"], listener["active_connections"]) == (2, 1, 1)
        assert listener["url"] == f"http://127.0.0.1:{port}"
        assert {identity: rule["hits"] for identity, rule in state["rules"].items()} == {f"{port}/10": 1, f"{port}/0": 1}
        assert state["rules"][f"{port}/10"]["conditions"] == ["path is /teapot", "method is GET"]
        assert state["rules"][f"{port}/0"]["action"] == "forward to group"
        group = state["groups"]["group"]
        assert (group["requests"], group["responses"]["2xx"], group["targets"], group["healthy"]) == (1, 1, 1, 0)
        item = state["targets"][f"group/{web.address}"]
        assert (item["requests"], item["errors"], item["state"], item["weight"]) == (1, 0, "unavailable", 1)
        assert item["processed_bytes"] == group["processed_bytes"] > 0
        assert abs(item["last_active_at"] - time.time()) < 60
        assert state["load_balancer"]["state"] == "running"
        assert state["load_balancer"]["counters"]["RequestCount"] == 1
        for name, schema in SECTIONS.items():
            status, items = await it.ask("GET", f"/api/{name}")
            assert (status, items) == (200, list(state[name].values()))
            for one in items:
                assert_fits(schema, one)
        status, counters = await it.ask("GET", "/api/counters")
        assert counters["HTTP_Fixed_Response_Count"] == 1
        assert (await it.ask("GET", "/api/load-balancer"))[1]["name"] == "albkit"


async def test_health_is_green_and_ready_is_red_while_draining() -> None:
    """The admin API is there until the last exchange is over."""
    answering = asyncio.Event()

    async def slow(conversation: Any) -> None:
        await conversation.head()
        await answering.wait()
        conversation.send(response())

    async with target(slow) as web, operated(web.address, stop_timeout=10) as it:
        assert await it.ask("GET", "/health") == (200, {"status": "ok"})
        assert await it.ask("GET", "/ready") == (200, {"status": "ready"})
        client = await it.gateway.client()
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_for(lambda: _is_outstanding(it))
        stopping = asyncio.create_task(it.gateway.load_balancer.stop())
        await wait_for(lambda: _is_red(it))
        assert await it.ask("GET", "/health") == (200, {"status": "ok"})
        # A second call of stop() must not end what the first one still needs.
        await it.gateway.load_balancer.stop()
        status, state = await it.ask("GET", "/api/state")
        assert (status, state["load_balancer"]["state"], state["listeners"]) == (200, "draining", {})
        assert state["targets"][f"group/{web.address}"]["outstanding"] == 1
        assert (await it.ask("PATCH", f"/api/groups/group/targets/{web.address}", {"weight": 2}))[0] == 503
        answering.set()
        assert (await client.response()).status == 200
        await stopping
        with pytest.raises(ConnectionError):
            await it.raw("GET", "/health")


async def _is_outstanding(it: Any) -> bool:
    return any(one.outstanding for one in it.gateway.load_balancer.describe_targets())


async def _is_red(it: Any) -> bool:
    return await it.ask("GET", "/ready") == (503, {"status": "draining"})


async def test_tunnels_are_listed_with_their_bytes() -> None:
    """Who talks to whom, since when, and how much."""
    async with target(switching(then=holding)) as web, operated(web.address) as it:
        client = await upgraded(it.gateway)
        client.send(b"\x81\x80\x00\x00\x00\x00")
        conversation = web.conversations[0]
        await conversation.read_exactly(6)
        conversation.send(b"\x81\x00")
        await client.read_exactly(2)
        (tunnel,) = (await it.ask("GET", "/api/tunnels"))[1]
        assert_fits("Tunnel", tunnel)
        assert (tunnel["client"], tunnel["group"], tunnel["target"]) == (f"127.0.0.1:{client.port}", "group", web.address)
        assert (tunnel["bytes_in"], tunnel["bytes_out"], tunnel["protocol"]) == (6, 2, "websocket")
        assert (await it.ask("GET", "/api/targets"))[1][0]["tunnels"] == 1
        assert await it.ask("DELETE", f"/api/tunnels/{tunnel['id']}", params={"code": "3000"}) == (204, None)
        assert await client.read_exactly(4) == b"\x88\x02\x0b\xb8"
        await client.close()
        await gone(it.gateway)
        assert (await it.ask("GET", "/api/tunnels"))[1] == []


async def test_failures_are_kept_with_what_a_log_line_has(unused_tcp_port: int) -> None:
    """Newest first, with the ids of group, target and rule."""
    async with operated(
        f"127.0.0.1:{unused_tcp_port}",
    ) as it:
        client = await it.gateway.client()
        client.send(b"GET /a\x01b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.response()).status == 400
        client = await it.gateway.client()
        assert (await client.get("/private?token=secret")).status in (502, 503)
        status, (newest, oldest) = await it.ask("GET", "/api/failures")
        assert status == 200
        assert_fits("Failure", newest)
        assert_fits("Failure", oldest)
        assert (oldest["status"], oldest["side"], oldest["group"], oldest["rule"]) == (400, "client", None, None)
        assert newest["id"] > oldest["id"]
        assert (newest["side"], newest["group"], newest["target"]) == ("target", "group", f"127.0.0.1:{unused_tcp_port}")
        assert newest["rule"] == f"{it.gateway.port}/0"
        assert newest["request"] == "GET /private"


async def test_failures_and_events_are_bounded() -> None:
    """The last 200 of each, whatever happens."""
    async with operated() as it:
        load_balancer = it.gateway.load_balancer
        await load_balancer.register_targets("group", [f"10.0.{n // 200}.{n % 200}:80" for n in range(500)])
        _, events = await it.ask("GET", "/api/events")
        assert len(events) == 200
        assert [event["id"] for event in events] == sorted((event["id"] for event in events), reverse=True)
        assert events[0] == events[0] | {"kind": "TargetRegistered", "text": "group: 10.0.2.99:80 is registered", "target": "10.0.2.99:80"}
        assert_fits("Event", events[0])


async def test_certificates_are_listed_with_names_and_expiry() -> None:
    """Who renews certificates wants to know until when."""
    async with secured("127.0.0.1:1") as it:
        admin = await it.load_balancer.admin()
        try:
            (described,) = it.load_balancer.describe_certificates()
            assert described.not_after > time.time()
            assert described.names
            assert described.key_type in ("ECDSA", "RSA")
        finally:
            await admin.stop()


async def test_page_allows_its_own_scripts_and_nothing_else() -> None:
    """The policy names hashes; no answer is cached or framed, or tells what serves it."""
    async with operated() as it, it.client.get(f"{it.admin.url}/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src '")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Server"] == "albkit"
        async with it.client.head(f"{it.admin.url}/ready") as head:
            assert (head.status, await head.read()) == (200, b"")
        async with it.client.get(f"{it.admin.url}/api/nothing?x=1") as missing:
            assert (missing.status, missing.content_type) == (404, "application/json")
            assert missing.headers["Cache-Control"] == "no-store"
            assert (await missing.json())["error"] == "there is no '/api/nothing'; see /api/openapi.json"
        async with it.client.put(f"{it.admin.url}/api/state", json={}) as wrong:
            assert (wrong.status, wrong.headers["Allow"]) == (405, "GET")


async def test_state_is_read_at_most_once_per_second_and_again_after_an_action() -> None:
    """Many readers cost what one costs, and nobody sees the state before his own action."""
    async with operated("10.0.0.1:80") as it:
        assert len((await it.ask("GET", "/api/targets"))[1]) == 1
        await it.gateway.load_balancer.register_targets("group", "10.0.0.2:80")
        assert len((await it.ask("GET", "/api/targets"))[1]) == 1
        await it.ask("POST", "/api/groups/group/targets", {"targets": ["10.0.0.3:80"]})
        assert len((await it.ask("GET", "/api/targets"))[1]) == 3
