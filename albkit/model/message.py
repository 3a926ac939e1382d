"""The heads of requests and responses. One object per message, so these are plain classes with slots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from albkit.model.listener_settings import ListenerSettings
    from albkit.model.tls import TlsSession


__all__ = ("ClientAddress", "ProxyReport", "RequestHead", "ResponseHead")


class ProxyReport(Protocol):
    """What a trusted proxy in front of the load balancer reports about the client of a request."""

    host: bytes
    port: int
    protocol: str


class ClientAddress:
    """The address of a client connection, and its TLS."""

    __slots__ = ("conn_trace_id", "host", "local", "logged", "port", "public_port", "tls", "told")

    def __init__(
        self,
        host: str,
        port: int,
        *,
        local: tuple[str, int] | None = None,
        tls: TlsSession | None = None,
        told: tuple[str, int] | None = None,
        conn_trace_id: str = "",
        public_port: int = 0,
    ) -> None:
        self.host = host
        """An IP address without a port, in IPv4 form even if the socket is IPv6. Empty for a unix socket."""
        self.port = port
        """0 if it is not known."""
        self.local = local
        """The address and port that the client connected to, if they are known."""
        self.tls = tls
        """The TLS session with the load balancer, or with a proxy in front of it; `None` if the client came without TLS, or if a proxy
        reported nothing about its TLS session."""
        self.told = told
        """The client's protocol (`http` or `https`) and port as reported by a trusted proxy; `None` if there is none."""
        self.public_port = public_port
        """The port that the client connected to, if a PROXY protocol header names it; else 0."""
        self.conn_trace_id = conn_trace_id
        """The id of the connection in the access log and in the connection log: `TID_` and 32 hexadecimal digits. Empty if its listener had
        neither of them when the client connected."""
        self.logged: Any = None
        """What the access log keeps of the connection, so that it need not format the same text for each request."""

    @property
    def is_secure(self) -> bool:
        """Whether the client uses TLS, either with the load balancer or with a trusted proxy in front of it."""
        # The proxy's report takes precedence: the connection from the proxy may be plain although the client uses TLS, or the other way
        # round.
        return self.tls is not None if self.told is None else self.told[0] == "https"

    def __str__(self) -> str:
        if not self.host:
            return "unix:"
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RequestHead:
    """A parsed and checked request head, ready to be routed and forwarded; conditions and actions of your own receive it."""

    __slots__ = (
        "_headers",
        "body",
        "chunked",
        "classification",
        "client",
        "close_after",
        "content_length",
        "cookie",
        "dropped_names",
        "expects_continue",
        "forwarded_for",
        "head",
        "hidden_names",
        "host",
        "http_1_0",
        "irregular_names",
        "keep_alive",
        "lines",
        "listener",
        "method",
        "path",
        "path_to_match",
        "proxy_report",
        "query_string",
        "trace_id",
        "upgrade",
    )

    _headers: CIMultiDictProxy[str]
    method: str
    path: str
    """As the client sent it, without any decoding; `*` for the whole server."""
    query_string: str
    """Everything after the first `?`, as the client sent it; empty if there is none."""
    path_to_match: str
    """The path with its dot segments resolved; the rule table sets it."""
    client: ClientAddress
    """The address of the client."""
    listener: ListenerSettings
    """The listener that received the request."""
    body: Callable[[int], Awaitable[bytes]]
    """`await request.body(limit)` returns the whole body, which is also forwarded; it raises `BodyTooLarge` above `limit` bytes."""
    host: str
    """For routing: in lower case, without a port."""
    lines: list[bytes]
    """The request line and the headers to forward, without line ends. An item that the load balancer adds may hold several headers, joined
    by CR LF."""
    head: bytes
    """The raw head that all of this was parsed from, from the request line to the empty line."""
    hidden_names: frozenset[bytes]
    """Header names, in their original spelling, that are not forwarded and must not decide anything; `headers` contains none of them."""
    proxy_report: ProxyReport
    """What a trusted proxy in front of the load balancer reports about the client; not set for any other client."""
    cookie: bytes
    """All Cookie headers, joined; empty if there is none."""
    forwarded_for: bytes
    """The client's X-Forwarded-For headers, joined; empty if there is none."""
    trace_id: bytes
    """The client's X-Amzn-Trace-Id header, empty if there is none. Once the request is forwarded, the one that the target gets."""
    irregular_names: bool
    """Whether a header name contained anything but letters, digits and hyphens."""
    dropped_names: bool
    """Whether such headers were removed."""
    content_length: int
    """-1 if the body is chunked; 0 if there is none."""
    chunked: bool
    http_1_0: bool
    keep_alive: bool
    """Whether the client keeps its connection open after this exchange."""
    close_after: bool
    """Desync mitigation closes both connections after this exchange."""
    expects_continue: bool
    upgrade: bytes
    """The protocols that the client wants to switch to; empty if there is none."""
    classification: tuple[str, str] | None
    """Class and reason of desync mitigation; `None` for a compliant request."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers as the client sent them, by case-insensitive name. The mapping is built on first access.

        Bytes that are not UTF-8 become lone surrogates. Two kinds of headers are missing: those that `drop_invalid_header_fields` removes,
        and those in which the load balancer reports the client to targets (`X-Amzn-Mtls-*` and the like), which a client could only forge.
        """
        try:
            return self._headers
        # A slot that was never set raises AttributeError: most requests are routed without anybody looking at `headers`.
        except AttributeError:
            self._headers = headers = CIMultiDictProxy(CIMultiDict(self._pairs()))
            return headers

    @headers.setter
    def headers(self, headers: CIMultiDictProxy[str]) -> None:
        self._headers = headers

    def _pairs(self) -> list[tuple[str, str]]:
        # The first line is the request line; the head ends with an empty line, which splits into two empty items.
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:-2])
        hidden = self.hidden_names
        return [
            (name.decode("ascii"), value.strip(b" \t").decode("utf-8", "surrogateescape")) for name, _, value in pairs if name not in hidden
        ]

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head, with a known length or chunked."""
        return self.content_length != 0


class ResponseHead:
    """A parsed and checked response head, ready to be sent to the client."""

    __slots__ = ("bodiless", "chunked", "content_length", "has_date", "keep_alive", "keep_alive_timeout", "lines", "status", "upgrade")

    status: int
    lines: list[bytes]
    """The status line and the headers to forward, as in a `RequestHead`."""
    content_length: int
    """-1 if the head does not say (chunked, or until the target closes the connection)."""
    chunked: bool
    bodiless: bool
    """No body follows, whatever the headers say: HEAD, 1xx, 204, 304 (RFC 9112 section 6.3)."""
    has_date: bool
    keep_alive: bool
    """Whether the target keeps its connection open."""
    keep_alive_timeout: float | None
    """Seconds for which the target says it keeps an idle connection open."""
    upgrade: bytes
    """The protocol that the target switched to, in a 101."""
