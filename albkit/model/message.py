"""What is known of a request and of a response once their heads are read. Made per message: plain slotted classes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from albkit.model.listener_settings import ListenerSettings
    from albkit.model.tls import TlsSession


__all__ = ("ClientAddress", "RequestHead", "ResponseHead", "Told")


class Told(Protocol):
    """What a trusted proxy in front says of the client of a request."""

    host: bytes
    port: int
    protocol: str


class ClientAddress:
    """Whom a client connection comes from, and how."""

    __slots__ = ("host", "local", "port", "tls", "told")

    def __init__(
        self,
        host: str,
        port: int,
        *,
        local: tuple[str, int] | None = None,
        tls: TlsSession | None = None,
        told: tuple[str, int] | None = None,
    ) -> None:
        self.host = host
        """An IP address without a port; IPv4 also where the socket is IPv6. Empty for a unix socket."""
        self.port = port
        """0 where nobody has told it."""
        self.local = local
        """The address and port that it connected to, where they are known."""
        self.tls = tls
        """What it has agreed on with the load balancer, or with a proxy before that; `None` where it came without TLS, or nothing but
        that is known of its TLS."""
        self.told = told
        """Protocol (`http` or `https`) and port that it came by, where a trusted proxy in front has told them; `None` elsewhere."""

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS, be it to the load balancer or to a trusted proxy in front."""
        return self.tls is not None if self.told is None else self.told[0] == "https"

    def __str__(self) -> str:
        if not self.host:
            return "unix:"
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RequestHead:
    """A judged request head, ready to be routed and sent on; what conditions and actions of a program's own are given."""

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
        "host",
        "http_1_0",
        "irregular_names",
        "keep_alive",
        "lines",
        "listener",
        "method",
        "path",
        "path_to_match",
        "query_string",
        "told",
        "trace_id",
        "unseen",
        "upgrade",
    )

    _headers: CIMultiDictProxy[str]
    method: str
    path: str
    """As it came, nothing decoded; `*` for the whole server."""
    query_string: str
    """After the first `?`, as it came; empty when there is none."""
    path_to_match: str
    """With its dot segments resolved; set by the rule table."""
    client: ClientAddress
    """Whom the connection comes from."""
    listener: ListenerSettings
    """Where it came in."""
    body: Callable[[int], Awaitable[bytes]]
    """`await request.body(limit)`: the whole body, which is forwarded all the same; `BodyTooLarge` above `limit` bytes."""
    host: str
    """For routing: lower case, without a port."""
    lines: list[bytes]
    """The request line and the field lines to send on, without line ends. An item that the load balancer adds may hold several fields,
    joined by CR LF."""
    head: bytes
    """The raw head that all of this was read from, from the request line to the empty line."""
    unseen: frozenset[bytes]
    """Names of fields, as they are spelled, that decide nothing because they go nowhere: `headers` has none of them."""
    told: Told
    """What a trusted proxy in front says of the client; not there for all others."""
    cookie: bytes
    """All Cookie fields, joined; empty when there is none."""
    forwarded_for: bytes
    """What the client's X-Forwarded-For fields said, joined; empty when there is none."""
    trace_id: bytes
    """What the client's X-Amzn-Trace-Id field said, empty if there is none. Once the request is forwarded, what the target is sent."""
    irregular_names: bool
    """Whether a field name held anything but letters, digits and hyphens."""
    dropped_names: bool
    """Whether such fields were left out."""
    content_length: int
    """-1 when the body is chunked; 0 when there is none."""
    chunked: bool
    http_1_0: bool
    keep_alive: bool
    """Whether the client keeps its connection after this exchange."""
    close_after: bool
    """Desync mitigation: both connections end after this exchange."""
    expects_continue: bool
    upgrade: bytes
    """The protocols that the client asks to switch to; empty when it asks for none."""
    classification: tuple[str, str] | None
    """Class and reason of desync mitigation, `None` for a compliant request."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The fields as the client sent them, by name without regard to case. Made when they are first asked for.

        Bytes that are no UTF-8 are lone surrogates. Two kinds of fields are left out: those that `drop_invalid_header_fields` drops, and
        those by which the load balancer tells who the client is (`X-Amzn-Mtls-*` and the like), which a client can only forge.
        """
        try:
            return self._headers
        except AttributeError:
            self._headers = headers = CIMultiDictProxy(CIMultiDict(self._pairs()))
            return headers

    @headers.setter
    def headers(self, headers: CIMultiDictProxy[str]) -> None:
        self._headers = headers

    def _pairs(self) -> list[tuple[str, str]]:
        pairs = (line.partition(b":") for line in self.head.split(b"\r\n")[1:-2])
        unseen = self.unseen
        return [
            (name.decode("ascii"), value.strip(b" \t").decode("utf-8", "surrogateescape")) for name, _, value in pairs if name not in unseen
        ]

    @property
    def has_body(self) -> bool:
        """Whether a body follows the head, be it of a known length or chunked."""
        return self.content_length != 0


class ResponseHead:
    """A judged response head, ready to be passed on."""

    __slots__ = ("bodiless", "chunked", "content_length", "has_date", "keep_alive", "keep_alive_timeout", "lines", "status", "upgrade")

    status: int
    lines: list[bytes]
    """The status line and the field lines to pass on, as in a `RequestHead`."""
    content_length: int
    """-1 when the head does not tell (chunked, or until the target closes)."""
    chunked: bool
    bodiless: bool
    """No body follows, whatever the fields say: HEAD, 1xx, 204, 304."""
    has_date: bool
    keep_alive: bool
    """Whether the target keeps its connection."""
    keep_alive_timeout: float | None
    """Seconds that the target says it keeps an idle connection."""
    upgrade: bytes
    """The protocol that the target switched to, with a 101."""
