"""Every way an exchange can fail."""

from __future__ import annotations

from enum import Enum, StrEnum

__all__ = ("FailureKind", "Phase", "Retry", "Side")


class Side(StrEnum):
    """Who caused a failure."""

    CLIENT = "client"
    LOAD_BALANCER = "load balancer"
    TARGET = "target"


class Phase(StrEnum):
    """How far the exchange had proceeded when it failed."""

    ENTRY = "entry"
    """Before the first request: connection limits, the PROXY protocol header, the TLS handshake."""
    REQUEST_HEAD = "request head"
    REQUEST_BODY = "request body"
    ROUTE = "route"
    CONNECT = "connect"
    RESPONSE_HEAD = "response head"
    RESPONSE_BODY = "response body"
    TUNNEL = "tunnel"


class Retry(StrEnum):
    """Whether the same request may be sent again after this failure."""

    NEVER = "never"
    IF_IDEMPOTENT = "if idempotent"
    """The target may have acted on the request; no byte of an answer was read."""
    ALWAYS = "always"
    """Nothing of the request was sent, or the target reports that it processed nothing of it."""


class FailureKind(Enum):
    """Every way an exchange can fail: phase, side, status for the client, retry verdict, and a sentence for the log.

    A status of `None` means that nothing can be said to the client any more: its connection is cut. 460 is logged, never sent.
    """

    # Before the first request (docs/alb.md 7.2 lists ALB's reasons for client certificates).
    PROXY_HEADER_MISSING = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the connection does not start with a PROXY protocol header")
    PROXY_HEADER_MALFORMED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the PROXY protocol header is malformed")
    PROXY_HEADER_UNTRUSTED = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the peer is in none of the networks whose PROXY protocol headers are trusted",
    )
    PROXY_HEADER_TIMEOUT = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the PROXY protocol header did not arrive within the handshake timeout",
    )
    TLS_HANDSHAKE_FAILED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the TLS handshake with the client failed")
    TLS_HANDSHAKE_TIMEOUT = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client did not finish the TLS handshake within the handshake timeout",
    )
    PLAIN_HTTP_ON_TLS_PORT = (Phase.ENTRY, Side.CLIENT, 400, Retry.NEVER, "a plain HTTP request was sent to an HTTPS port")
    TOO_MANY_CONNECTIONS = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the listener has reached its connection limit")
    TOO_MANY_CONNECTIONS_OF_CLIENT = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client has reached its connection limit")
    CLIENT_CERT_MAX_CHAIN_DEPTH_EXCEEDED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate chain is too long")
    CLIENT_CERT_MAX_SIZE_EXCEEDED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificates are too large")
    CLIENT_CERT_CRL_HIT = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate was revoked")
    CLIENT_CERT_CRL_PROCESSING_ERROR = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the revocation list for the client's certificate cannot be used",
    )
    CLIENT_CERT_UNTRUSTED = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client's certificate does not lead to a CA in the trust store",
    )
    CLIENT_CERT_NOT_YET_VALID = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate is not valid yet")
    CLIENT_CERT_EXPIRED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate has expired")
    CLIENT_CERT_TYPE_UNSUPPORTED = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client's certificate has an unsupported key, signature or version",
    )
    CLIENT_CERT_INVALID = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate is malformed")
    CLIENT_CERT_PURPOSE_INVALID = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client's certificate is not valid for client authentication",
    )
    CLIENT_CERT_REJECTED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate was rejected")
    CLIENT_CERT_INCOMPATIBLE = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate is incompatible with the handshake")
    UNMAPPED_CONNECTION_ERROR = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client sent no certificate, or verification failed for a reason that ALB has no name for",
    )

    # Caused by the client (docs/alb.md 2.3, 2.4; RFC 9112).
    REQUEST_MALFORMED = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "the request head is not valid HTTP/1.1 or HTTP/2")
    REQUEST_BARE_LF = (
        Phase.REQUEST_HEAD,
        Side.CLIENT,
        400,
        Retry.NEVER,
        "a line of the request head ends in LF without CR",
    )
    REQUEST_AMBIGUOUS = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "desync mitigation rejected the request")
    REQUEST_HEAD_TOO_LARGE = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "the request head exceeds its size limit")
    REQUEST_TARGET_TOO_LONG = (Phase.REQUEST_HEAD, Side.CLIENT, 414, Retry.NEVER, "the request line exceeds its size limit")
    REQUEST_HOST_INVALID = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "the Host header is missing or invalid")
    REQUEST_VERSION_UNSUPPORTED = (Phase.REQUEST_HEAD, Side.CLIENT, 505, Retry.NEVER, "the HTTP version is neither 1.0 nor 1.1")
    REQUEST_METHOD_REFUSED = (Phase.REQUEST_HEAD, Side.CLIENT, 405, Retry.NEVER, "TRACE and CONNECT are not supported")
    REQUEST_EXPECTATION_UNKNOWN = (Phase.REQUEST_HEAD, Side.CLIENT, 417, Retry.NEVER, "the Expect header is not 100-continue")
    REQUEST_TRANSFER_CODING_UNSUPPORTED = (Phase.REQUEST_HEAD, Side.CLIENT, 501, Retry.NEVER, "the transfer coding is not chunked")
    REQUEST_FORWARDED_FOR_TOO_LONG = (Phase.REQUEST_HEAD, Side.CLIENT, 463, Retry.NEVER, "X-Forwarded-For contains more than 30 addresses")
    REQUEST_HEAD_TIMEOUT = (Phase.REQUEST_HEAD, Side.CLIENT, 408, Retry.NEVER, "the request head did not arrive within the idle timeout")
    REQUEST_HEAD_TRUNCATED = (
        Phase.REQUEST_HEAD,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client closed the connection in the middle of a request head",
    )
    REQUEST_BODY_MALFORMED = (
        Phase.REQUEST_BODY,
        Side.CLIENT,
        400,
        Retry.NEVER,
        "the request body is malformed, or does not have its declared length",
    )
    REQUEST_BODY_TIMEOUT = (
        Phase.REQUEST_BODY,
        Side.CLIENT,
        408,
        Retry.NEVER,
        "the client sent nothing of the request body for the idle timeout",
    )
    REQUEST_BODY_TRUNCATED = (
        Phase.REQUEST_BODY,
        Side.CLIENT,
        400,
        Retry.NEVER,
        "the client closed the connection before the end of the request body",
    )
    CLIENT_CLOSED = (Phase.RESPONSE_HEAD, Side.CLIENT, 460, Retry.NEVER, "the client closed the connection before the response")
    CLIENT_CLOSED_IN_RESPONSE = (
        Phase.RESPONSE_BODY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client closed the connection before the end of the response",
    )
    CLIENT_STALLED = (
        Phase.RESPONSE_BODY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client read nothing of the response for the idle timeout",
    )

    PROXY_HEADER_UNEXPECTED = (
        Phase.REQUEST_HEAD,
        Side.CLIENT,
        400,
        Retry.NEVER,
        "the request starts with a PROXY protocol header, which is not trusted here",
    )
    TLS_ON_PLAIN_PORT = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "a TLS handshake was sent to a plain HTTP port")
    REQUEST_BODY_TOO_SLOW = (Phase.REQUEST_BODY, Side.CLIENT, 408, Retry.NEVER, "the client sends the request body below the minimum rate")

    # Caused by the client (docs/alb.md 2.2, 2.8; RFC 9113).
    PROTOCOL_VERSION_MISMATCH = (
        Phase.ROUTE,
        Side.CLIENT,
        464,
        Retry.NEVER,
        "the protocol version of the target group does not accept the request",
    )
    HTTP2_PROTOCOL_ERROR = (Phase.REQUEST_HEAD, Side.CLIENT, None, Retry.NEVER, "the client violated HTTP/2")
    HTTP2_FLOOD = (
        Phase.REQUEST_HEAD,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client exceeded a limit on resets or on frames without use, and its HTTP/2 connection was closed",
    )
    HTTP2_HEADER_TOO_LARGE = (
        Phase.REQUEST_HEAD,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "a compressed header exceeds its size limit, and the HTTP/2 connection was closed",
    )
    HTTP2_TOO_MANY_BYTES_BUFFERED = (
        Phase.RESPONSE_BODY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "too many bytes waited for flow control windows, and the HTTP/2 connection that held most of them was closed",
    )

    # Caused by the load balancer, or decided by it.
    NO_TARGETS = (Phase.ROUTE, Side.LOAD_BALANCER, 503, Retry.NEVER, "the target group has no targets")
    WAITING_LINE_FULL = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "every target has reached its concurrency limit, and the queue is full",
    )
    WAITED_TOO_LONG = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "every target has been at its concurrency limit for the whole waiting timeout",
    )
    NO_ROOM_FOR_TUNNEL = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "every target that could take the upgrade has reached its tunnel limit",
    )
    INTERNAL_ERROR = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "an unexpected error inside the load balancer")
    TRANSFORM_FAILED = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "a transform matched, but its result cannot be sent")
    HOOK_FAILED = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        500,
        Retry.NEVER,
        "a condition, action, algorithm or key function of the program failed",
    )
    HOOK_TIMEOUT = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "an action of the program exceeded the hook timeout")
    REDIRECT_TOO_LONG = (Phase.ROUTE, Side.LOAD_BALANCER, 507, Retry.NEVER, "the Location of the redirect would exceed 8 KiB")
    DEREGISTRATION_DELAY_OVER = (
        Phase.RESPONSE_HEAD,
        Side.LOAD_BALANCER,
        502,
        Retry.NEVER,
        "the target was deregistered and its deregistration delay is over",
    )
    UPGRADE_WHILE_DRAINING = (
        Phase.RESPONSE_HEAD,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "the target was deregistered before it answered the upgrade",
    )
    STOPPED = (Phase.RESPONSE_HEAD, Side.LOAD_BALANCER, None, Retry.NEVER, "the load balancer stopped")
    STOPPED_IN_RESPONSE = (
        Phase.RESPONSE_BODY,
        Side.LOAD_BALANCER,
        None,
        Retry.NEVER,
        "the load balancer stopped in the middle of the response",
    )
    OUT_OF_SOCKETS = (
        Phase.CONNECT,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "no file descriptor or local port is available for a target connection",
    )

    # Caused by the target (docs/alb.md 2.8).
    TARGET_CONNECTION_REFUSED = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the target refused the connection")
    TARGET_UNREACHABLE = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the target cannot be reached")
    TARGET_CONNECT_TIMEOUT = (Phase.CONNECT, Side.TARGET, 504, Retry.ALWAYS, "the target did not accept the connection in time")
    TARGET_TLS_FAILED = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the TLS handshake with the target failed")
    TARGET_TLS_TIMEOUT = (Phase.CONNECT, Side.TARGET, 504, Retry.ALWAYS, "the TLS handshake with the target took too long")
    TARGET_CLOSED = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.IF_IDEMPOTENT, "the target closed the connection without a response")
    TARGET_RESET = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.IF_IDEMPOTENT, "the target reset the connection without a response")
    TARGET_TIMEOUT = (Phase.RESPONSE_HEAD, Side.TARGET, 504, Retry.NEVER, "the target sent no response for the idle timeout")
    RESPONSE_HEAD_TRUNCATED = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.NEVER,
        "the target closed the connection in the middle of a response head",
    )
    RESPONSE_HEAD_TOO_LARGE = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the response head exceeds its size limit")
    RESPONSE_NOT_HTTP = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the target's response does not start like HTTP/1")
    RESPONSE_BARE_LF = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "a line of the response head ends in LF without CR")
    RESPONSE_MALFORMED = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the response head is not valid HTTP/1.1 or HTTP/2")
    RESPONSE_UPGRADE_UNASKED = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.NEVER,
        "the target switched to a protocol that was not requested",
    )
    RESPONSE_UPGRADE_TOO_EARLY = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.NEVER,
        "the target switched protocols before it had the whole body of the request",
    )
    RESPONSE_BODY_MALFORMED = (
        Phase.RESPONSE_BODY,
        Side.TARGET,
        None,
        Retry.NEVER,
        "the response body is malformed, or does not have its declared length",
    )
    RESPONSE_BODY_TRUNCATED = (
        Phase.RESPONSE_BODY,
        Side.TARGET,
        None,
        Retry.NEVER,
        "the target closed the connection in the middle of the response",
    )
    RESPONSE_BODY_TIMEOUT = (
        Phase.RESPONSE_BODY,
        Side.TARGET,
        None,
        Retry.NEVER,
        "the target sent nothing more of the response for the idle timeout",
    )

    # Caused by a target over HTTP/2 (RFC 9113, RFC 8441).
    TARGET_REFUSED_STREAM = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.ALWAYS,
        "the target refused the HTTP/2 stream without processing the request",
    )
    TARGET_RESET_STREAM = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.IF_IDEMPOTENT,
        "the target reset the HTTP/2 stream without a response",
    )
    TARGET_PROTOCOL_ERROR = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.IF_IDEMPOTENT, "the target violated HTTP/2")
    TARGET_WITHOUT_WEBSOCKETS = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.NEVER,
        "the target does not accept WebSockets over HTTP/2 (RFC 8441)",
    )
    RESPONSE_NOT_HTTP2 = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the target does not use HTTP/2, as its group requires")
    RESPONSE_NOT_SWITCHED = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.NEVER,
        "a WebSocket request over HTTP/2 got an ordinary 2xx response, which the client would take for the switch",
    )

    # Tunnels that ended abnormally.
    TUNNEL_IDLE = (Phase.TUNNEL, Side.LOAD_BALANCER, None, Retry.NEVER, "the tunnel carried no byte for the idle timeout")
    TUNNEL_RESET_BY_CLIENT = (Phase.TUNNEL, Side.CLIENT, None, Retry.NEVER, "the client reset the tunnel")
    TUNNEL_RESET_BY_TARGET = (Phase.TUNNEL, Side.TARGET, None, Retry.NEVER, "the target reset the tunnel")
    TUNNEL_CLIENT_DEAD = (Phase.TUNNEL, Side.CLIENT, None, Retry.NEVER, "the client did not answer a ping in time")
    TUNNEL_TARGET_DEAD = (Phase.TUNNEL, Side.TARGET, None, Retry.NEVER, "the target did not answer a ping in time")
    TUNNEL_MESSAGE_OF_CLIENT_TOO_LARGE = (
        Phase.TUNNEL,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "a message from the client exceeds the policy's size limit",
    )
    TUNNEL_MESSAGE_OF_TARGET_TOO_LARGE = (
        Phase.TUNNEL,
        Side.TARGET,
        None,
        Retry.NEVER,
        "a message from the target exceeds the policy's size limit",
    )
    TUNNEL_CLIENT_SENDS_NO_FRAMES = (
        Phase.TUNNEL,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client sent bytes that are not WebSocket frames, and the policy limits the message size",
    )
    TUNNEL_TARGET_SENDS_NO_FRAMES = (
        Phase.TUNNEL,
        Side.TARGET,
        None,
        Retry.NEVER,
        "the target sent bytes that are not WebSocket frames, and the policy limits the message size",
    )
    TUNNEL_NOT_ALLOWED_ANY_MORE = (Phase.TUNNEL, Side.CLIENT, None, Retry.NEVER, "the policy's recheck ended the tunnel")
    TUNNEL_RECHECK_FAILED = (Phase.TUNNEL, Side.LOAD_BALANCER, None, Retry.NEVER, "the policy's recheck raised or took too long")

    def __init__(self, phase: Phase, side: Side, status: int | None, retry: Retry, sentence: str) -> None:
        self.phase = phase
        self.side = side
        self.status = status
        self.retry = retry
        self.sentence = sentence
        self.reason = "".join(word.capitalize() for word in self.name.split("_"))
