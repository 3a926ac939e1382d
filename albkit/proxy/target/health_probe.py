"""Sends one health check to one target: an HTTP request, a gRPC call, a WebSocket handshake, or a connection only (docs/alb.md 5.4)."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import attrs

from albkit.clock import Clock
from albkit.errors import Failure
from albkit.model.health import TargetHealthReason
from albkit.model.health_check import HealthCheck
from albkit.model.message import ResponseHead
from albkit.model.target import Target
from albkit.model.target_group import TargetGroup
from albkit.policy.health import CheckFailure, CheckResult, failed, status_mismatch
from albkit.proxy.target.connector import OUT_OF_SOCKETS, server_name
from albkit.proxy.target.health_probe_http2 import Http2Probe
from albkit.proxy.tls.targets import TargetContexts
from albkit.proxy.transports import endpoint
from albkit.wire.http1.response import check_partial_head, read_response
from albkit.wire.http1.upgrade import websocket_accept
from albkit.wire.proxy_protocol.writer import LOCAL_V1, LOCAL_V2
from albkit.wire.websocket.frames import CLOSE, close_payload, control_frame

__all__ = ("HealthProber", "address_of_check", "kind_of", "timed_out")

_LARGEST_HEAD = 32 * 1024
_MOST_INTERIM = 10
_LARGEST_REST = 64 * 1024
"""Bytes that are read after the head of the response, while the target closes the connection."""
_CLOSE_TIMEOUT = 1.0
"""Seconds to wait until the target closes the connection."""
_USER_AGENT = "ELB-HealthChecker/2.0"
_KINDS = {"HTTP2": "h2", "GRPC": "grpc"}
"""By the group's `protocol_version`."""


class HealthProber:
    """Sends health checks, each over a new connection.

    Args:
        clock: Provides the random keys of WebSocket handshakes.
        contexts: The TLS settings of the target groups.
    """

    def __init__(self, clock: Clock, contexts: TargetContexts) -> None:
        self._clock = clock
        self._contexts = contexts

    async def ask(self, check: HealthCheck, target: Target, group: TargetGroup, of_streams: bool = False) -> CheckResult | None:
        """Check a target. Nothing that the target does raises an exception here.

        Args:
            check: What to send, and which response passes.
            target: The target.
            group: Has the protocol of the target.
            of_streams: Whether only TCP and TLS listeners use the group, so that the check is TCP by default.

        Returns:
            The result, after at most `check.timeout` seconds and one more to close the connection; `None` if the check says nothing about
            the target, because the event loop was blocked or no file descriptor or port was left.
        """
        protocol = _protocol_of(check, target, group, of_streams)
        secure = protocol == "HTTPS" or (protocol == "WEBSOCKET" and group.is_secure(target))
        streams = None
        close: Callable[[float], Awaitable[None]]
        limit = asyncio.timeout(check.timeout)
        monotonic = self._clock.monotonic
        began = monotonic()
        try:
            async with limit:
                streams = await self._connect(target, check.port or target.port)
                await self._begin(streams[1], target, group, secure=secure)
                if protocol == "TCP":
                    return CheckResult(local=_local_address(streams[1]))
                if group.protocol_version == "HTTP1":
                    response, result = await (self._shake_hands if protocol == "WEBSOCKET" else self._get)(*streams, check, target)
                    close = partial(self._close, *streams, response)
                else:
                    version, mask = group.protocol_version, self._clock.entropy(4)
                    probe = Http2Probe(*streams, check, _authority(check, target), _USER_AGENT, version, mask, secure=secure)
                    result = await probe.ask(websocket=protocol == "WEBSOCKET")
                    close = probe.close
            result = attrs.evolve(result, seconds=monotonic() - began, local=_local_address(streams[1]))
            # The result is known: how the connection closes does not change it.
            await close(min(_CLOSE_TIMEOUT, check.interval))
            return result
        except TimeoutError:
            return timed_out(limit, check.timeout)
        except (OSError, EOFError, ValueError, Failure, asyncio.LimitOverrunError) as error:
            # ValueError: a host name that DNS cannot look up.
            if isinstance(error, OSError) and error.errno in OUT_OF_SOCKETS:
                return None
            # Both are raised for bytes that have arrived and are no valid answer.
            is_malformed = isinstance(error, Failure | asyncio.LimitOverrunError)
            return failed(_describe(error), CheckFailure.RESPONSE_STRING_MISMATCH if is_malformed else CheckFailure.CONNECTION_RESET)
        finally:
            if streams is not None:
                streams[1].transport.abort()

    async def _connect(self, target: Target, port: int | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if target.path is not None and port is None:
            return await asyncio.open_unix_connection(target.path, limit=_LARGEST_HEAD)
        # A target with a Unix socket runs on this machine, and so does its health check port.
        return await asyncio.open_connection("127.0.0.1" if target.path is not None else target.host, port, limit=_LARGEST_HEAD)

    async def _begin(self, writer: asyncio.StreamWriter, target: Target, group: TargetGroup, *, secure: bool) -> None:
        """Send the PROXY protocol header that says that the connection is the load balancer's own (LOCAL), and start TLS."""
        if group.proxy_protocol is not None:
            writer.write(LOCAL_V1 if group.proxy_protocol == "v1" else LOCAL_V2)
        if secure:
            await writer.start_tls(self._contexts.of(group, checks=True), server_hostname=server_name(target))

    async def _get(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, check: HealthCheck, target: Target
    ) -> tuple[ResponseHead, CheckResult]:
        writer.write(_request(check, target, "Connection: close"))
        response = await _response(reader)
        status = response.status
        return response, CheckResult(status=status) if check.passes(status) else status_mismatch(status)

    async def _shake_hands(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, check: HealthCheck, target: Target
    ) -> tuple[ResponseHead, CheckResult]:
        key = b64encode(self._clock.entropy(16))
        fields = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key.decode()}", "Sec-WebSocket-Version: 13")
        writer.write(_request(check, target, *fields))
        response = await _response(reader)
        if response.status != 101:
            return response, status_mismatch(response.status)
        accepted = [line.partition(b":")[2].strip(b" \t") for line in response.lines if line.lower().startswith(b"sec-websocket-accept:")]
        if response.upgrade.lower() == b"websocket" and accepted == [websocket_accept(key)]:
            return response, CheckResult(status=101)
        return response, failed("the 101 is no answer to a WebSocket handshake", CheckFailure.RESPONSE_STRING_MISMATCH, 101)

    async def _close(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, response: ResponseHead, patience: float) -> None:
        """Let the target finish its response: a reset in the middle of it would show up in the log of the target at every check."""
        with suppress(OSError, EOFError):  # TimeoutError is an OSError.
            async with asyncio.timeout(patience):
                if response.status == 101:
                    writer.write(control_frame(CLOSE, close_payload(1000, ""), self._clock.entropy(4)))
                    if writer.can_write_eof():
                        writer.write_eof()
                if response.content_length >= 0 and response.status != 101:
                    await reader.readexactly(min(response.content_length, _LARGEST_REST))
                    return
                left = _LARGEST_REST
                while left > 0 and (data := await reader.read(_LARGEST_HEAD)):
                    left -= len(data)


