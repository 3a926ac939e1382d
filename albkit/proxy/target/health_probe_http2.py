"""Sends one health check over HTTP/2: a GET, a gRPC call or a WebSocket handshake (docs/alb.md 5.4)."""

from __future__ import annotations

import asyncio
from typing import Final

from albkit.model.health import TargetHealthReason
from albkit.model.health_check import HealthCheck
from albkit.policy.health import CheckFailure, CheckResult, failed, status_mismatch
from albkit.proxy.target.health_probe_stream import ENABLE_HTTP2, ProbeStream
from albkit.wire.grpc_health import EMPTY_MESSAGE, HEALTH_PATH, MalformedMessage, serving_status
from albkit.wire.websocket.frames import CLOSE, close_payload, control_frame

__all__ = ("Http2Probe",)

_CLOSE_FRAME: Final = 8
"""Bytes of a masked Close frame with a code."""


class Http2Probe:
    """One check over HTTP/2, on a connection of its own.

    Call `ask`, then `close`.

    Args:
        reader: The connection, TLS removed.
        writer: The same.
        check: Has the path and the codes that pass.
        authority: The host and the port of the target.
        user_agent: The value of `user-agent`.
        version: The group's `protocol_version`, `"HTTP2"` or `"GRPC"`.
        mask: Four random bytes for the masking key of a WebSocket frame.
        secure: Whether TLS is used.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        check: HealthCheck,
        authority: str,
        user_agent: str,
        version: str,
        mask: bytes,
        *,
        secure: bool,
    ) -> None:
        self._writer = writer
        self._stream = ProbeStream(reader, writer)
        self._check = check
        self._path = check.path_for(version)
        self._mask = mask
        self._is_grpc = version == "GRPC"
        self._authority = authority
        self._user_agent = user_agent
        self._scheme = "https" if secure else "http"
        self._is_websocket = False

    async def ask(self, *, websocket: bool) -> CheckResult:
        """Check the target with a request, or by opening a WebSocket.

        Raises:
            ConnectionError: the target does not use HTTP/2, breaks its rules, exceeds a bound, or ends the connection too early. The text
                says which.
        """
        if self._scheme == "https":
            # RFC 9113 section 3.2: over TLS, both sides agree on HTTP/2 by ALPN.
            agreed = self._writer.get_extra_info("ssl_object").selected_alpn_protocol()
            if agreed != "h2":
                what = "no ALPN protocol" if agreed is None else f"the ALPN protocol {agreed}"
                return failed(f"the target chose {what} instead of h2; {ENABLE_HTTP2}", CheckFailure.CONNECTION_RESET)
        self._stream.open()
        if websocket:
            return await self._open_websocket()
        return await (self._call_grpc() if self._is_grpc else self._get())

    async def _get(self) -> CheckResult:
        """Send a GET. Its status decides; the body is not read."""
        self._stream.send(self._head("GET"))
        status = await self._stream.read_head()
        return CheckResult(status=status) if self._check.passes(status) else status_mismatch(status)

    async def _call_grpc(self) -> CheckResult:
        """Call a gRPC method with an empty message. `grpc-status` decides.

        For the method of the gRPC health checking protocol, a `grpc-status` of 0 is not enough: the message must say SERVING.
        """
        self._stream.send(self._head("POST", (b"content-type", b"application/grpc"), (b"te", b"trailers")), EMPTY_MESSAGE)
        status = await self._stream.read_head()
        if status != 200:
            return status_mismatch(status)
        await self._stream.read_to_end()
        codes = [value for name, value in self._stream.fields if name == b"grpc-status"]
        if not codes:
            return failed("GRPCStatusHeaderEmpty: the answer has no grpc-status", CheckFailure.GRPC_STATUS_HEADER_EMPTY)
        if not (len(codes) == 1 and codes[0].isdigit() and len(codes[0]) <= 2):
            words = f"GRPCStatusHeaderEmpty: the answer has no valid grpc-status, but {b', '.join(codes)[:20]!r}"
            return failed(words, CheckFailure.GRPC_STATUS_HEADER_EMPTY)
        code = int(codes[0])
        if not self._check.passes_grpc(code):
            words = f"Health checks failed with these gRPC codes: [{code}] (GRPCUnexpectedStatus)"
            return CheckResult(TargetHealthReason.RESPONSE_CODE_MISMATCH, words, CheckFailure.GRPC_UNEXPECTED_STATUS, code)
        return self._serving() if code == 0 and self._path == HEALTH_PATH else CheckResult(status=code)

    async def _open_websocket(self) -> CheckResult:
        """Open a WebSocket with an extended CONNECT (RFC 8441). It passes with the status 200 on a stream that stays open."""
        await self._stream.read_settings()
        if not self._stream.offers_extended_connect:
            words = "the target does not offer WebSockets over HTTP/2 (SETTINGS_ENABLE_CONNECT_PROTOCOL)"
            return failed(words, CheckFailure.RESPONSE_STRING_MISMATCH)
        self._stream.send(self._head("CONNECT", (b"sec-websocket-version", b"13")), end=False)
        status = await self._stream.read_head()
        if status != 200:
            return status_mismatch(status)
        if self._stream.has_ended:
            return failed("the 200 ends the stream, so it opens no WebSocket", CheckFailure.RESPONSE_STRING_MISMATCH, status)
        self._is_websocket = True
        return CheckResult(status=status)

    async def close(self, patience: float) -> None:
        """Close the WebSocket if there is one, and the connection.

        Args:
            patience: Seconds for all of it.
        """
        if self._is_websocket and self._stream.target_window >= _CLOSE_FRAME:
            self._stream.send_data(control_frame(CLOSE, close_payload(1000, ""), self._mask), end=True)
        await self._stream.close(patience)

    def _head(self, method: str, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        protocol = [(b":protocol", b"websocket")] if method == "CONNECT" else []
        return [
            (b":method", method.encode()),
            *protocol,
            (b":scheme", self._scheme.encode()),
            (b":path", self._path.encode("ascii")),
            (b":authority", self._authority.encode("ascii")),
            (b"user-agent", self._user_agent.encode()),
            *more,
        ]

    def _serving(self) -> CheckResult:
        try:
            status = serving_status(bytes(self._stream.body))
        except MalformedMessage as error:
            words = f"the answer of the target's gRPC health service is unreadable: {error}"
        else:
            if status == "SERVING":
                return CheckResult(status=0)
            words = f"the target's gRPC health service answers {status}"
        return failed(words, CheckFailure.RESPONSE_STRING_MISMATCH, 0)
