"""`albkit.prometheus.Collector`, with registries and the HTTP server of prometheus_client."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import TypeVar

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

import albkit as alb
from albkit.prometheus import Collector
from tests.support.balancing import balancing, group_of, listener
from tests.support.clock import FakeClock
from tests.support.gateway import running
from tests.support.peers import RawClient, response, target

Result = TypeVar("Result")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def _in_thread(function: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, function)


def _text(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def _registry(*load_balancers: alb.LoadBalancer, timeout: float = 5.0) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Collector(*load_balancers, timeout=timeout))
    return registry


async def _used(port: int) -> None:
    client = await RawClient.connect(port)
    assert (await client.get()).status == 200
    await client.close()


async def test_registry_writes_what_the_load_balancer_writes_itself() -> None:
    """Every sample, with the same value and labels; read in the loop and in a thread."""
    async with target(None, response()) as one, running(one.address, clock=FakeClock()) as it:
        await _used(it.port)
        metrics = it.load_balancer.metrics
        (key,) = metrics.listeners
        async with asyncio.timeout(5):
            while metrics.listeners[key]["ActiveConnectionCount"]:
                await asyncio.sleep(0)
        registry = _registry(it.load_balancer)
        own = _samples(metrics.prometheus())
        assert own["albkit_requests_total", frozenset({("load_balancer", "albkit")})] == 1
        assert _samples(_text(registry)) == own
        assert _samples(await _in_thread(lambda: _text(registry))) == own


async def test_http_server_of_prometheus_client_can_be_scraped_while_the_loop_serves() -> None:
    """It scrapes from a thread of its own."""
    async with target(None, response()) as one, running(one.address) as it:
        await _used(it.port)
        server, thread = start_http_server(0, "127.0.0.1", registry=_registry(it.load_balancer))
        try:
            url = f"http://127.0.0.1:{server.server_port}/metrics"

            def scrape() -> str:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    text: str = answer.read().decode()
                    return text

            text = await _in_thread(scrape)
            assert 'albkit_target_group_requests_total{load_balancer="albkit",target_group="group"} 1.0' in text
        finally:
            server.shutdown()
            server.server_close()
            await _in_thread(thread.join)


async def test_threads_read_while_targets_come_and_go() -> None:
    """In the loop, so no dictionary changes while it is read."""
    async with balancing(listener(group_of("127.0.0.1:9"))) as it:
        registry = _registry(it.load_balancer)
        texts: list[str] = []

        def scrape() -> None:
            texts.extend(_text(registry) for _ in range(5))

        threads = [threading.Thread(target=scrape) for _ in range(3)]
        for thread in threads:
            thread.start()
        number = 0
        while any(thread.is_alive() for thread in threads):
            number += 1
            address = f"127.0.0.{number % 200 + 2}:9"
            await it.load_balancer.register_targets("group", address)
            if number % 3:
                await it.load_balancer.deregister_targets("group", address)
            await asyncio.sleep(0)
        assert len(texts) == 15
        for text in texts:
            _samples(text)


async def test_thread_waits_for_a_busy_loop_no_longer_than_the_timeout() -> None:
    """A scrape fails rather than hangs, and leaves nothing in the loop."""
    async with balancing(listener(group_of("127.0.0.1:9"))) as it:
        collector = Collector(it.load_balancer, timeout=0.05)
        failed: list[BaseException] = []

        def scrape() -> None:
            try:
                collector.collect()
            except TimeoutError as error:
                failed.append(error)

        thread = threading.Thread(target=scrape)
        thread.start()
        # The loop is busy: nothing else runs in it.
        thread.join(10)
        assert [str(error) for error in failed] == ["the event loop of load balancer 'albkit' was busy for 0.05 s"]
        assert await _in_thread(lambda: len(list(collector.collect()))) > 50


def test_load_balancer_that_does_not_run_is_read_at_once() -> None:
    """Before the start, after the stop, and after the end of the event loop."""
    load_balancer = alb.LoadBalancer(listener(group_of("127.0.0.1:9")))
    registry = _registry(load_balancer)

    def running_gauge() -> float:
        return _samples(_text(registry))["albkit_running", frozenset({("load_balancer", "albkit")})]

    async def run() -> None:
        async with load_balancer:
            assert running_gauge() == 1

    assert running_gauge() == 0
    asyncio.run(run())
    assert running_gauge() == 0
    gc.collect()


def test_thread_that_waits_when_the_loop_ends_gets_its_metrics() -> None:
    """A scrape in the moment in which the program stops."""
    load_balancer = alb.LoadBalancer(listener(group_of("127.0.0.1:9")), stop_timeout=0)
    collector = Collector(load_balancer, timeout=30)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(load_balancer.start())
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(len(list(collector.collect()))))

    async def hold() -> None:
        thread.start()
        # The thread has asked, or will ask, a loop that runs no more.
        time.sleep(0.05)
        await load_balancer.stop()

    loop.run_until_complete(hold())
    loop.close()
    thread.join(10)
    assert len(found) == 1
    assert found[0] > 50


async def test_several_load_balancers_share_families() -> None:
    """They differ in the label `load_balancer`."""
    balancers = [alb.LoadBalancer(listener(group_of("127.0.0.1:9")), name=name) for name in ("one", "two")]
    text = _text(_registry(*balancers))
    assert text.count("# TYPE albkit_requests_total") == 1
    assert 'albkit_requests_total{load_balancer="one"} 0.0' in text
    assert 'albkit_requests_total{load_balancer="two"} 0.0' in text


def test_wrong_arguments_are_refused() -> None:
    """With what to do."""
    one = alb.LoadBalancer(listener(group_of("127.0.0.1:9")))
    with pytest.raises(ValueError, match="at least one"):
        Collector()
    with pytest.raises(ValueError, match="different names"):
        Collector(one, alb.LoadBalancer(listener(group_of("127.0.0.1:9"))))
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            Collector(one, timeout=timeout)


def test_registration_reads_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for the names alone, and finds that a second collector has the same."""
    one = alb.LoadBalancer(listener(group_of("127.0.0.1:9")))
    collector = Collector(one)
    monkeypatch.setattr(Collector, "collect", None)
    registry = CollectorRegistry()
    registry.register(collector)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(Collector(one))


_WITHOUT = """
import sys
import albkit
assert not [name for name in sys.modules if name.startswith("prometheus_client")]
sys.modules["prometheus_client"] = None
try:
    import albkit.prometheus
except ImportError as error:
    print(error)
"""


def test_albkit_without_the_extra_imports_no_prometheus_client() -> None:
    """The import says what to install."""
    run = subprocess.run([sys.executable, "-c", _WITHOUT], check=False, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("albkit.prometheus needs prometheus_client: pip install 'albkit[prometheus]'\n", "")
