"""Health checks of HTTP2 and GRPC groups, against real targets on sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from h2.errors import ErrorCodes

import albkit as alb
from albkit.clock import SystemClock
from albkit.policy.health import CheckResult
from albkit.proxy.target.health_probe import HealthProber
from albkit.proxy.tls.targets import TargetContexts
from tests.support import h2_frames as raw
from tests.support.h2_target import H2Stream, H2Target, h2_target, tls_context
from tests.support.peers import Conversation, Target, target
from tests.support.secure import issued

HEALTH = "/grpc.health.v1.Health/Check"
MISMATCH, FAILED, TIMEOUT = (
    alb.TargetHealthReason.RESPONSE_CODE_MISMATCH,
    alb.TargetHealthReason.FAILED_HEALTH_CHECKS,
    alb.TargetHealthReason.TIMEOUT,
)


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


async def ask(address: str, check: alb.HealthCheck | None = None, version: str = "HTTP2", **settings: Any) -> CheckResult:
    """One check of one target."""
    check = check or alb.HealthCheck(interval=5, timeout=5)
    group = alb.TargetGroup("group", address, protocol_version=version, health_check=check, **settings)
    result = await HealthProber(SystemClock(), TargetContexts()).ask(check, group.fixed_targets[0], group)
    assert result is not None
    return result


async def assert_ended_in_order(origin: H2Target) -> None:
    """The connection ends with GOAWAY and FIN, not with a reset."""
    (connection,) = origin.connections
    await asyncio.wait_for(connection.conversation.over.wait(), 5)
    assert connection.last_stream_of_goaway == 0
    assert connection.conversation.reader.exception() is None
    assert connection.conversation.reader.at_eof()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> ssl.SSLContext | None:
    return tls_context(str(tmp_path)) if request.param == "tls" else None


# GET.


async def test_get_asks_as_alb_does_and_ends_in_order(tls: ssl.SSLContext | None) -> None:
    """The same fields as over HTTP/1.1; the target sees nothing out of order."""
    async with h2_target(tls=tls) as origin:
        assert await ask(origin.address, alb.HealthCheck("/up?deep=1", interval=5)) == CheckResult()
        (request,) = origin.requests
        assert request.fields == [
            (":method", "GET"),
            (":scheme", "https" if tls else "http"),
            (":path", "/up?deep=1"),
            (":authority", origin.address.removeprefix("https://")),
            ("user-agent", "ELB-HealthChecker/2.0"),
        ]
        assert request.has_ended
        assert request.reset is None
        await assert_ended_in_order(origin)


@pytest.mark.parametrize(
    ("status", "matcher", "result"),
    [
        (204, "200-299", CheckResult()),
        (204, "200", CheckResult(MISMATCH, "Health checks failed with these codes: [204]")),
        (500, "200", CheckResult(MISMATCH, "Health checks failed with these codes: [500]")),
        (301, "200", CheckResult(MISMATCH, "Health checks failed with these codes: [301]")),
    ],
)
async def test_status_decides(status: int, matcher: str, result: CheckResult) -> None:
    """As over HTTP/1.1."""

    async def script(stream: H2Stream) -> None:
        stream.head(status, end=True)

    async with h2_target(script) as origin:
        assert await ask(origin.address, alb.HealthCheck(matcher=matcher, interval=5)) == result
        await assert_ended_in_order(origin)


async def test_answer_without_end_is_canceled(tls: ssl.SSLContext | None) -> None:
    """The status has decided; the rest of an event stream is not waited for."""

    async def script(stream: H2Stream) -> None:
        stream.head(103)
        stream.head(200)
        await stream.write(b"data: 1\n\n")
        await stream.over.wait()

    async with h2_target(script, tls=tls) as origin:
        assert (await ask(origin.address, alb.HealthCheck(interval=0.2))).passed
        assert (await origin.request()).reset == ErrorCodes.CANCEL
        await assert_ended_in_order(origin)


async def test_large_answer_ends_with_the_window() -> None:
    """More than 64 KiB are never read."""

    async def script(stream: H2Stream) -> None:
        await stream.answer(200, bytes(100_000))

    async with h2_target(script) as origin:
        assert (await ask(origin.address)).passed
        assert (await origin.request()).reset == ErrorCodes.CANCEL
        await assert_ended_in_order(origin)


# gRPC.


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


async def test_grpc_call_has_the_fields_that_grpc_asks_for(tls: ssl.SSLContext | None) -> None:
    """The default method does not exist anywhere, so 12 (UNIMPLEMENTED) shows that a gRPC server is at work."""
    bodies: list[bytes] = []

    async def script(stream: H2Stream) -> None:
        bodies.append(await stream.body())
        stream.head(200, ("content-type", "application/grpc"), ("grpc-status", "12"), end=True)

    async with h2_target(script, tls=tls) as origin:
        assert await ask(origin.address, version="GRPC") == CheckResult()
        (request,) = origin.requests
        assert request.fields == [
            (":method", "POST"),
            (":scheme", "https" if tls else "http"),
            (":path", "/AWS.ALB/healthcheck"),
            (":authority", origin.address.removeprefix("https://")),
            ("user-agent", "ELB-HealthChecker/2.0"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        assert bodies == [bytes(5)]
        await assert_ended_in_order(origin)


@pytest.mark.parametrize(
    ("path", "matcher", "status", "body", "trailers", "reason", "words"),
    [
        pytest.param("/a.B/C", "0", 200, framed(b""), [("grpc-status", "0")], None, "", id="0"),
        pytest.param("/a.B/C", "0-12", 200, b"", [("grpc-status", "7"), ("grpc-message", "no")], None, "", id="range"),
        pytest.param(HEALTH, "0", 200, framed(b"\x08\x01"), [("grpc-status", "0")], None, "", id="serving"),
        pytest.param(HEALTH, "0,12", 200, b"", [("grpc-status", "12")], None, "", id="no-health-service"),
        pytest.param(
            HEALTH, "0", 200, framed(b"\x08\x02"), [("grpc-status", "0")], FAILED, "health service answers NOT_SERVING", id="not-serving"
        ),
        pytest.param(HEALTH, "0", 200, framed(b""), [("grpc-status", "0")], FAILED, "health service answers UNKNOWN", id="unknown"),
        pytest.param(
            HEALTH, "0", 200, b"", [("grpc-status", "0")], FAILED, "unreadable: the response contains no message", id="no-message"
        ),
        pytest.param(HEALTH, "0", 200, framed(b"\x08"), [("grpc-status", "0")], FAILED, "not valid protobuf", id="no-protobuf"),
        pytest.param(
            "/a.B/C", "200", 200, b"", [("grpc-status", "0")], MISMATCH, "gRPC codes: [0] (GRPCUnexpectedStatus)", id="other-code"
        ),
        pytest.param("/a.B/C", "0", 200, b"x", [("x", "y")], FAILED, "GRPCStatusHeaderEmpty: the answer has no grpc-status", id="none"),
        pytest.param("/a.B/C", "0", 200, b"x", [], FAILED, "GRPCStatusHeaderEmpty: the answer has no grpc-status", id="no-trailers"),
        pytest.param("/a.B/C", "0", 200, b"", [("grpc-status", "")], FAILED, "GRPCStatusHeaderEmpty", id="empty"),
        pytest.param("/a.B/C", "0", 200, b"", [("grpc-status", "-1")], FAILED, "no valid grpc-status, but b'-1'", id="not-a-number"),
        pytest.param("/a.B/C", "0", 200, b"", [("grpc-status", "0")] * 2, FAILED, "no valid grpc-status, but b'0, 0'", id="twice"),
        pytest.param("/a.B/C", "0", 503, b"x", [("grpc-status", "0")], MISMATCH, "with these codes: [503]", id="http-status"),
    ],
)
async def test_grpc_status_decides(
    path: str, matcher: str, status: int, body: bytes, trailers: list[raw.Field], reason: alb.TargetHealthReason | None, words: str
) -> None:
    """In the trailers; the health service's message has to say SERVING as well."""

    async def script(stream: H2Stream) -> None:
        await stream.body()
        await stream.answer(status, body, ("content-type", "application/grpc"), trailers=trailers)

    async with h2_target(script) as origin:
        result = await ask(origin.address, alb.HealthCheck(path, matcher=matcher, interval=5), "GRPC")
        assert result.reason == reason
        assert words in result.description
        assert bool(words) is bool(result.description)
        await assert_ended_in_order(origin)


