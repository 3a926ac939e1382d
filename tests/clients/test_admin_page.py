"""A browser at the live page of the admin API: of a real load balancer, and of a server that plays a large one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web

import albkit as alb
from tests.clients.admin_mock import MockAdmin, serving
from tests.clients.node import Program, need_chromium, node

pytestmark = pytest.mark.timeout(60)

BOUND = 45.0
FINE: dict[str, Any] = {"errors": [], "foreign": [], "violations": []}
"""The browser's last line if there were no errors, no requests to other origins and no violations of the policy."""


@contextlib.asynccontextmanager
async def browser(url: str, scenario: str, folder: Path, *look: str) -> AsyncIterator[Program]:
    """A browser at this page. What it leaves behind is gone with the test's folder."""
    async with asyncio.timeout(BOUND), node("admin_page.js", url, scenario, *look, TMPDIR=str(folder), HOME=str(folder)) as program:
        yield program


@contextlib.asynccontextmanager
async def mocked(mock: MockAdmin, *, seconds: float = 0.25) -> AsyncIterator[MockAdmin]:
    """A mock with traffic; its seconds are shorter."""
    async with serving(mock):
        live = asyncio.create_task(mock.live(seconds=seconds))
        try:
            yield mock
        finally:
            live.cancel()
            await asyncio.gather(live, return_exceptions=True)


async def test_actions_and_their_undo(browser_folder: Path) -> None:
    """Drain and undo, weight and undo, one tunnel and all tunnels after a question, and what explain answers."""
    need_chromium()
    async with mocked(MockAdmin(targets=12, tunnels=20)) as mock, browser(mock.url, "actions", browser_folder) as program:
        drained = await program.told(within=25)
        target = drained["target"]
        assert drained == {
            "target": target,
            "state": "draining",
            "toast": f"{target} is draining. It gets no new requests.",
            "again": "Put back",
        }
        assert await program.told() == {"toast": f"{target} is back in web.", "again": "Drain"}
        assert await program.told() == {"weight": f"Weight of {target}: 1 → 7.", "closed": True}
        closed = await program.told()
        assert (closed["before"], closed["after"]) == ("20 tunnels", "19 tunnels")
        assert "There is no undo." in closed["question"]
        assert "Close 19 tunnels?" in (await program.told())["all"]
        assert "default action" in (await program.told())["why"]
        assert await program.told() == FINE
        at = f"/api/groups/web/targets/{target.replace(':', '%3A')}"
        assert [call[:2] for call in mock.calls[:4]] == [("POST", f"{at}/drain"), ("POST", f"{at}/put-back"), ("PATCH", at), ("PATCH", at)]
        assert [call[2] for call in mock.calls[2:4]] == [{"weight": 7}, {"weight": 1}]
        assert mock.calls[4][0] == "DELETE"
        assert mock.calls[5] == ("POST", "/api/tunnels/close", {"all": True})


async def test_keyboard_alone_is_enough(browser_folder: Path) -> None:
    """Tab reaches everything with a visible focus; shortcuts, filters, sorting, details, buttons and undo work."""
    need_chromium()
    async with mocked(MockAdmin()) as mock, browser(mock.url, "keyboard", browser_folder) as program:
        stops = (await program.told(within=25))["stops"]
        assert stops[0] == "Skip to the content"
        assert stops[1:16:2][0] == "Overview"
        assert stops[13:19:2][:3] == ["Pause updates", "Theme: as the system", "Help and keyboard shortcuts"]
        assert set(stops[2::2]) == {"solid"}
        done = await program.told()
        assert done == {
            "heading": "Targets",
            "filter": "Filter targets",
            "head": "State",
            "next": "Target",
            "sorted": "Target",
            "name": "10.0.0.2:8000",
            "panel": "10.0.0.2:8000",
            "back": "10.0.0.2:8000",
            "button": "Drain 10.0.0.2:8000 of api",
            "drains": "10.0.0.2:8000 is draining. It gets no new requests.",
            "help": True,
        }
        assert await program.told() == FINE


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (360, "dark"), (800, "dark"), (1440, "light")])
async def test_every_view_fits_has_names_and_contrast(browser_folder: Path, width: int, scheme: str) -> None:
    """No view is wider than the window, every control and table has a name, and text has the contrast of WCAG AA."""
    need_chromium()
    mock = MockAdmin()
    mock.fail("web/10.0.0.1:8000")
    mock.failure(mock.state["targets"]["web/10.0.0.1:8000"])
    mock.state["targets"]["api/10.0.0.2:8000"].update(state="draining", draining_until=2e9)
    async with mocked(mock), browser(mock.url, "looks", browser_folder, str(width), "800", scheme) as program:
        seen = (await program.told(within=25))["seen"]
        dark = {view: sum(look.pop("back")) < 200 for view, look in seen.items()}
        assert set(dark.values()) == {scheme == "dark"}
        for look in seen.values():
            assert look == {"wider": 0, "nameless": [], "headless": [], "small": [], "faint": []}
        assert await program.told() == FINE


async def test_thousand_targets_and_ten_thousand_tunnels_stay_usable(browser_folder: Path) -> None:
    """Only the rows that can be seen are in the document, before and after a jump to the middle."""
    need_chromium()
    mock = MockAdmin(groups=20, targets=1000, tunnels=10_000)
    async with mocked(mock, seconds=1), browser(mock.url, "scale", browser_folder) as program:
        found = await program.told(within=30)
        assert 20 < found["rows"] < 60
        assert 20 < found["places"] < 60
        assert 20 < found["targets"] < 60
        first, last = found["middle"]
        assert 4000 < first < last < 6000
        assert found["found"] == "40 of 10,000 tunnels"
        # The house does not judge the wall clock; the fastest of five sorts is far below what a person notices on any machine.
        assert min(found["times"]) < 500
        program.go_on()
        assert await program.told() == FINE


