"""Metrics for programs that have a registry of `prometheus_client`. Install it with `pip install 'albkit[prometheus]'`.

    prometheus_client.REGISTRY.register(albkit.prometheus.Collector(lb))

Without such a registry `lb.metrics.prometheus()` returns the same text, several times faster, and needs no other package.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from albkit.control.metrics import Metrics

if TYPE_CHECKING:
    from albkit.load_balancer import LoadBalancer
    from albkit.report.prometheus import Samples
    from albkit.report.prometheus_families import Family

try:
    from prometheus_client import Metric
    from prometheus_client.registry import Collector as _Collector
except ImportError as error:
    raise ImportError("albkit.prometheus needs prometheus_client: pip install 'albkit[prometheus]'") from error

__all__ = ("Collector",)

_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks whether the event loop has ended while a thread waits for it."""
_TRIES: Final = 5


class Collector(_Collector):
    """Collects the metrics of load balancers.

    Call `collect` from any thread, as the HTTP server of prometheus_client does. While a load balancer runs, its numbers are read in its
    event loop, in steps of about a millisecond, and the calling thread waits for that.

    Args:
        load_balancers: One or more, whose names differ. They need not be running.
        timeout: Seconds, above 0, for which a thread waits for an event loop that is busy. Default: `5`.

    Raises:
        ValueError: two load balancers have the same name, or there is none; or the timeout is not above 0.
    """

    def __init__(self, *load_balancers: LoadBalancer, timeout: float = 5.0) -> None:
        self._metrics = [load_balancer.metrics for load_balancer in load_balancers]
        self._timeout = timeout
        names = [metrics.name for metrics in self._metrics]
        if not names:
            raise ValueError("give at least one load balancer")
        if len(set(names)) < len(names):
            raise ValueError(f"the load balancers {names} need different names, because their metrics differ in nothing else")
        if not timeout > 0:
            raise ValueError(f"timeout: {timeout!r} is not above 0")

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that a registry need not read any to learn the names."""
        return [_metric(family) for family in self._metrics[0].families]

    def collect(self) -> Iterable[Metric]:
        """Return all families.

        Raises:
            TimeoutError: the event loop of a load balancer was busy for too long.
        """
        families: dict[str, Metric] = {}
        for metrics in self._metrics:
            for samples in self._read(metrics):
                family = families.get(samples.family.name)
                if family is None:
                    family = families[samples.family.name] = _metric(samples.family)
                for suffix, labels, value in samples.rows:
                    family.add_sample(samples.family.name + suffix, dict(labels), value)
        return families.values()

    def _read(self, metrics: Metrics) -> list[Samples]:
        loop = metrics.loop
        if loop is None or not loop.is_running() or _running_loop() is loop:
            return _read_here(metrics)
        reading = _Reading(metrics.samples(), loop)
        try:
            loop.call_soon_threadsafe(reading.step)
        except RuntimeError:
            return _read_here(metrics)  # The loop was closed in this moment.
        deadline = time.monotonic() + self._timeout
        try:
            while True:
                left = deadline - time.monotonic()
                try:
                    return reading.result.result(max(0.0, min(left, _LOOK_AGAIN)))
                except TimeoutError:
                    if loop.is_closed():
                        return _read_here(metrics)
                    if left <= 0:
                        raise TimeoutError(f"the event loop of load balancer {metrics.name!r} was busy for {self._timeout} s") from None
        finally:
            reading.result.cancel()


class _Reading:
    """Reads the metrics in an event loop, in one callback per step."""

    def __init__(self, steps: Iterator[Samples | None], loop: asyncio.AbstractEventLoop) -> None:
        self._steps = steps
        self._loop = loop
        self._read: list[Samples] = []
        self.result: Future[list[Samples]] = Future()

    def step(self) -> None:
        """Read some, and come back."""
        if self.result.cancelled():
            return
        try:
            samples = next(self._steps)
        except StopIteration:
            # Not cancelled from here on.
            if self.result.set_running_or_notify_cancel():
                self.result.set_result(self._read)
        except Exception as error:  # noqa: BLE001 - it belongs to the thread that waits
            if self.result.set_running_or_notify_cancel():
                self.result.set_exception(error)
        else:
            if samples is not None:
                self._read.append(samples)
            self._loop.call_soon(self.step)


def _read_here(metrics: Metrics) -> list[Samples]:
    """Read the metrics in this thread, which is that of the event loop, or no event loop runs."""
    for attempt in range(_TRIES):
        try:
            return [samples for samples in metrics.samples() if samples is not None]
        except RuntimeError:
            # A dictionary has changed: another thread starts or stops the load balancer.
            if attempt == _TRIES - 1:
                raise
    raise AssertionError


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _metric(family: Family) -> Metric:
    return Metric(family.name, family.help, family.type)
