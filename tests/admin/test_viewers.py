"""The stream: the state, then deltas, for viewers who read, and for those who do not."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

import albkit as alb
from albkit.admin import state, viewers
from albkit.admin.schema import faults_of, reference
from albkit.admin.schemas import COMPONENTS
from albkit.admin.section import merge
from tests.support.admin import Events, Operated, operated, wait_for
from tests.support.peers import RawClient, response, target


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty deltas per second."""
    monkeypatch.setattr(viewers, "_INTERVAL", 0.05)


def apply(known: dict[str, Any], delta: dict[str, Any]) -> None:
    """Do with a delta what the page does."""
    for section, items in delta["set"].items():
        if section == "load_balancer":
            merge(known["load_balancer"], items)
            continue
        for identity, change in items.items():
            merge(known[section].setdefault(identity, {}), change)
    for section, gone in delta["gone"].items():
        for identity in gone:
            known[section].pop(identity, None)
    for name in ("failures", "events"):
        known[name] = [*delta[name], *known[name]][:200]
    known["time"] = delta["time"]


async def test_deltas_lead_from_the_first_state_to_the_last() -> None:
    """Whatever happens meanwhile: a reader of the stream knows what /api/state says; and at the end there is a farewell."""
    async with target(None, *[response()] * 3) as web, operated(web.address, "127.0.0.1:1", stop_timeout=0.1) as it:
        load_balancer = it.gateway.load_balancer
        async with it.client.get(f"{it.admin.url}/api/stream") as answer:
            assert (answer.status, answer.content_type) == (200, "text/event-stream")
            events = Events(answer)
            kind, known = await events.next()
            assert kind == "state"
            assert faults_of(reference("State"), known, COMPONENTS) == []
            client = await it.gateway.client()
            for _ in range(3):
                await client.get("/")
            await load_balancer.register_targets("group", ["10.0.0.7:80", "10.0.0.8:80"])
            await it.ask("POST", "/api/groups/group/targets/10.0.0.7:80/drain")
            await load_balancer.deregister_targets("group", "10.0.0.8:80")
            client.send(b"nonsense\r\n\r\n")
            await client.response()
            # The second delta from now begins after all of that.
            for _ in range(3):
                kind, delta = await events.next()
                assert kind == "delta"
                assert list(delta) == ["time", "set", "gone", "failures", "events"]
                apply(known, delta)
            _, now = await it.ask("GET", "/api/state")
            _, delta = await events.next()
            apply(known, delta)
            for one in (known, now):
                del one["time"]
            assert known == now
            assert known["targets"]["group/10.0.0.7:80"]["state"] == "drained"
            assert "group/10.0.0.8:80" not in known["targets"]
            assert known["failures"][0]["status"] == 400
            assert [event["kind"] for event in known["events"]].count("TargetRegistered") == 2
            stopping = asyncio.create_task(load_balancer.stop())
            kinds = set()
            while kind != "bye":
                kind, delta = await events.next()
                kinds.add(kind)
            await stopping
            assert kinds <= {"delta", "bye"}
            assert await answer.content.read() == b""


async def test_first_viewer_gets_no_delta_of_what_he_has_seen() -> None:
    """The state that he begins with has the failures and events so far, and the first delta only what is new."""
    async with operated("10.0.0.1:80") as it:
        await it.gateway.load_balancer.register_targets("group", "10.0.0.2:80")
        for _ in range(2):
            async with it.client.get(f"{it.admin.url}/api/stream") as answer:
                events = Events(answer)
                _, known = await events.next()
                assert len(known["events"]) == 1
                assert len(known["targets"]) == 2
                _, delta = await events.next()
                changed = {name for item in delta["set"].get("targets", {}).values() for name in item}
                # The latency is unknown until the second reading.
                assert (changed - {"latency"}, delta["events"]) == (set(), [])
            await nobody_looks(it)


async def test_second_viewer_begins_where_deltas_go_on() -> None:
    """An event that the next delta brings is not in the state already."""
    async with operated("10.0.0.1:80") as it, it.client.get(f"{it.admin.url}/api/stream") as first:
        one = Events(first)
        await one.next()
        for number in range(5):
            await it.gateway.load_balancer.register_targets("group", f"10.0.1.{number}:80")
            async with it.client.get(f"{it.admin.url}/api/stream") as second:
                two = Events(second)
                _, known = await two.next()
                for _ in range(3):
                    _, delta = await two.next()
                    apply(known, delta)
                assert [event["id"] for event in known["events"]] == list(range(number + 1, 0, -1))