async def test_grpc_answer_larger_than_the_window_fails() -> None:
    """Its status would never come."""

    async def script(stream: H2Stream) -> None:
        await stream.answer(200, bytes(70_000), trailers=[("grpc-status", "12")])

    async with h2_target(script) as origin:
        result = await ask(origin.address, version="GRPC")
        assert result == CheckResult(FAILED, "Health checks failed: the target's answer has a body of more than 65534 bytes")


@contextlib.contextmanager
def grpc_server(answer: bytes | None, *, code: grpc.StatusCode | None = None, secure: bool = False) -> Iterator[str]:
    """A server of grpcio. With an answer it has the health service; no protobuf is needed for it."""

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        assert request == b""
        if code is not None:
            context.abort(code, "as the test wants")
        return answer or b""

    pool = ThreadPoolExecutor(1)
    server = grpc.server(pool)
    if answer is not None:
        handler = grpc.unary_unary_rpc_method_handler(check)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler}),))
    if secure:
        one = issued()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(one.key_pem, one.pem)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"{'https://' if secure else ''}127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        pool.shutdown()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("answer", "code", "check", "words"),
    [
        pytest.param(None, None, alb.HealthCheck(interval=5), "", id="default"),
        pytest.param(b"\x08\x01", None, alb.HealthCheck(HEALTH, matcher="0", interval=5), "", id="serving"),
        pytest.param(b"\x08\x02", None, alb.HealthCheck(HEALTH, matcher="0", interval=5), "answers NOT_SERVING", id="not-serving"),
        pytest.param(None, None, alb.HealthCheck(HEALTH, matcher="0", interval=5), "gRPC codes: [12]", id="no-health-service"),
        pytest.param(b"", grpc.StatusCode.NOT_FOUND, alb.HealthCheck(HEALTH, matcher="0", interval=5), "gRPC codes: [5]", id="error"),
    ],
)
def test_real_grpc_server_is_checked(
    answer: bytes | None, code: grpc.StatusCode | None, check: alb.HealthCheck, words: str, *, secure: bool
) -> None:
    """With its own method, and with one that does not exist."""
    with grpc_server(answer, code=code, secure=secure) as address:
        result = asyncio.run(ask(address, check, "GRPC"))
    assert result.passed is not bool(words)
    assert words in result.description


