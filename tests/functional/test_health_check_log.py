"""The health check log, and the last check of a target: each kind of check, and each way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.report import health_check_log
from albkit.report.log_throttle import LogThrottle
from albkit.wire.http1.upgrade import websocket_accept
from tests.functional.test_tls_targets import secure
from tests.support.balancing import Balancing, balancing, listener
from tests.support.h2_target import H2Stream, h2_target, tls_context
from tests.support.peers import Conversation, Script, free_port, response, target
from tests.support.tunnels import SWITCHED

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
LINE = re.compile(rf"(\S+) ({TIME}) (\d+\.\d{{9}}) (\S+) group (PASS|FAIL) (\d+|-) (\w+|-) (app/albkit/[0-9a-f]{{16}}) (\S+)")
SERVING, NOT_SERVING = b"\0\0\0\0\2\x08\1", b"\0\0\0\0\2\x08\2"


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


class Log:
    """Collects the lines of a log."""

    def __init__(self, format: str = "alb") -> None:  # noqa: A002
        self.texts: list[str] = []
        self.has_line = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.destination = alb.HealthCheckLog(self._add, format)

    def _add(self, text: str) -> None:
        self.texts.append(text)
        self._loop.call_soon_threadsafe(self.has_line.set)

    def first(self) -> tuple[str, ...]:
        """Type, latency, address, status, status code, reason and own address of the first line."""
        match = LINE.fullmatch(self.texts[0])
        assert match is not None, self.texts[0]
        kind, _, latency, address, status, code, reason, _, local = match.groups()
        return kind, latency, address, status, code, reason, local


@contextlib.asynccontextmanager
async def checking(log: Log, address: Any, check: alb.HealthCheck, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer that has logged a check."""
    group = alb.TargetGroup("group", address, health_check=check, **settings)
    protocol = {"protocol": "TCP"} if settings.get("protocol") == "TCP" else {}
    async with balancing(listener(alb.Forward(group), **protocol), health_check_log=log.destination) as it:
        async with asyncio.timeout(5):
            await log.has_line.wait()
        yield it


def check(path: str = "/up", **settings: Any) -> alb.HealthCheck:
    return alb.HealthCheck(path, **{"interval": 300, "timeout": 1, **settings})


def answer(data: bytes) -> Script:
    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(data)
        await conversation.drain()

    return script


async def _reset(conversation: Conversation) -> None:
    await conversation.head()
    conversation.reset()


async def _switches(conversation: Conversation) -> None:
    head = await conversation.head()
    key = next(line for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: ")).partition(b": ")[2]
    conversation.send(SWITCHED.replace(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", websocket_accept(key)))
    await conversation.over.wait()


async def _no_tls(conversation: Conversation) -> None:
    await conversation.read(1)
    conversation.send(b"SSH-2.0-OpenSSH\r\n")


async def _silent(conversation: Conversation) -> None:
    await conversation.head()
    await conversation.over.wait()


def described(it: Balancing) -> alb.HealthCheckResult:
    (description,) = it.load_balancer.describe_target_health("group")
    assert description.last_check is not None
    return description.last_check


def test_setting_that_is_no_health_check_log_is_refused() -> None:
    """A path in its place too."""
    for wrong in ("checks.log", False, alb.AccessLog("access.log")):
        with pytest.raises(alb.ConfigurationError, match=r"health_check_log: .* is not HealthCheckLog\(...\) or None"):
            alb.LoadBalancer(listener(alb.FixedResponse(200)), health_check_log=wrong)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answer(response(200)), ("PASS", "200", "-")),
        (answer(response(404)), ("FAIL", "404", "ResponseCodeMismatch")),
        (answer(response(301)), ("FAIL", "301", "ResponseCodeMismatch")),
        (answer(response(500)), ("FAIL", "500", "TargetError")),
        (answer(b"HTTP/1.1 5\x000 no\r\n\r\n"), ("FAIL", "-", "ResponseStringMismatch")),
        (answer(b"SSH-2.0-OpenSSH\r\n"), ("FAIL", "-", "ResponseStringMismatch")),
        (answer(b"HTTP/1.1 200 OK\r\nX: "), ("FAIL", "-", "ConnectionReset")),
        (answer(b""), ("FAIL", "-", "ConnectionReset")),
        (_reset, ("FAIL", "-", "ConnectionReset")),
        (_silent, ("FAIL", "-", "TimedOut")),
    ],
)
async def test_http_check_has_a_line_and_is_the_last_check(script: Script, expected: tuple[str, ...]) -> None:
    """The same in both: status, duration, and in words why it failed."""
    log = Log()
    async with target(script) as origin, checking(log, origin.address, check(timeout=0.1 if script is _silent else 1)) as it:
        last = described(it)
        kind, latency, address, *outcome, local = log.first()
        assert (kind, address, tuple(outcome)) == ("http", origin.address, expected)
        assert local == ("127.0.0.1" if expected[1] != "-" else "-")
        assert latency == f"{last.seconds:.9f}"
        assert (last.passed, last.status) == (expected[0] == "PASS", int(expected[1]) if expected[1] != "-" else None)
        assert (last.reason == "") is last.passed
        assert abs(last.at - it.runtime.clock.time()) < 60


