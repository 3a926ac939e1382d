"""A browser at the demo's page, through the demo's gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from albkit.demo.gateway import Demo
from tests.clients.node import Program, need_chromium, node

pytestmark = pytest.mark.timeout(40)

BOUND = 30.0


@contextlib.asynccontextmanager
async def chatting(demo: Demo, folder: Path) -> AsyncIterator[tuple[Program, dict[str, Any], dict[str, Any]]]:
    """A browser whose two pages, each with a session of its own, have talked with each other: it, the pages, and what they read."""
    # What the browser leaves behind, such as its profile, is gone with the test's folder.
    async with asyncio.timeout(BOUND), node("browser.js", demo.url, TMPDIR=str(folder), HOME=str(folder)) as browser:
        yield browser, await browser.told(within=20), await browser.told(within=20)


async def test_two_pages_chat_and_find_another_target_when_theirs_stops(browser_folder: Path) -> None:
    """Both read what each says; the end of a target is a close with 1001 to the page, which then reconnects elsewhere."""
    need_chromium()
    async with Demo() as demo, chatting(demo, browser_folder) as (browser, opened, read):
        pages = opened["pages"]
        assert [page["pinned"] for page in pages] == [page["page"] for page in pages]
        assert pages[0]["page"] != pages[1]["page"]
        for lines in read["lines"]:
            assert [line.partition(": ")[2] for line in lines if ": " in line] == ["Is anybody there?", "Yes, over here."]

        (target,) = (target for target in demo.targets if target.name == pages[0]["page"])
        await target.stop()
        browser.go_on()
        closed = await browser.told()
        # Whether it was clean is chance: aiohttp does not always await the answer to its close, and then resets the connection.
        assert [(end["code"], end["reason"]) for end in closed["ends"]] == [(1001, "the target stops")]
        assert closed["last"] == "Closed (1001). Reconnect?"
        browser.go_on()
        assert (await browser.told())["again"] in {target.name for target in demo.targets if target.is_running}


async def test_page_reads_1001_when_the_load_balancer_stops(browser_folder: Path) -> None:
    """Not 1006, which stands for a connection that broke."""
    need_chromium()
    async with Demo() as demo, chatting(demo, browser_folder) as (browser, _, _):
        await demo.load_balancer.stop()
        browser.go_on()
        closed = await browser.told()
        assert [(end["code"], end["wasClean"]) for end in closed["ends"]] == [(1001, True)]
        assert closed["last"] == "Closed (1001). Reconnect?"