# Targets that do not use HTTP/2.


async def test_http1_target_is_told_apart() -> None:
    """The description says what to change."""
    app = web.Application()
    async with TestServer(app) as server:
        result = await ask(f"127.0.0.1:{server.port}")
    assert result.reason == FAILED
    assert "answers in HTTP/1; enable HTTP/2 on it, or set the group's protocol_version to HTTP1" in result.description


@pytest.mark.parametrize(
    ("protocols", "words"),
    [
        pytest.param([], "chose no ALPN protocol instead of h2; enable HTTP/2 on it", id="none"),
        pytest.param(["http/1.1"], "chose no ALPN protocol instead of h2", id="http1"),
    ],
)
async def test_tls_target_that_does_not_agree_on_h2_fails(tmp_path: Path, protocols: list[str], words: str) -> None:
    """RFC 9113 section 3.2: HTTP/2 over TLS takes ALPN. Not a byte of HTTP/2 is sent."""
    seen: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        seen.append(await conversation.read_to_end())

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*issued().write(tmp_path, "target"))
    context.set_alpn_protocols(protocols)
    origin = H2Target(tls=context)
    origin.script = script
    await origin.open()
    try:
        result = await ask(origin.address)
        async with asyncio.timeout(5):
            await (await origin.arrived()).over.wait()
    finally:
        await origin.close()
    assert result.reason == FAILED
    assert words in result.description
    assert seen == [b""]