def timed_out(limit: asyncio.Timeout, seconds: float) -> CheckResult | None:
    """The result of a check that took too long; `None` if the event loop was blocked meanwhile, so that a response may be unread."""
    due = limit.when()
    late = asyncio.get_running_loop().time() - due if due is not None else 0.0
    return CheckResult(TargetHealthReason.TIMEOUT, "Request timed out", CheckFailure.TIMED_OUT) if late < max(0.1, seconds / 2) else None


def kind_of(check: HealthCheck, target: Target, group: TargetGroup, of_streams: bool) -> str:
    """The type of a check in the health check log: ALB's `http`, `https`, `h2` or `grpc`, or `tcp`, `ws`, `wss` or `probe`, which ALB does
    not have."""
    if check.probe is not None:
        return "probe"
    protocol = _protocol_of(check, target, group, of_streams)
    if protocol == "TCP":
        return "tcp"
    if protocol == "WEBSOCKET":
        return "wss" if group.is_secure(target) else "ws"
    return _KINDS.get(group.protocol_version) or protocol.lower()


def address_of_check(check: HealthCheck, target: Target) -> str:
    """Where a check of a target connects to: `host:port`, or `unix:` and the path."""
    return str(target) if check.port is None or check.probe is not None else _authority(check, target)


def _protocol_of(check: HealthCheck, target: Target, group: TargetGroup, of_streams: bool) -> str:
    spoken = group.protocol_of(target)
    return check.protocol or ("TCP" if of_streams or spoken == "TLS" else spoken)  # As NLB does.


def _local_address(writer: asyncio.StreamWriter) -> str:
    local = endpoint(writer.get_extra_info("sockname"))
    return local[0] if local is not None else ""


def _authority(check: HealthCheck, target: Target) -> str:
    if target.path is not None:
        return "localhost" if check.port is None else f"localhost:{check.port}"
    name = f"[{target.host}]" if ":" in target.host else target.host
    return f"{name}:{check.port or target.port}"


def _request(check: HealthCheck, target: Target, *fields: str) -> bytes:
    lines = [f"GET {check.path} HTTP/1.1", f"Host: {_authority(check, target)}", f"User-Agent: {_USER_AGENT}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _response(reader: asyncio.StreamReader) -> ResponseHead:
    """The head of the final response. Interim responses are skipped."""
    for _ in range(_MOST_INTERIM):
        response = read_response(await _head(reader), "GET")
        if response.status >= 200 or response.status == 101:
            return response
    raise ConnectionError("no final response behind so many interim ones")


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Read one response head line by line, so that bytes that cannot become one are refused at once."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        line = await reader.readuntil(b"\n")
        head += line
        check_partial_head(head, len(head) - len(line))
        if len(head) > _LARGEST_HEAD:
            raise asyncio.LimitOverrunError("the head is too long", len(head))
    return bytes(head)


def _describe(error: Exception) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "the target closed the connection without a whole answer"
    if isinstance(error, asyncio.LimitOverrunError):
        return f"the target's answer has a head of more than {_LARGEST_HEAD} bytes"
    # Not by `reason`, which Python does not have for every alert.
    if isinstance(error, ssl.SSLError) and "no application protocol" in str(error).lower().replace("_", " "):
        return "the target refuses the protocol that is offered in the TLS handshake (ALPN); check the group's protocol_version"
    return str(error) or type(error).__name__
