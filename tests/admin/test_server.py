"""Opening and closing an admin API."""

from __future__ import annotations

import asyncio
import importlib
import logging
import subprocess
import sys

import aiohttp
import pytest

import albkit as alb
from tests.support.gateway import running


async def test_port_in_use_is_said_in_the_words_of_a_listener() -> None:
    """What is wrong and what to do; nothing stays open, and the load balancer goes on."""
    async with running("10.0.0.1:80") as gateway:
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{gateway.port}: ") as raised:
            await gateway.load_balancer.admin(port=gateway.port)
        with pytest.raises(OSError, match="cannot listen on ") as of_listener:
            async with alb.LoadBalancer(alb.Listener(gateway.port, alb.FixedResponse(200), host="127.0.0.1")):
                pass
        assert raised.value.strerror == of_listener.value.strerror
        assert raised.value.errno == of_listener.value.errno


async def test_several_can_be_open_and_one_can_be_closed_alone() -> None:
    """Each has a port of its own; the rest ends with the load balancer."""
    async with running("10.0.0.1:80") as gateway, aiohttp.ClientSession() as client:
        first = await gateway.load_balancer.admin()
        second = await gateway.load_balancer.admin(host="localhost")
        assert first.port != second.port
        assert second.url == f"http://localhost:{second.port}"
        await first.stop()
        async with client.get(f"{second.url}/health") as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{first.url}/health")
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{second.url}/health")


async def test_ipv6_loopback_needs_no_token() -> None:
    """Its URL has brackets."""
    async with running("10.0.0.1:80") as gateway, aiohttp.ClientSession() as client:
        admin = await gateway.load_balancer.admin(host="::1")
        assert admin.url == f"http://[::1]:{admin.port}"
        async with client.get(f"{admin.url}/api/targets") as answer:
            assert answer.status == 200


async def test_it_can_be_opened_before_the_load_balancer_runs() -> None:
    """So that probes find something while a program starts; it ends with stop() also then."""
    load_balancer = alb.LoadBalancer(alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1"))
    admin = await load_balancer.admin()
    async with aiohttp.ClientSession() as client:
        for path, status in (("/health", 200), ("/ready", 503), ("/api/state", 200)):
            async with client.get(f"{admin.url}{path}") as answer:
                assert answer.status == status
        await load_balancer.start()
        async with client.get(f"{admin.url}/ready") as answer:
            assert answer.status == 200
        await load_balancer.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{admin.url}/health")
        admin = await load_balancer.admin()
        await load_balancer.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(f"{admin.url}/health")


async def test_load_balancer_that_stops_meanwhile_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call fails, and its port is closed."""
    async with running("10.0.0.1:80") as gateway:
        server = importlib.import_module("albkit.admin.server")
        start, opened = server.start, []

        async def slow(*arguments: object, **more: object) -> object:
            opened.append(await start(*arguments, **more))
            await gateway.load_balancer.stop()
            return opened[0]

        monkeypatch.setattr(server, "start", slow)
        with pytest.raises(RuntimeError, match="was stopped while its admin API was being opened"):
            await gateway.load_balancer.admin()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", opened[0].port)


async def test_cancelled_stop_closes_it_as_well() -> None:
    """Nothing may stay open."""
    async with running("10.0.0.1:80", stop_timeout=0) as gateway:
        admin = await gateway.load_balancer.admin()
        stopping = asyncio.create_task(gateway.load_balancer.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await admin.stop()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", admin.port)


async def test_opening_and_closing_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the URL."""
    caplog.set_level(logging.INFO, "albkit")
    async with running("10.0.0.1:80") as gateway:
        admin = await gateway.load_balancer.admin()
        await admin.stop()
        lines = [(vars(line)["albkit_event"], vars(line)["albkit_url"]) for line in caplog.records if hasattr(line, "albkit_url")]
        assert [line for line in lines if line[0].startswith("admin")] == [("admin_opened", admin.url), ("admin_closed", admin.url)]


def test_program_without_admin_api_does_not_load_it() -> None:
    """aiohttp's server costs memory and time."""
    program = "import sys, albkit; print([name for name in sys.modules if name.startswith(('aiohttp', 'albkit.admin'))])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