async def test_target_that_refuses_h2_in_the_handshake_fails() -> None:
    """With the alert no_application_protocol (RFC 7301 section 3.2)."""

    async def script(conversation: Conversation) -> None:
        await conversation.read()
        conversation.send(b"\x15\x03\x03\x00\x02\x02\x78")
        await conversation.read_to_end()

    async with target(script) as origin:
        result = await ask(f"https://{origin.address}")
    assert result.reason == FAILED
    assert "refuses the protocol that is offered in the TLS handshake (ALPN)" in result.description


HEAD = raw.settings() + raw.headers(1, [(":status", "200")], end=False)
GRPC_HEAD = raw.settings() + raw.headers(1, [(":status", "200"), ("content-type", "application/grpc")], end=False)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers in HTTP/1", id="http1"),
        pytest.param(b"HTTP/", "answers in HTTP/1", id="http1-cut"),
        pytest.param(b"<html>\n<body>", "does not answer in HTTP/2; it begins with b'<html>", id="html"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", "answers with a TLS alert", id="tls-alert"),
        pytest.param(b"", "closed the connection without sending HTTP/2", id="nothing"),
        pytest.param(raw.ping(), "does not answer in HTTP/2", id="ping-first"),
        pytest.param(raw.settings(ack=True), "does not answer in HTTP/2", id="ack-first"),
        pytest.param(raw.settings(), "closed the connection without a whole answer", id="settings-only"),
        pytest.param(raw.settings() + b"\0\0\x10\x01", "closed the connection without a whole answer", id="half-a-frame"),
        pytest.param(raw.frame(raw.SETTINGS, 0, 0, b"12345"), "FRAME_SIZE_ERROR", id="settings-of-5-bytes"),
        pytest.param(raw.frame(raw.SETTINGS, 0, 1), "does not answer in HTTP/2", id="settings-of-a-stream"),
        pytest.param(raw.settings((raw.INITIAL_WINDOW_SIZE, 2**31)), "FLOW_CONTROL_ERROR", id="window-too-large"),
        pytest.param(raw.settings((raw.ENABLE_PUSH, 2)), "PROTOCOL_ERROR", id="push-2"),
        pytest.param(raw.settings() + raw.frame(raw.SETTINGS, raw.ACK, 0, bytes(6)), "FRAME_SIZE_ERROR", id="ack-with-payload"),
        pytest.param(raw.settings() * 501, "sends more than 500 frames", id="settings-flood"),
        pytest.param(raw.settings() + raw.ping() * 501, "sends more than 500 frames", id="ping-flood"),
        pytest.param(HEAD[: len(raw.settings())] + raw.frame(200, 0, 0, bytes(16384)) * 20, "or 262144 bytes", id="unknown-flood"),
        pytest.param(raw.settings() + raw.frame(raw.PING, 0, 0, b"1234567"), "FRAME_SIZE_ERROR", id="ping-of-7-bytes"),
        pytest.param(raw.settings() + raw.ping(stream=1), "PROTOCOL_ERROR", id="ping-of-a-stream"),
        pytest.param(raw.settings() + raw.frame(raw.DATA, 0, 1, b"")[:3] + b"\0", "without a whole answer", id="cut"),
        pytest.param(raw.settings() + b"\xff\xff\xff" + raw.ping()[3:], "FRAME_SIZE_ERROR", id="frame-too-large"),
        pytest.param(raw.settings() + raw.go_away(0, raw.ENHANCE_YOUR_CALM), "GOAWAY (ENHANCE_YOUR_CALM)", id="goaway"),
        pytest.param(raw.settings() + raw.frame(raw.GOAWAY, 0, 0, bytes(7) + b"\x02busy"), "GOAWAY (INTERNAL_ERROR: b'busy')", id="debug"),
        pytest.param(raw.settings() + raw.go_away(1, 77), "GOAWAY (code 77)", id="goaway-and-no-answer"),
        pytest.param(raw.settings() + raw.frame(raw.GOAWAY, 0, 0, bytes(7)), "FRAME_SIZE_ERROR", id="goaway-of-7-bytes"),
        pytest.param(raw.settings() + raw.rst_stream(1, raw.REFUSED_STREAM), "reset the stream (REFUSED_STREAM)", id="refused"),
        pytest.param(raw.settings() + raw.rst_stream(3), "PROTOCOL_ERROR", id="reset-of-another-stream"),
        pytest.param(raw.settings() + raw.frame(raw.RST_STREAM, 0, 1, b"123"), "FRAME_SIZE_ERROR", id="reset-of-3-bytes"),
        pytest.param(raw.settings() + raw.frame(raw.PUSH_PROMISE, 4, 1, bytes(4)), "PUSH_PROMISE", id="push"),
        pytest.param(raw.settings() + raw.data(1), "DATA comes before the head", id="data-first"),
        pytest.param(raw.settings() + raw.headers(3, [(":status", "200")]), "stream 3, which is not open", id="other-stream"),
        pytest.param(raw.settings() + raw.headers(1, [("x", "y")]), "the head of the response is malformed", id="no-status"),
        pytest.param(raw.settings() + raw.headers(1, []), "the head of the response is malformed", id="empty-head"),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "+20")]), "the head of the response is malformed", id="odd-status"),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "600")]), "the head of the response is malformed", id="status-600"),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "200")] * 2), "the head of the response is malformed", id="two-statuses"),
        pytest.param(
            raw.settings() + raw.headers(1, [("x", "y"), (":status", "200")]), "the head of the response is malformed", id="late-status"
        ),
        pytest.param(
            raw.settings() + raw.headers(1, [(":status", "200"), (":path", "/")]),
            "the head of the response is malformed",
            id="odd-pseudo-field",
        ),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "200"), ("X", "y")]), "malformed, the field name b'X'", id="upper-case"),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "101")], end=False), "malformed, status 101", id="101"),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "100")]), "malformed, status 100", id="interim-end"),
        pytest.param(raw.settings() + raw.headers(1, [(":status", "100")], end=False) * 11, "more than 10 interim", id="interim-flood"),
        pytest.param(raw.settings() + raw.headers(1, b"\xff\xff\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR", id="hpack"),
        pytest.param(raw.settings() + raw.headers(1, b"", whole=False) + raw.ping(), "CONTINUATION is missing", id="no-continuation"),
        pytest.param(raw.settings() + raw.continuation(1, b""), "follows no HEADERS", id="continuation-alone"),
        pytest.param(
            raw.settings() + raw.headers(1, b"", whole=False) + raw.continuation(1, b"", whole=False) * 501,
            "500 frames",
            id="continuation-flood",
        ),
        pytest.param(
            raw.settings() + raw.headers(1, bytes(16384), whole=False) + raw.continuation(1, bytes(16384), whole=False) * 2,
            "more than 32768 bytes",
            id="large-section",
        ),
        pytest.param(
            raw.settings() + raw.headers(1, raw.literal("a", "b" * 4000, first=0x40) + b"\xbe" * 10_000),
            "ENHANCE_YOUR_CALM",
            id="hpack-bomb",
        ),
        pytest.param(raw.settings() + raw.frame(raw.HEADERS, raw.PADDED, 1, b"\x05abc"), "PROTOCOL_ERROR", id="too-much-padding"),
        pytest.param(raw.settings() + raw.frame(raw.HEADERS, raw.PRIORITIZED, 1, b"1234"), "FRAME_SIZE_ERROR", id="half-a-priority"),
    ],
)
async def test_wrong_frames_fail_with_a_description(sent: bytes, words: str) -> None:
    """Whatever the target sends, the check ends at once and says why."""
    async with scripted(sent) as origin:
        result = await ask(origin.address)
    assert result.reason == FAILED
    assert words in result.description
    assert len(result.description) < 250


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        pytest.param(GRPC_HEAD, "without a whole answer", id="no-trailers"),
        pytest.param(GRPC_HEAD + raw.rst_stream(1, raw.INTERNAL_ERROR), "reset the stream (INTERNAL_ERROR)", id="reset"),
        pytest.param(GRPC_HEAD + raw.headers(1, [("grpc-status", "12")], end=False), "the trailers do not end the stream", id="no-end"),
        pytest.param(GRPC_HEAD + raw.headers(1, [(":status", "200"), ("grpc-status", "12")]), "the field name b':status'", id="status"),
        pytest.param(GRPC_HEAD + raw.data(1, bytes(16384)) * 4, "FLOW_CONTROL_ERROR", id="beyond-the-window"),
        pytest.param(GRPC_HEAD + raw.data(1, b"") * 501, "500 frames", id="empty-data"),
        pytest.param(GRPC_HEAD + raw.frame(raw.DATA, raw.PADDED, 1, b""), "FRAME_SIZE_ERROR", id="no-padding-length"),
    ],
)
async def test_wrong_frames_fail_a_grpc_check(sent: bytes, words: str) -> None:
    """Also behind the head."""
    async with scripted(sent) as origin:
        result = await ask(origin.address, version="GRPC")
    assert result.reason == FAILED
    assert words in result.description


