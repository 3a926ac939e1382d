"""Load balancers that check their targets over HTTP/2 and gRPC; the frames are tested in `proxy/target/test_health_probe_http2.py`."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes

import albkit as alb
from tests.functional.test_health_checks import HEALTHY, INITIAL, UNHEALTHY, checked, states, until
from tests.support.balancing import balancing
from tests.support.h2_target import H2Stream, h2_target


class Patient:
    """A target over HTTP/2 that answers checks with the status or the gRPC code that a test sets."""

    def __init__(self, *, grpc: bool) -> None:
        self.grpc = grpc
        self.code = 12 if grpc else 200
        self.checks = 0

    async def __call__(self, stream: H2Stream) -> None:
        await stream.body()
        assert stream.get("user-agent") == "ELB-HealthChecker/2.0"
        self.checks += 1
        if self.grpc:
            stream.head(200, ("content-type", "application/grpc"), ("grpc-status", str(self.code)), end=True)
        else:
            await stream.answer(self.code)


@pytest.mark.parametrize("version", ["HTTP2", "GRPC"])
async def test_target_follows_its_checks(version: str) -> None:
    """Healthy, unhealthy and healthy again; every check has a connection of its own."""
    patient = Patient(grpc=version == "GRPC")
    check = alb.HealthCheck(interval=0.02, timeout=2, healthy_threshold=2)
    async with h2_target(patient) as origin, balancing(checked(origin.address, check=check, protocol_version=version)) as it:
        await until(lambda: HEALTHY in states(it).values())
        good, patient.code = patient.code, 404 if version == "HTTP2" else 2
        await until(lambda: UNHEALTHY in states(it).values())
        (described,) = it.load_balancer.describe_target_health("group")
        assert described.reason == "Target.ResponseCodeMismatch"
        assert f"[{patient.code}]" in described.description
        patient.code = good
        await until(lambda: HEALTHY in states(it).values())
        assert len(origin.connections) >= patient.checks >= 5
        assert "RequestCount" not in it.counters
        assert "GrpcRequestCount" not in it.counters


async def test_target_that_resets_the_stream_is_unhealthy() -> None:
    """With the code in the description."""

    async def refuses(stream: H2Stream) -> None:
        stream.abort(ErrorCodes.INTERNAL_ERROR)

    check = alb.HealthCheck(interval=0.02, timeout=2)
    async with h2_target(refuses) as origin, balancing(checked(origin.address, check=check, protocol_version="HTTP2")) as it:
        await until(lambda: UNHEALTHY in states(it).values())
        (described,) = it.load_balancer.describe_target_health("group")
        assert described.reason == "Target.FailedHealthChecks"
        assert described.description == "Health checks failed: the target reset the stream (INTERNAL_ERROR)"


async def test_stop_ends_a_check_in_progress() -> None:
    """No task and no socket of it is left."""

    async def never(stream: H2Stream) -> None:
        await stream.over.wait()

    check = alb.HealthCheck(interval=60, timeout=60)
    async with h2_target(never) as origin:
        async with balancing(checked(origin.address, check=check, protocol_version="GRPC")) as it:
            # The first check starts within the spacing of new targets.
            await asyncio.wait_for(origin.request(), 5)
            assert list(states(it).values()) == [INITIAL]
        await asyncio.wait_for(origin.conversations[0].over.wait(), 5)
