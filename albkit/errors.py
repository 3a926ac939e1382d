"""What can go wrong, named once.

Two families. A `ConfigurationError` is raised to the caller who described something impossible. A `Failure` ends one exchange: it
knows on whose side the fault lies, in which phase it showed, what the client is told and whether the request may be tried again, so
that nobody has to guess from an exception's text.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, StrEnum

__all__ = ("ConfigurationError", "Failure", "FailureKind", "Phase", "Retry", "Side", "name_of", "told")


class ConfigurationError(ValueError):
    """A description that cannot work.

    `faults` lists every fault found, each as `path: what is wrong and what would be right`, with the path counted from the object
    that was being built (`rules[2].conditions[0]: ...`). Correct them all, then build again.
    """

    def __init__(self, subject: str, faults: Iterable[str]) -> None:
        self.subject = subject
        self.faults = tuple(faults)
        super().__init__(subject, self.faults)

    def __str__(self) -> str:
        return f"{self.subject}: " + "; ".join(self.faults)


class Side(StrEnum):
    """Who is to blame for a failure."""

    CLIENT = "client"
    LOAD_BALANCER = "load balancer"
    TARGET = "target"


class Phase(StrEnum):
    """How far the exchange had come when it failed."""

    ENTRY = "entry"
    """Before the first request: limits, the PROXY protocol header, the TLS handshake."""
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
    """Nothing of the request was sent."""


class FailureKind(Enum):
    """Every way an exchange can fail: phase, side, status for the client, retry verdict, and a sentence for the log.

    A status of `None` means that nothing can be said to the client any more: its connection is cut. 460 is logged, never sent.
    """

    # Before the first request (docs/alb.md 7.2 for the client certificates).
    PROXY_HEADER_MISSING = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the connection does not begin with a PROXY protocol header")
    PROXY_HEADER_MALFORMED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the PROXY protocol header is not well-formed")
    PROXY_HEADER_UNTRUSTED = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the connection comes from none of the networks whose PROXY protocol headers are believed",
    )
    PROXY_HEADER_TIMEOUT = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the PROXY protocol header did not arrive within the handshake timeout",
    )
    TLS_HANDSHAKE_FAILED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the TLS handshake with the client failed")
    TLS_HANDSHAKE_TIMEOUT = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client did not finish the TLS handshake within its timeout")
    PLAIN_HTTP_ON_TLS_PORT = (Phase.ENTRY, Side.CLIENT, 400, Retry.NEVER, "a plain HTTP request came to a port that speaks HTTPS")
    TOO_MANY_CONNECTIONS = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the listener has as many connections as it may have")
    TOO_MANY_CONNECTIONS_OF_CLIENT = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client has as many connections as it may have")
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
    CLIENT_CERT_UNTRUSTED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "nobody in the trust store vouches for the client's certificate")
    CLIENT_CERT_NOT_YET_VALID = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate is not valid yet")
    CLIENT_CERT_EXPIRED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate has expired")
    CLIENT_CERT_TYPE_UNSUPPORTED = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client's certificate has a key, signature or version that is not taken",
    )
    CLIENT_CERT_INVALID = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate is not well-formed")
    CLIENT_CERT_PURPOSE_INVALID = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate is not for clients")
    CLIENT_CERT_REJECTED = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate was rejected")
    CLIENT_CERT_INCOMPATIBLE = (Phase.ENTRY, Side.CLIENT, None, Retry.NEVER, "the client's certificate does not go with the handshake")
    UNMAPPED_CONNECTION_ERROR = (
        Phase.ENTRY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client has shown no certificate, or one that fails in a way that has no name",
    )

    # The client's fault (docs/alb.md 2.3, 2.4; RFC 9112).
    REQUEST_MALFORMED = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "the request head is not well-formed HTTP/1.1")
    REQUEST_BARE_LF = (
        Phase.REQUEST_HEAD,
        Side.CLIENT,
        400,
        Retry.NEVER,
        "a line of the request head ends in LF alone; HTTP ends lines in CR LF",
    )
    REQUEST_AMBIGUOUS = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "desync mitigation refused the request")
    REQUEST_HEAD_TOO_LARGE = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "the request head exceeds its size limit")
    REQUEST_TARGET_TOO_LONG = (Phase.REQUEST_HEAD, Side.CLIENT, 414, Retry.NEVER, "the request line exceeds its size limit")
    REQUEST_HOST_INVALID = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "the Host is missing or not a host")
    REQUEST_VERSION_UNSUPPORTED = (Phase.REQUEST_HEAD, Side.CLIENT, 505, Retry.NEVER, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    REQUEST_METHOD_REFUSED = (Phase.REQUEST_HEAD, Side.CLIENT, 405, Retry.NEVER, "TRACE and CONNECT are not served")
    REQUEST_EXPECTATION_UNKNOWN = (Phase.REQUEST_HEAD, Side.CLIENT, 417, Retry.NEVER, "only 100-continue can be expected")
    REQUEST_TRANSFER_CODING_UNSUPPORTED = (Phase.REQUEST_HEAD, Side.CLIENT, 501, Retry.NEVER, "only the chunked transfer coding is known")
    REQUEST_FORWARDED_FOR_TOO_LONG = (Phase.REQUEST_HEAD, Side.CLIENT, 463, Retry.NEVER, "X-Forwarded-For names more than 30 addresses")
    REQUEST_HEAD_TIMEOUT = (Phase.REQUEST_HEAD, Side.CLIENT, 408, Retry.NEVER, "the request head did not arrive within the idle timeout")
    REQUEST_HEAD_TRUNCATED = (Phase.REQUEST_HEAD, Side.CLIENT, None, Retry.NEVER, "the client closed in the middle of a request head")
    REQUEST_BODY_MALFORMED = (Phase.REQUEST_BODY, Side.CLIENT, 400, Retry.NEVER, "the chunked request body is malformed")
    REQUEST_BODY_TIMEOUT = (
        Phase.REQUEST_BODY,
        Side.CLIENT,
        408,
        Retry.NEVER,
        "the client sent no more of its body within the idle timeout",
    )
    REQUEST_BODY_TRUNCATED = (Phase.REQUEST_BODY, Side.CLIENT, 400, Retry.NEVER, "the client closed before its whole body was sent")
    CLIENT_CLOSED = (Phase.RESPONSE_HEAD, Side.CLIENT, 460, Retry.NEVER, "the client left before the response")
    CLIENT_CLOSED_IN_RESPONSE = (Phase.RESPONSE_BODY, Side.CLIENT, None, Retry.NEVER, "the client left before the end of the response")
    CLIENT_STALLED = (
        Phase.RESPONSE_BODY,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client took no more of the response within the idle timeout",
    )

    PROXY_HEADER_UNEXPECTED = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "a PROXY protocol header came where none is believed")
    TLS_ON_PLAIN_PORT = (Phase.REQUEST_HEAD, Side.CLIENT, 400, Retry.NEVER, "a TLS handshake came to a port that speaks plain HTTP")
    REQUEST_BODY_TOO_SLOW = (Phase.REQUEST_BODY, Side.CLIENT, 408, Retry.NEVER, "the client sends its body more slowly than it may")

    # Our own.
    NO_TARGETS = (Phase.ROUTE, Side.LOAD_BALANCER, 503, Retry.NEVER, "the target group has no targets")
    WAITING_LINE_FULL = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "every target has as many requests as it takes, and as many as may wait for one already do",
    )
    WAITED_TOO_LONG = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "every target has had as many requests as it takes for as long as a request waits",
    )
    NO_ROOM_FOR_TUNNEL = (
        Phase.ROUTE,
        Side.LOAD_BALANCER,
        503,
        Retry.NEVER,
        "no target that may take the upgrade has room for one more tunnel",
    )
    INTERNAL_ERROR = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "an unexpected error inside the load balancer")
    TRANSFORM_FAILED = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "a transform matched and gave nothing that can be sent")
    HOOK_FAILED = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "a condition, action, algorithm or key of the program's own failed")
    HOOK_TIMEOUT = (Phase.ROUTE, Side.LOAD_BALANCER, 500, Retry.NEVER, "an action of the program's own took too long")
    REDIRECT_TOO_LONG = (Phase.ROUTE, Side.LOAD_BALANCER, 507, Retry.NEVER, "the Location of a redirect would exceed 8 KiB")
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
    STOPPED_IN_RESPONSE = (Phase.RESPONSE_BODY, Side.LOAD_BALANCER, None, Retry.NEVER, "the load balancer stopped in mid-response")
    OUT_OF_SOCKETS = (Phase.CONNECT, Side.LOAD_BALANCER, 503, Retry.NEVER, "no file descriptor or port is left for a target connection")

    # The target's fault (docs/alb.md 2.8).
    TARGET_CONNECTION_REFUSED = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the target refused the connection")
    TARGET_UNREACHABLE = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the target cannot be reached")
    TARGET_CONNECT_TIMEOUT = (Phase.CONNECT, Side.TARGET, 504, Retry.ALWAYS, "the target did not accept the connection in time")
    TARGET_TLS_FAILED = (Phase.CONNECT, Side.TARGET, 502, Retry.ALWAYS, "the TLS handshake with the target failed")
    TARGET_TLS_TIMEOUT = (Phase.CONNECT, Side.TARGET, 504, Retry.ALWAYS, "the TLS handshake with the target took too long")
    TARGET_CLOSED = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.IF_IDEMPOTENT, "the target closed the connection without an answer")
    TARGET_RESET = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.IF_IDEMPOTENT, "the target reset the connection without an answer")
    TARGET_TIMEOUT = (Phase.RESPONSE_HEAD, Side.TARGET, 504, Retry.NEVER, "the target was silent for the idle timeout")
    RESPONSE_HEAD_TRUNCATED = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the target closed in the middle of a response head")
    RESPONSE_HEAD_TOO_LARGE = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the response head exceeds its size limit")
    RESPONSE_NOT_HTTP = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "what the target sends does not begin as HTTP/1 does")
    RESPONSE_BARE_LF = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "a line of the response head ends in LF without CR")
    RESPONSE_MALFORMED = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the response head is not well-formed HTTP/1.1")
    RESPONSE_UPGRADE_UNASKED = (Phase.RESPONSE_HEAD, Side.TARGET, 502, Retry.NEVER, "the target switched to a protocol nobody asked for")
    RESPONSE_UPGRADE_TOO_EARLY = (
        Phase.RESPONSE_HEAD,
        Side.TARGET,
        502,
        Retry.NEVER,
        "the target switched protocols before it had the whole body of the request",
    )
    RESPONSE_BODY_MALFORMED = (Phase.RESPONSE_BODY, Side.TARGET, None, Retry.NEVER, "the chunked response body is malformed")
    RESPONSE_BODY_TRUNCATED = (Phase.RESPONSE_BODY, Side.TARGET, None, Retry.NEVER, "the target closed in the middle of its response")
    RESPONSE_BODY_TIMEOUT = (Phase.RESPONSE_BODY, Side.TARGET, None, Retry.NEVER, "the target fell silent in the middle of its response")

    # Ends of tunnels that were not in good order.
    TUNNEL_IDLE = (Phase.TUNNEL, Side.LOAD_BALANCER, None, Retry.NEVER, "no byte went through the tunnel for the idle timeout")
    TUNNEL_RESET_BY_CLIENT = (Phase.TUNNEL, Side.CLIENT, None, Retry.NEVER, "the client reset the tunnel")
    TUNNEL_RESET_BY_TARGET = (Phase.TUNNEL, Side.TARGET, None, Retry.NEVER, "the target reset the tunnel")
    TUNNEL_CLIENT_DEAD = (Phase.TUNNEL, Side.CLIENT, None, Retry.NEVER, "the client did not answer a ping in time")
    TUNNEL_TARGET_DEAD = (Phase.TUNNEL, Side.TARGET, None, Retry.NEVER, "the target did not answer a ping in time")
    TUNNEL_MESSAGE_OF_CLIENT_TOO_LARGE = (
        Phase.TUNNEL,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "a message of the client's is larger than the policy allows",
    )
    TUNNEL_MESSAGE_OF_TARGET_TOO_LARGE = (
        Phase.TUNNEL,
        Side.TARGET,
        None,
        Retry.NEVER,
        "a message of the target's is larger than the policy allows",
    )
    TUNNEL_CLIENT_SENDS_NO_FRAMES = (
        Phase.TUNNEL,
        Side.CLIENT,
        None,
        Retry.NEVER,
        "the client's bytes are no WebSocket frames, and the policy limits the size of messages",
    )
    TUNNEL_TARGET_SENDS_NO_FRAMES = (
        Phase.TUNNEL,
        Side.TARGET,
        None,
        Retry.NEVER,
        "the target's bytes are no WebSocket frames, and the policy limits the size of messages",
    )
    TUNNEL_NOT_ALLOWED_ANY_MORE = (Phase.TUNNEL, Side.CLIENT, None, Retry.NEVER, "the policy's recheck refused the tunnel")
    TUNNEL_RECHECK_FAILED = (Phase.TUNNEL, Side.LOAD_BALANCER, None, Retry.NEVER, "the policy's recheck raised or took too long")

    def __init__(self, phase: Phase, side: Side, status: int | None, retry: Retry, sentence: str) -> None:
        self.phase = phase
        self.side = side
        self.status = status
        self.retry = retry
        self.sentence = sentence
        self.reason = "".join(word.capitalize() for word in self.name.split("_"))


class Failure(Exception):
    """One exchange failed. `kind` says all that code may decide on; `detail` is for the reader of the log only."""

    def __init__(self, kind: FailureKind, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.is_stale = False
        """Whether it met a connection that had been idle, and may have ended long before: it tells little of the target."""

    def __str__(self) -> str:
        return f"{self.kind.reason}: {self.kind.sentence}" + (f" ({self.detail})" if self.detail else "")


_LONGEST_TOLD = 500
"""Characters of what an object says of itself."""


def told(thing: object) -> str:
    """What an object of the program's own says of itself, for the log. One that cannot say it costs its words, and nothing else."""
    try:
        text = repr(thing)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a __repr__ of the program's own may raise anything
        text = object.__repr__(thing)
    return str.__getitem__(text, slice(_LONGEST_TOLD))


def name_of(thing: object) -> str:
    """The name of a callable of the program's own, for the log, or what it says of itself."""
    try:
        name = getattr(thing, "__qualname__", None)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - as above
        name = None
    return name if type(name) is str else told(thing)