async def test_goaway_without_our_stream_ends_the_check_at_once() -> None:
    """No answer can follow, so nothing is waited for."""

    async def script(conversation: Conversation) -> None:
        conversation.send(raw.settings() + raw.go_away(0, raw.ENHANCE_YOUR_CALM))
        await conversation.read_to_end()

    async with target(script) as origin:
        result = await ask(origin.address, alb.HealthCheck(interval=300, timeout=120))
        assert result == CheckResult(FAILED, "Health checks failed: the target closed the connection with GOAWAY (ENHANCE_YOUR_CALM)")


@contextlib.asynccontextmanager
async def scripted(sent: bytes, received: list[bytes] | None = None) -> AsyncIterator[Target]:
    """A target that answers the preface with these bytes, says that it sends no more, and reads to the end."""

    async def script(conversation: Conversation) -> None:
        assert await conversation.read_exactly(len(raw.PREFACE)) == raw.PREFACE
        conversation.send(sent)
        with contextlib.suppress(ConnectionError):
            conversation.send_fin()
            data = await conversation.read_to_end()
            if received is not None:
                received.append(data)

    async with target(script) as origin:
        yield origin


OK = [(":status", "200"), ("grpc-status", "12")]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(raw.headers(1, OK, padding=7), id="padded"),
        pytest.param(raw.headers(1, OK, priority=raw.dependency(3)), id="priority"),
        pytest.param(raw.headers(1, b"", whole=False) + raw.continuation(1, raw.block(OK)), id="continuation"),
        pytest.param(raw.headers(1, [(":status", "103"), ("link", "x")], end=False) * 10 + raw.headers(1, OK), id="interim"),
        pytest.param(raw.frame(99, 0xFF, 7, b"?") + raw.priority(5) + raw.window_update(0, 9) + raw.headers(1, OK), id="to-ignore"),
        pytest.param(
            raw.settings((99, 5), (raw.MAX_CONCURRENT_STREAMS, 0), (raw.INITIAL_WINDOW_SIZE, 0)) + raw.headers(1, OK), id="settings"
        ),
        pytest.param(raw.settings(ack=True) + raw.go_away(1) + raw.headers(1, OK), id="goaway-with-our-stream"),
        pytest.param(raw.headers(1, OK[:1], end=False) + raw.data(1, b"x", padding=9) + raw.headers(1, OK[1:]), id="padded-data"),
        pytest.param(raw.headers(1, OK) + raw.rst_stream(1, raw.NO_ERROR), id="reset-behind-the-end"),
    ],
)
@pytest.mark.parametrize("version", ["HTTP2", "GRPC"])
async def test_unusual_frames_change_nothing(sent: bytes, version: str) -> None:
    """All that the protocol allows passes."""
    async with scripted(raw.settings() + sent) as origin:
        assert await ask(origin.address, version=version) == CheckResult()