async def test_rows_keep_their_places_below_the_pointer(browser_folder: Path) -> None:
    """A tunnel that ends stays as a line without buttons, so that no click meets its neighbour."""
    need_chromium()
    async with mocked(MockAdmin(tunnels=5)) as mock, browser(mock.url, "held", browser_folder) as program:
        order = (await program.told(within=25))["order"]
        (gone,) = (key for key, tunnel in mock.state["tunnels"].items() if tunnel["client"] == order[0])
        del mock.state["tunnels"][gone]
        program.go_on()
        assert await program.told() == {"order": order, "gone": 0}
        assert await program.told() == {"order": order[1:]}
        assert await program.told() == FINE


async def test_text_of_targets_and_clients_is_never_markup(browser_folder: Path) -> None:
    """Names with markup are shown as they are; nothing of them runs."""
    need_chromium()
    mock = MockAdmin()
    evil = "<img src=x onerror='alarm=1'><b>bold</b>"
    target = mock.add_target("web", evil)
    mock.add_tunnel(99, target, 0)["client"] = evil
    mock.fail(target["id"], evil, evil)
    mock.failure(target)
    mock.state["groups"]["web"]["algorithm"] = evil
    mock.state["rules"]["web/0"]["conditions"] = [evil]
    mock.state["load_balancer"]["name"] = evil
    async with mocked(mock), browser(mock.url, "hostile", browser_folder) as program:
        assert await program.told(within=25) == {"markup": 0, "title": evil, "alarm": None}
        assert await program.told() == FINE


async def test_refusals_and_lost_connections_are_told_in_words(browser_folder: Path) -> None:
    """Every fault of a form, an action that reaches nobody, and the way back."""
    need_chromium()
    mock = MockAdmin()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(contextlib.AsyncExitStack())
        await server.enter_async_context(mocked(mock))
        program = await stack.enter_async_context(browser(mock.url, "refusals", browser_folder))
        assert await program.told(within=25) == {
            "faults": ["targets[0].target: must be host:port or unix:/path", "targets[0].weight: must be from 0 to 999"],
            "invalid": ["target", "weight"],
        }
        assert await program.told() == {"registered": "10.9.9.9:80 is registered in web."}
        port = int(mock.url.rstrip("/").rpartition(":")[2])
        await server.aclose()
        program.go_on()
        assert (await program.told())["notice"].startswith("Disconnected. The load balancer has stopped.")
        assert "cannot be reached" in (await program.told())["toast"]
        await stack.enter_async_context(serving(mock, port))
        program.go_on()
        assert await program.told() == {"hidden": True}
        last = await program.told()
        # Chromium reports connections that were refused as errors of the console.
        assert all("Failed to load resource" in error for error in last.pop("errors"))
        assert last == {"foreign": [], "violations": []}


async def test_token_is_asked_for_and_kept_in_the_tab(browser_folder: Path) -> None:
    """A wrong one is asked for again; a reload does not ask."""
    need_chromium()
    async with mocked(MockAdmin(token="right")) as mock, browser(mock.url, "token", browser_folder) as program:
        assert await program.told(within=25) == {"asked": 0, "kept": []}
        last = await program.told()
        assert all("401" in error for error in last.pop("errors"))
        assert last == {"foreign": [], "violations": []}


@contextlib.asynccontextmanager
async def _targets(count: int) -> AsyncIterator[list[str]]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return web.Response(text="here")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for _ in range(count):
            app = web.Application()
            app.router.add_get("/{path:.*}", answer)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            addresses.append(f"127.0.0.1:{runner.addresses[0][1]}")
        yield addresses


async def test_page_drives_a_real_load_balancer(browser_folder: Path) -> None:
    """The same actions through the admin API: the target drains and is back, tunnels are closed, and explain knows the rules."""
    need_chromium()
    async with contextlib.AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(_targets(3))
        group = alb.TargetGroup("web", addresses)
        listener = alb.Listener(0, alb.Forward(group), host="127.0.0.1", name="front")
        load_balancer = await stack.enter_async_context(alb.LoadBalancer([listener]))
        admin = await load_balancer.admin()
        session = await stack.enter_async_context(ClientSession())
        sockets = [await session.ws_connect(f"http://127.0.0.1:{load_balancer.listeners[0].port}/ws") for _ in range(6)]
        program = await stack.enter_async_context(browser(admin.url, "actions", browser_folder))

        drained = await program.told(within=25)
        target = drained.pop("target")
        # It has two tunnels, so it is not drained yet.
        assert drained == {"state": "draining", "toast": f"{target} is draining. It gets no new requests.", "again": "Put back"}
        assert await program.told() == {"toast": f"{target} is back in web.", "again": "Drain"}
        assert await program.told() == {"weight": f"Weight of {target}: 1 → 7.", "closed": True}
        closed = await program.told()
        assert (closed["before"], closed["after"]) == ("6 tunnels", "5 tunnels")
        assert "Close 5 tunnels?" in (await program.told())["all"]
        assert load_balancer.tunnels == ()
        assert [await socket.receive() for socket in sockets] == [(WSMsgType.CLOSE, 1001, "")] * 6
        why = (await program.told())["why"]
        assert "forward to group web" in why[-1]
        assert await program.told() == FINE