async def test_connection_that_is_refused_is_a_reset() -> None:
    """ALB has no other word for it."""
    log, port = Log(), free_port()
    async with checking(log, f"127.0.0.1:{port}", check()):
        kind, _, address, *outcome, _ = log.first()
    assert (kind, address, outcome) == ("http", f"127.0.0.1:{port}", ["FAIL", "-", "ConnectionReset"])


async def test_https_check_is_of_its_own_type() -> None:
    """Also if the handshake fails."""
    async with secure(answer(response(200))) as origin:
        log = Log()
        async with checking(log, origin.address, check(), protocol="HTTPS", verify=False):
            assert (log.first()[0], log.first()[3:6]) == ("https", ("PASS", "200", "-"))
    log = Log()
    async with target(_no_tls) as plain, checking(log, plain.address, check(), protocol="HTTPS"):
        assert (log.first()[0], log.first()[3:6]) == ("https", ("FAIL", "-", "ConnectionReset"))


@pytest.mark.parametrize("tls", [False, True])
async def test_http2_check_is_of_type_h2(tls: bool, tmp_path: Path) -> None:
    """With and without TLS."""
    log = Log()
    async with h2_target(tls=tls_context(str(tmp_path)) if tls else None) as origin:
        settings = {"protocol": "HTTPS", "verify": False} if tls else {}
        async with checking(log, origin.address, check(), protocol_version="HTTP2", **settings):
            assert (log.first()[0], log.first()[3:]) == ("h2", ("PASS", "200", "-", "127.0.0.1"))


def grpc(code: str | None, body: bytes = b"", status: int = 200) -> Any:
    async def script(stream: H2Stream) -> None:
        await stream.body()
        trailers = [("grpc-status", code)] if code is not None else [("x", "y")]
        await stream.answer(status, body, ("content-type", "application/grpc"), trailers=trailers)

    return script


@pytest.mark.parametrize(
    ("path", "code", "status", "body", "expected"),
    [
        ("/AWS.ALB/healthcheck", "12", 200, b"", ("PASS", "12", "-")),
        ("/my.Service/Up", "13", 200, b"", ("FAIL", "13", "GRPCUnexpectedStatus")),
        ("/my.Service/Up", None, 200, b"", ("FAIL", "-", "GRPCStatusHeaderEmpty")),
        ("/my.Service/Up", "x", 200, b"", ("FAIL", "-", "GRPCStatusHeaderEmpty")),
        ("/my.Service/Up", "0", 503, b"", ("FAIL", "503", "TargetError")),
        ("/my.Service/Up", "0", 404, b"", ("FAIL", "404", "ResponseCodeMismatch")),
        ("/grpc.health.v1.Health/Check", "0", 200, SERVING, ("PASS", "0", "-")),
        ("/grpc.health.v1.Health/Check", "0", 200, NOT_SERVING, ("FAIL", "0", "ResponseStringMismatch")),
        ("/grpc.health.v1.Health/Check", "0", 200, b"\1", ("FAIL", "0", "ResponseStringMismatch")),
    ],
)
async def test_grpc_check_has_the_grpc_status(path: str, code: str | None, status: int, body: bytes, expected: tuple[str, ...]) -> None:
    """The HTTP status stands in its place if it is not 200."""
    log = Log()
    async with h2_target(grpc(code, body, status)) as origin:
        matcher = {"matcher": "12"} if code == "12" else {"matcher": "0"}
        async with checking(log, origin.address, check(path, **matcher), protocol_version="GRPC") as it:
            assert (log.first()[0], log.first()[3:6]) == ("grpc", expected)
            assert described(it).status == (int(expected[1]) if expected[1] != "-" else None)


async def test_tcp_and_websocket_checks_have_types_of_their_own() -> None:
    """A TCP check has no status code."""
    log = Log()
    async with target() as origin, checking(log, origin.address, alb.HealthCheck(protocol="TCP", interval=300, timeout=1)):
        assert (log.first()[0], log.first()[3:]) == ("tcp", ("PASS", "-", "-", "127.0.0.1"))
    log = Log()
    async with target(_switches) as origin, checking(log, origin.address, check(protocol="WEBSOCKET")):
        assert (log.first()[0], log.first()[3:6]) == ("ws", ("PASS", "101", "-"))
    log = Log()
    async with target(answer(SWITCHED)) as origin, checking(log, origin.address, check(protocol="WEBSOCKET")):
        assert (log.first()[0], log.first()[3:6]) == ("ws", ("FAIL", "101", "ResponseStringMismatch"))


async def _passes(_: alb.Target) -> bool:
    return True


async def _fails(_: alb.Target) -> str:
    return 'too "full"\r\nforged'


async def _raises(_: alb.Target) -> bool:
    raise ZeroDivisionError