async def test_settings_and_pings_are_acknowledged() -> None:
    """And the connection ends with GOAWAY."""
    received: list[bytes] = []
    async with scripted(raw.settings((raw.MAX_FRAME_SIZE, 20_000)) + raw.ping(b"whoareyo") + raw.headers(1, OK), received) as origin:
        assert (await ask(origin.address)).passed
        await asyncio.wait_for((await origin.arrived()).over.wait(), 5)
    assert received[0].endswith(raw.settings(ack=True) + raw.ping(b"whoareyo", ack=True) + raw.go_away(0))


@pytest.mark.parametrize("sent", [b"", raw.settings(), GRPC_HEAD], ids=["nothing", "settings", "head"])
async def test_target_that_falls_silent_times_out(sent: bytes) -> None:
    """Whatever it has sent before."""

    async def script(conversation: Conversation) -> None:
        conversation.send(sent)
        await conversation.read_to_end()

    async with target(script) as origin:
        check = alb.HealthCheck(interval=5, timeout=0.1)
        assert await ask(origin.address, check, "GRPC") == CheckResult(TIMEOUT, "Request timed out")
        await asyncio.wait_for((await origin.arrived()).over.wait(), 5)


# The PROXY protocol and WebSockets.


@pytest.mark.parametrize(("version", "header"), [("v1", b"PROXY UNKNOWN\r\n"), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0")])
async def test_proxy_protocol_header_comes_first(version: str, header: bytes) -> None:
    """It marks the connection as the load balancer's own."""

    async def script(conversation: Conversation) -> None:
        assert await conversation.read_exactly(len(header)) == header
        assert await conversation.read_exactly(len(raw.PREFACE)) == raw.PREFACE
        conversation.send(raw.settings() + raw.headers(1, OK))
        await conversation.read_to_end()

    async with target(script) as origin:
        assert await ask(origin.address, proxy_protocol=version) == CheckResult()


async def test_check_by_connecting_alone_sends_nothing() -> None:
    """`protocol="TCP"` means the same in all groups."""
    seen: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        with contextlib.suppress(ConnectionError):
            seen.append(await conversation.read_to_end())

    async with target(script) as origin:
        assert await ask(origin.address, alb.HealthCheck(protocol="TCP", interval=5)) == CheckResult()
        await asyncio.wait_for((await origin.arrived()).over.wait(), 5)
    assert seen in ([b""], [])


CONNECT = (raw.ENABLE_CONNECT_PROTOCOL, 1)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        pytest.param(raw.settings(CONNECT) + raw.headers(1, [(":status", "200")], end=False), "", id="open"),
        pytest.param(raw.settings(), "does not offer WebSockets over HTTP/2", id="not-offered"),
        pytest.param(raw.settings((raw.ENABLE_CONNECT_PROTOCOL, 0)), "does not offer WebSockets over HTTP/2", id="switched-off"),
        pytest.param(raw.settings(CONNECT) + raw.headers(1, [(":status", "404")]), "these codes: [404]", id="404"),
        pytest.param(raw.settings(CONNECT) + raw.headers(1, [(":status", "200")]), "the 200 ends the stream", id="ended"),
    ],
)
async def test_check_by_a_websocket_uses_extended_connect(sent: bytes, words: str) -> None:
    """RFC 8441; the target gets a Close frame with the code 1000."""
    received: list[bytes] = []
    async with scripted(sent, received) as origin:
        result = await ask(origin.address, alb.HealthCheck("/ws", protocol="WEBSOCKET", interval=0.2))
        await asyncio.wait_for((await origin.arrived()).over.wait(), 5)
    assert words in result.description
    assert result.passed is not bool(words)
    assert (b":protocol\x09websocket" in received[0]) is ("offer" not in words)
    # A masked Close frame: two bytes, the key, and the code 1000.
    assert (raw.data(1, bytes(8), end=True)[:9] + b"\x88\x82" in received[0]) is not bool(words)
    assert received[0].endswith(raw.go_away(0))


async def test_target_without_a_window_gets_no_close_frame() -> None:
    """The stream is reset instead."""
    received: list[bytes] = []
    sent = raw.settings(CONNECT, (raw.INITIAL_WINDOW_SIZE, 7)) + raw.headers(1, [(":status", "200")], end=False)
    async with scripted(sent, received) as origin:
        assert await ask(origin.address, alb.HealthCheck("/ws", protocol="WEBSOCKET", interval=0.2)) == CheckResult()
        await asyncio.wait_for((await origin.arrived()).over.wait(), 5)
    assert received[0].endswith(raw.rst_stream(1, raw.CANCEL) + raw.go_away(0))
