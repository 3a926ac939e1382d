"""What can be done, over real sockets."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import pytest

import albkit as alb
from tests.support.admin import operated, wait_for
from tests.support.peers import response, target
from tests.support.tunnels import echo, gone, holding, switching, upgraded

ADDRESSES = ("10.0.0.1:80", "[::1]:80", "unix:/run/app.sock", "web-1.internal:8080")


def path_of(address: str, action: str = "") -> str:
    return f"/api/groups/group/targets/{quote(address, safe='')}{action}"


@pytest.mark.parametrize("address", ADDRESSES)
async def test_target_is_registered_changed_drained_put_back_and_deleted(address: str) -> None:
    """The whole life of a target, whatever its address looks like in a path."""
    async with operated("10.9.9.9:80") as it:
        body = {"targets": [{"target": address, "weight": 7, "standby": True, "max_concurrency": 5}]}
        status, answer = await it.ask("POST", "/api/groups/group/targets", body)
        assert status == 200
        (item,) = answer["targets"]
        identity = item["id"]
        assert identity == f"group/{address}"
        assert (item["weight"], item["standby"], item["max_concurrency"], item["state"]) == (7, True, 5, "unavailable")
        status, answer = await it.ask("PATCH", path_of(address), {"weight": 9, "standby": False})
        assert (status, answer["target"]["weight"], answer["target"]["standby"]) == (200, 9, False)
        status, answer = await it.ask("POST", path_of(address, "/drain"))
        assert (status, answer["target"]["state"]) == (200, "drained")
        assert [str(one.target) for one in it.gateway.load_balancer.describe_target_health("group")] == ["10.9.9.9:80"]
        drained = await it.target(identity)
        assert drained == answer["target"]
        assert await it.ask("POST", path_of(address, "/drain")) == (200, answer)
        assert (await it.ask("PATCH", path_of(address), {"weight": 1}))[0] == 409
        status, answer = await it.ask("POST", path_of(address, "/put-back"))
        item = answer["target"]
        assert (status, item["state"], item["weight"], item["standby"], item["max_concurrency"]) == (200, "unavailable", 9, False, 5)
        assert await it.ask("POST", path_of(address, "/put-back")) == (200, answer)
        assert await it.ask("DELETE", path_of(address)) == (204, None)
        assert await it.target(identity) is None
        assert (await it.ask("POST", path_of(address, "/put-back")))[0] == 404
        assert (await it.ask("DELETE", path_of(address)))[0] == 404


async def test_target_that_drains_can_be_put_back_at_once() -> None:
    """Undo, while its last tunnel is still open: the tunnel stays."""
    async with target(switching(then=holding)) as web, operated(web.address) as it:
        client = await upgraded(it.gateway)
        status, answer = await it.ask("POST", path_of(web.address, "/drain"))
        assert (status, answer["target"]["state"], answer["target"]["tunnels"]) == (200, "draining", 1)
        assert answer["target"]["draining_until"] > 0
        assert (await it.ask("PATCH", path_of(web.address), {"weight": 3}))[0] == 409
        status, answer = await it.ask("POST", path_of(web.address, "/put-back"))
        assert (status, answer["target"]["state"]) == (200, "unavailable")
        client.send(b"\x81\x80\x00\x00\x00\x00")
        assert await web.conversations[0].read_exactly(6)


async def test_drained_target_is_forgotten_once_it_is_declared_or_registered_again() -> None:
    """Whoever does that: it is in service, and nothing is to be put back."""
    async with operated("10.0.0.1:80", "10.0.0.2:80") as it:
        load_balancer = it.gateway.load_balancer
        listener = load_balancer.listeners[0].listener
        await it.ask("POST", path_of("10.0.0.1:80", "/drain"))
        await load_balancer.register_targets("group", "10.0.0.1:80")
        await load_balancer.deregister_targets("group", "10.0.0.1:80")
        assert (await it.ask("POST", path_of("10.0.0.1:80", "/put-back")))[0] == 404
        await it.ask("POST", path_of("10.0.0.2:80", "/drain"))
        group = alb.TargetGroup("other", "10.0.0.3:80")
        await load_balancer.apply(alb.Listener(0, alb.Forward(group), host="127.0.0.1", name=listener.name))
        _, targets = await it.ask("POST", "/api/groups/group/targets", {"targets": ["10.0.0.4:80"]})
        assert [one["id"] for one in (await it.ask("GET", "/api/targets"))[1]] == ["other/10.0.0.3:80"]
        assert "there is no target group 'group'" in targets["error"]


async def test_every_fault_of_a_registration_is_answered_at_once() -> None:
    """Those of the schema, of the targets and of the group; nothing is registered."""
    async with operated("10.0.0.1:80") as it:
        body: dict[str, Any] = {"targets": ["nonsense", {"target": "10.0.0.2:80", "weight": 5000}]}
        status, answer = await it.ask("POST", "/api/groups/group/targets", body)
        assert (status, [fault["path"] for fault in answer["faults"]]) == (422, ["targets[0]", "targets[1].weight"])
        body = {"targets": ["10.0.0.2:80", {"target": "http://10.0.0.2:80"}]}
        status, answer = await it.ask("POST", "/api/groups/group/targets", body)
        words = "10.0.0.2:80 is already in the list, as targets[0]; leave it out"
        assert (status, answer["faults"]) == (422, [{"path": "targets[1]", "message": words}])
        group = it.gateway.runtime.choices["group"].group
        assert list(group.members) == ["10.0.0.1:80"]
        assert (await it.ask("POST", "/api/groups/nobody/targets", {"targets": ["a:1"]}))[0] == 404


async def test_tunnels_are_closed_by_target_by_group_and_all() -> None:
    """It says how many, and does not wait for them."""
    async with target(switching(then=echo)) as web, target(switching(then=echo)) as other, operated(web.address, other.address) as it:
        clients = [await upgraded(it.gateway) for _ in range(4)]
        assert await it.ask("POST", "/api/tunnels/close", {"group": "group", "target": web.address, "code": 3001}) == (200, {"closed": 2})
        assert await it.ask("POST", "/api/tunnels/close", {"group": "group", "target": "10.0.0.9:1"}) == (200, {"closed": 0})
        assert await it.ask("POST", "/api/tunnels/close", {"all": True}) == (200, {"closed": 2})
        assert await it.ask("POST", "/api/tunnels/close", {"group": "group"}) == (200, {"closed": 0})
        assert (await it.ask("POST", "/api/tunnels/close", {"group": "nobody"}))[0] == 404
        assert (await it.ask("POST", "/api/tunnels/close", {}))[0] == 422
        codes = sorted([int.from_bytes((await client.read_exactly(4))[2:]) for client in clients])
        assert codes == [1001, 1001, 3001, 3001]
        for client in clients:
            await client.close()
        await gone(it.gateway)


@pytest.mark.parametrize("identity", ["0", "99", "-1", "x", "1e3", "٣", "9" * 30, "1/close"])
async def test_tunnel_that_is_none_is_unknown(identity: str) -> None:
    """Whatever stands in the place of its number."""
    async with operated() as it:
        assert (await it.ask("DELETE", f"/api/tunnels/{identity}"))[0] == 404


@pytest.mark.parametrize("code", ["1005", "1", "abc", "", "99999999999999999999"])
async def test_code_that_no_frame_can_contain_is_a_fault(code: str) -> None:
    """RFC 6455 section 7.4."""
    async with operated() as it:
        status, answer = await it.ask("DELETE", "/api/tunnels/1", params={"code": code})
        assert (status, answer["faults"][0]["path"]) == (422, "code")


async def test_explain_says_what_the_load_balancer_would_do() -> None:
    """By rule, group and target, without sending anything."""
    rule = alb.Rule(10, alb.PathPattern("/teapot"), alb.FixedResponse(418))
    async with operated("10.0.0.1:80", rules=rule) as it:
        status, answer = await it.ask("POST", "/api/explain", {"method": "GET", "url": "http://x/teapot"})
        assert (status, answer["rule"], answer["group"]) == (200, f"{it.gateway.port}/10", None)
        status, answer = await it.ask("POST", "/api/explain", {"method": "GET", "url": "http://x/", "client": "::1", "headers": {"A": "b"}})
        assert (status, answer["rule"], answer["group"], answer["target"]) == (200, None, "group", "10.0.0.1:80")
        assert answer["why"][-1].startswith("forward to group group, target 10.0.0.1:80")
        status, answer = await it.ask("POST", "/api/explain", {"method": "GET", "url": "http://x/", "listener": "nobody"})
        assert (status, answer["faults"][0]["path"]) == (422, "listener")


async def test_each_action_is_logged_with_who_asked(caplog: pytest.LogCaptureFixture) -> None:
    """What was done, what was refused, and fields for a structured log; line breaks in a path make no line."""
    caplog.set_level(logging.INFO, "albkit")
    async with operated("10.0.0.1:80") as it:
        await it.ask("PATCH", path_of("10.0.0.1:80"), {"weight": 2})
        await it.ask("PATCH", path_of("10.0.0.1:80"), {"weight": -2})
        await it.raw("DELETE", "/api/groups/group/targets/a%0a%0aforged:1", "Content-Type: application/json")
        lines = [record for record in caplog.records if getattr(record, "albkit_event", "") == "admin_action"]
        assert [(vars(line)["albkit_method"], vars(line)["albkit_status"]) for line in lines] == [
            ("PATCH", 200),
            ("PATCH", 422),
            ("DELETE", 404),
        ]
        assert all(vars(line)["albkit_client"].startswith("127.0.0.1:") for line in lines)
        assert "weight: -2 is out of range" in lines[1].getMessage()
        assert all("\n" not in line.getMessage() for line in lines)


async def test_logs_are_reopened() -> None:
    """After another program has moved them."""
    async with operated() as it:
        assert await it.ask("POST", "/api/logs/reopen") == (204, None)


async def test_member_of_another_protocol_is_a_fault_with_its_place() -> None:
    """The words are those of the group."""
    group = alb.TargetGroup("secure", "https://10.0.0.1:443", protocol="HTTPS")
    async with operated(rules=alb.Rule(1, alb.PathPattern("/s"), alb.Forward(group))) as it:
        status, answer = await it.ask("POST", "/api/groups/secure/targets", {"targets": ["10.0.0.2:80", "http://10.0.0.3:80"]})
        assert (status, [fault["path"] for fault in answer["faults"]]) == (422, ["targets[1]"])


async def test_drain_ends_when_the_last_request_is_over() -> None:
    """Then the target is drained, and can still be put back."""
    async with target(switching(then=echo), response()) as web, operated(web.address) as it:
        client = await upgraded(it.gateway)
        await it.ask("POST", path_of(web.address, "/drain"))
        await client.close()
        await gone(it.gateway)

        async def is_drained() -> bool:
            # An action, so that the state is read again.
            await it.ask("POST", "/api/logs/reopen")
            item = await it.target(f"group/{web.address}")
            return item is not None and item["state"] == "drained"

        await wait_for(is_drained)
        _, answer = await it.ask("POST", path_of(web.address, "/put-back"))
        assert answer["target"]["state"] == "unavailable"