async def _hangs(_: alb.Target) -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (_passes, ("PASS", "-", "-")),
        (_fails, ("FAIL", "-", "TargetError")),
        (_raises, ("FAIL", "-", "TargetError")),
        (_hangs, ("FAIL", "-", "TimedOut")),
    ],
)
async def test_probe_of_the_program_has_a_type_of_its_own(probe: Any, expected: tuple[str, ...]) -> None:
    """What it says stays inside its field in JSON; ALB's format has no field for it."""
    for name in ("alb", "json"):
        log = Log(name)
        async with checking(log, "127.0.0.1:9", alb.HealthCheck(probe=probe, interval=300, timeout=0.1)) as it:
            reason = described(it).reason
            if name == "alb":
                assert (log.first()[0], log.first()[2:]) == ("probe", ("127.0.0.1:9", *expected, "-"))
                continue
            found = json.loads(log.texts[0])
            assert "\n" not in log.texts[0]
            assert found["reason"] == (reason or None)
            assert (found["type"], found["target_group_id"], found["status"]) == ("probe", "group", expected[0])
            assert (found["status_code"], found["reason_code"], found["ip_address"]) == (None, expected[2].replace("-", "") or None, None)


async def test_address_is_that_of_the_health_check_port() -> None:
    """It is where the check connects to."""
    log = Log()
    async with target(answer(response(200))) as origin, checking(log, f"127.0.0.1:{free_port()}", check(port=origin.port)):
        assert log.first()[2:5] == (origin.address, "PASS", "200")


async def test_target_on_a_unix_socket_is_a_path_without_spaces(tmp_path: Path) -> None:
    """A space in it would be the end of the field."""
    folder = tmp_path / "a b"
    folder.mkdir()
    log = Log()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(200))
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "s")
    async with server, checking(log, f"unix:{folder}/s", check()):
        assert log.first()[2:] == (f"unix:{folder}/s".replace(" ", "\\x20"), "PASS", "200", "-", "-")


async def test_duration_ends_when_the_result_is_known() -> None:
    """The load balancer still waits for the rest of the body, so that the target can finish its response."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await conversation.over.wait()

    log = Log("json")
    async with target(script) as origin, checking(log, origin.address, check(interval=0.4, timeout=0.3)) as it:
        assert described(it).passed
        # It waits for the interval, 0.4 s, because the rest never comes.
        assert json.loads(log.texts[0])["latency"] < 0.3


async def test_group_without_a_health_check_has_no_last_check() -> None:
    """Neither from the start nor after the check was removed."""
    async with target(answer(response(200))) as origin:
        checked = alb.TargetGroup("group", origin.address, health_check=check(interval=0.05, timeout=0.05))
        plain = alb.TargetGroup("group", origin.address)
        log = Log()
        async with balancing(listener(alb.Forward(plain), name="a"), health_check_log=log.destination) as it:
            assert it.load_balancer.describe_target_health("group")[0].last_check is None
            await it.load_balancer.apply(listener(alb.Forward(checked), name="a"))
            async with asyncio.timeout(5):
                await log.has_line.wait()
            assert described(it).passed
            await it.load_balancer.apply(listener(alb.Forward(plain), name="a"))
            assert it.load_balancer.describe_target_health("group")[0].last_check is None
            (unknown,) = it.load_balancer.describe_target_health("group", "127.0.0.1:1")
            assert unknown.last_check is None


async def test_there_are_as_many_lines_as_results() -> None:
    """The last one is the last check, and each check of each target has one."""
    log = Log("json")
    answered = 0

    async def script(conversation: Conversation) -> None:
        nonlocal answered
        await conversation.head()
        answered += 1
        conversation.send(response(200))

    async with target(script) as one, target(script) as other:
        group = alb.TargetGroup("group", [one.address, other.address], health_check=check(interval=0.02, timeout=1))
        async with balancing(listener(alb.Forward(group)), health_check_log=log.destination) as it:
            async with asyncio.timeout(5):
                while answered < 20:
                    await asyncio.sleep(0.001)
            results = {str(found.target): found.last_check for found in it.load_balancer.describe_target_health("group")}
    lines = [json.loads(text) for text in log.texts]
    # A check that is under way when the load balancer stops has no result.
    assert answered - 2 <= len(lines) <= answered
    for address, last in results.items():
        assert last is not None
        assert any(line["target_addr"] == address and line["latency"] == round(last.seconds, 9) for line in lines)


async def test_line_that_cannot_be_made_costs_no_check(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported with a traceback; the target becomes healthy."""
    monkeypatch.setattr(health_check_log, "fixed", lambda _: 1 / 0)
    monkeypatch.setattr(health_check_log, "_throttle", LogThrottle())
    log = Log()
    with caplog.at_level(logging.ERROR, "albkit"):
        async with target(answer(response(200))) as origin:
            group = alb.TargetGroup("group", origin.address, health_check=check())
            async with balancing(listener(alb.Forward(group)), health_check_log=log.destination) as it, asyncio.timeout(5):
                while it.load_balancer.counters["HealthyHostCount"] != 1:
                    await asyncio.sleep(0.001)
    assert not log.texts
    assert "a line of the health check log could not be written" in caplog.text