async def nobody_looks(it: Operated) -> None:
    async def is_so() -> bool:
        return it.admin.counters["viewers"] == 0

    await wait_for(is_so)


async def test_nothing_runs_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task, and no state in memory."""
    monkeypatch.setattr(state, "_FORGOTTEN_AFTER", 0.2)
    async with operated("10.0.0.1:80") as it:
        before = asyncio.all_tasks()
        async with it.client.get(f"{it.admin.url}/api/stream") as answer:
            await Events(answer).next()
        await nobody_looks(it)
        left = {task for task in asyncio.all_tasks() - before if "_tell" in repr(task)}
        assert not left
        (admin,) = it.gateway.load_balancer._admins._open
        sections = admin._context.state.sections  # type: ignore[attr-defined]
        assert sections["targets"].items

        async def is_forgotten() -> bool:
            return not admin._context.state.sections["targets"].items  # type: ignore[attr-defined]

        await wait_for(is_forgotten)
        assert len((await it.ask("GET", "/api/targets"))[1]) == 1


def pad(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make what a method of the state encodes a megabyte larger, so that no buffer of a kernel can take much of it."""
    encoded = getattr(state.State, name)

    async def padded(self: Any) -> list[bytes]:
        chunks: list[bytes] = await encoded(self)
        return [*chunks[:-1], chunks[-1][:-1] + b',"padding":"' + b"x" * 2**20 + b'"}']

    monkeypatch.setattr(state.State, name, padded)


async def test_viewer_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for him is bounded; others go on."""
    async with operated("10.0.0.1:80") as it, it.client.get(f"{it.admin.url}/api/stream") as answer:
        events = Events(answer)
        await events.next()
        pad(monkeypatch, "encoded_delta")
        slow = await RawClient.connect(it.admin.port, slow=True)
        slow.send(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

        async def is_dropped() -> bool:
            await events.next()
            return it.admin.counters["dropped_viewers"] == 1

        await wait_for(is_dropped)
        assert (await events.next())[0] == "delta"
        assert it.admin.counters["viewers"] == 1
        await slow.close()


async def test_reset_of_a_viewer_leaves_nothing() -> None:
    """RST in the middle of the state, and a FIN of one who only listens."""
    async with operated("10.0.0.1:80") as it:
        for leave in (RawClient.reset, RawClient.send_fin):
            client = await RawClient.connect(it.admin.port)
            client.send(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await client.read_until(b"event: ")
            leave(client)
            await nobody_looks(it)
            await client.close()


async def test_stop_of_the_admin_api_says_farewell_and_closes_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer who does not read cannot hold up a stop."""
    async with operated("10.0.0.1:80") as it, it.client.get(f"{it.admin.url}/api/stream") as answer:
        events = Events(answer)
        await events.next()
        idle = await RawClient.connect(it.admin.port)
        stuck = await RawClient.connect(it.admin.port, slow=True)
        for _ in range(4):
            pad(monkeypatch, "encoded")
        stuck.send(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await stuck.read_until(b"event: ")
        async with asyncio.timeout(8):
            await it.admin.stop()
        kind = ""
        while kind != "bye":
            kind, _ = await events.next()
        assert await idle.is_closed()
        for client in (idle, stuck):
            await client.close()
        with pytest.raises(ConnectionError):
            await RawClient.connect(it.admin.port)
        await it.admin.stop()


async def test_description_that_fails_once_does_not_end_the_stream(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the next delta comes."""
    async with operated("10.0.0.1:80") as it, it.client.get(f"{it.admin.url}/api/stream") as answer:
        events = Events(answer)
        await events.next()
        monkeypatch.setattr(alb.LoadBalancer, "counters", property(lambda _: 1 / 0))

        async def is_logged() -> bool:
            return "the state of the admin API could not be read" in caplog.text

        await wait_for(is_logged)
        monkeypatch.undo()
        assert (await events.next())[0] == "delta"
        caplog.set_level(logging.CRITICAL)


async def test_kernel_gives_up_viewers_who_have_vanished() -> None:
    """A machine that lost its power sends no FIN."""
    async with operated() as it:
        client = await RawClient.connect(it.admin.port)
        assert (await client.get("/health", host="127.0.0.1")).status == 200
        (admin,) = it.gateway.load_balancer._admins._open
        (connection,) = admin._connections._open  # type: ignore[attr-defined]
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock = connection._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        await client.close()
