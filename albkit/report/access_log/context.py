"""What the formats of the access log have in common: times, addresses, and the parts of a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from albkit.clock import Clock
from albkit.errors import Phase
from albkit.model.desync import CLASSES
from albkit.model.listener_settings import ListenerSettings
from albkit.model.message import ClientAddress, RequestHead
from albkit.report.escape import escaped
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState

__all__ = (
    "NUMBERS",
    "STATUSES",
    "Connection",
    "Format",
    "LogContext",
    "Moments",
    "classification",
    "field_value",
    "fixed",
    "has_answer",
    "http_version",
    "is_logged",
    "keep",
    "path_and_query",
    "processing_times",
    "request_type",
    "rule_priority",
    "seconds",
)

_DIGITS: Final = [f"{number:03d}" for number in range(1000)]
_SHORT: Final = [f"0.{number:03d}" for number in range(1000)]
NUMBERS: Final = [str(number) for number in range(1000)]
"""The texts of small numbers: a look-up is several times faster than a conversion."""
STATUSES: Final = ["-"] * 100 + NUMBERS[100:]
"""The texts of statuses; `-` for 0."""
_LONGEST_LINE: Final = 512
_MOST_LINES: Final = 512
_MOST_TARGETS: Final = 4096
_LONGEST_USER_AGENT: Final = 8 * 1024
"""Bytes; ALB cuts longer ones."""
_GRPC: Final = b"\r\ncontent-type: application/grpc"


class LogContext:
    """What the formats know of the listener, which is the same in all of its lines.

    Args:
        load_balancer: The name of the load balancer.
        listener: The listener.
        port: Its open port.
        clock: The source of time.
    """

    __slots__ = ("clock", "destinations", "listener", "load_balancer", "moments", "now", "port")

    def __init__(self, load_balancer: str, listener: ListenerSettings, port: int, clock: Clock) -> None:
        self.load_balancer = load_balancer
        self.listener = listener
        self.port = port
        self.clock = clock
        self.now: Callable[[], float] = clock.time
        """The time in seconds since 1970. A record is formatted when it has ended, so this is the time of its end."""
        self.moments = Moments().texts
        """Formats the times of the end and of the beginning."""
        self.destinations: dict[str, str] = {}
        """Texts that `target` has made, by address."""

    def target(self, target: TargetState | None) -> str:
        """A target as `host:port`; `-` if there is none. The port of a unix socket is 0."""
        if target is None:
            return "-"
        address = target.address
        text = self.destinations.get(address)
        if text is None:
            if len(self.destinations) >= _MOST_TARGETS:
                self.destinations.clear()
            text = self.destinations[address] = fixed(address if target.target.port else f"{address}:0")
        return text


def keep(cache: dict[bytes, str], line: bytes, text: str) -> None:
    """Keep the text for a request line, if the cache is to stay small: clients choose the lines."""
    if len(line) <= _LONGEST_LINE:
        if len(cache) >= _MOST_LINES:
            cache.clear()
        cache[line] = text


class Connection:
    """The parts of a line that are the same for all requests of a client connection, escaped.

    Args:
        context: The listener.
        client: The client.
    """

    __slots__ = (
        "address",
        "base",
        "block",
        "context",
        "host",
        "is_secure",
        "kind",
        "local",
        "origin",
        "port_part",
        "trace_id",
        "user_agent",
    )

    def __init__(self, context: LogContext, client: ClientAddress) -> None:
        self.context = context
        listener = context.listener
        secure = client.is_secure if client.told is not None or client.tls is not None else listener.is_secure
        port = client.told[1] if client.told is not None else client.public_port or context.port
        self.is_secure = secure
        """Whether the client uses TLS."""
        self.kind = "https" if secure else "http"
        self.origin = f"{self.kind}://"
        self.port_part = f":{port}"
        host = client.host.replace("%", "\\x25")  # The zone of a link-local address.
        self.address = (f"[{host}]:{client.port}" if ":" in host else f"{host}:{client.port}") if host else "-"
        """`host:port`; port 0 if it is not known, `-` for a unix socket."""
        self.local = client.local[0] if client.local is not None else "-"
        self.trace_id = client.conn_trace_id or "-"
        self.host: str | None = None
        """The host of the last request."""
        self.base = ""
        """The URL of the last request, up to its path."""
        self.block: bytes | None = None
        """The header fields of the last request, as the client sent them."""
        self.user_agent = "-"
        """The user agent in `block`."""

    def base_of(self, host: str) -> str:
        """The URL of a request for a host, up to its path, escaped. The caller compares the host with `host` first."""
        self.host = host
        self.base = f"{self.origin}{escaped(host)}{self.port_part}"
        return self.base

    def user_agent_of(self, block: bytes) -> str:
        """The User-Agent in the fields of a request, escaped; `-` if there is none.

        The requests of a connection mostly have the same fields. So the caller compares them with `block` first.
        """
        self.block = block
        self.user_agent = escaped(field_value(block, b"user-agent")[:_LONGEST_USER_AGENT]) or "-"
        return self.user_agent


class Moments:
    """Formats moments in the form of ISO 8601. Under load, most are in the same second, or millisecond, as the one before."""

    __slots__ = ("_earlier", "_earlier_millisecond", "_second", "_text")

    def __init__(self) -> None:
        self._second = self._earlier_millisecond = 0.0
        self._text = self._earlier = ""

    def texts(self, moment: float, earlier: float) -> tuple[str, str]:
        """Format two moments in seconds since 1970: the end of an exchange, and its beginning, which ALB gives in milliseconds."""
        since = moment - self._second
        if not 0 <= since < 1:
            self._second = float(int(moment))
            self._text = _date(moment)
            since = moment - self._second
        micro = int(since * 1_000_000)
        if not 0 <= earlier - self._earlier_millisecond < 0.001:
            self._set_earlier(earlier)
        return f"{self._text}{_DIGITS[micro // 1000]}{_DIGITS[micro % 1000]}Z", self._earlier

    def _set_earlier(self, moment: float) -> None:
        millisecond = int(moment * 1000)
        self._earlier_millisecond = millisecond / 1000
        text = self._text if 0 <= moment - self._second < 1 else _date(moment)
        self._earlier = f"{text}{_DIGITS[millisecond % 1000]}000Z"


def _date(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(moment))


Format = Callable[[LogContext], Callable[[ExchangeRecord], "str | None"]]
"""Returns the function that makes the line of a record. `None` if the record has no line in an access log."""


def fixed(value: str) -> str:
    """Make a value safe that the format does not quote."""
    return escaped(value).replace(" ", "\\x20") or "-"


def is_logged(record: ExchangeRecord) -> bool:
    """Whether a record of an HTTP listener has a line: it had a request, or the client received a status.

    All others are connections that failed before a request, which are the matter of the connection log.
    """
    return record.received_at != 0 or record.elb_status_code != 0


def request_type(record: ExchangeRecord, connection: Connection) -> str:
    """The type of a request, in ALB's words."""
    if record.target_status_code == 101 and record.responded_at:
        return "wss" if connection.is_secure else "ws"
    if record.protocol == "HTTP/2":
        request = record.request
        if request is not None and request.method == "POST" and _GRPC in request.head:
            return "grpcs" if connection.is_secure else "grpc"
        return "h2"
    return connection.kind


def classification(record: ExchangeRecord) -> tuple[str, str]:
    """Class and reason of desync mitigation; two empty texts for a compliant request."""
    request, failure = record.request, record.failure
    if request is not None:
        return request.classification or ("", "")
    if failure is None or failure.kind.phase is not Phase.REQUEST_HEAD:
        return "", ""
    # The detail of a rejected head begins with the reason, or with the class and the reason.
    for word in failure.detail.split(": ")[:2]:
        if word in CLASSES:
            return CLASSES[word], word
    return "", ""


def rule_priority(record: ExchangeRecord) -> int | None:
    """The priority of the rule; 0 for the default rule, -1 if a condition failed, `None` if no rule was evaluated."""
    if record.matched_rule_priority >= 0:
        return record.matched_rule_priority
    return -1 if record.request is not None and record.failure is not None and record.elb_status_code == 500 else None


def has_answer(record: ExchangeRecord) -> bool:
    """Whether the target of the last attempt has answered."""
    # A later attempt that was not answered has overwritten the time of the first one.
    return record.sent_at != 0 and record.answered_at >= record.sent_at


def seconds(duration: float) -> str:
    """Format a duration in seconds with six decimals."""
    micro = int(duration * 1_000_000 + 0.5)
    return f"{_SHORT[micro // 1000]}{_DIGITS[micro % 1000]}" if 0 <= micro < 1_000_000 else f"{max(duration, 0.0):.6f}"


def http_version(record: ExchangeRecord, request: RequestHead) -> str:
    """The version in the request line."""
    return "HTTP/2.0" if record.protocol == "HTTP/2" else "HTTP/1.0" if request.http_1_0 else "HTTP/1.1"


def processing_times(record: ExchangeRecord) -> str:
    """The seconds until the request was sent, until the head of the response came, and until the load balancer began to send it, each with
    three decimals; -1 for each if no target has answered."""
    sent, answered = record.sent_at, record.answered_at
    if not sent or answered < sent:
        return "-1 -1 -1"
    waited, took = sent - record.received_at, answered - sent
    passed = (record.responded_at or record.ended_at) - answered
    if waited < 0.0005 and passed < 0.0005 and took < 0.9:
        # An ordinary request.
        return f"0.000 {_SHORT[int(took * 1000 + 0.5)]} 0.000"
    return f"{waited:.3f} {took:.3f} {passed:.3f}"


def field_value(block: bytes, name: bytes) -> str:
    """The first header field of a name, decoded as latin-1; empty if there is none.

    Args:
        block: The fields, each after CR LF.
        name: In lower case.
    """
    place = block.find(b"\r\n" + name + b":")
    if place < 0:
        # The usual spelling of HTTP/1.1, then any other.
        place = block.find(b"\r\n" + name.title() + b":")
        if place < 0:
            place = block.lower().find(b"\r\n" + name + b":")
            if place < 0:
                return ""
    start = place + 3 + len(name)
    return block[start : block.find(b"\r\n", start)].strip(b" \t").decode("latin-1")


def path_and_query(request: RequestHead, first_line: str) -> str:
    """Path and query as the client sent them, decoded as latin-1.

    Args:
        request: The request.
        first_line: The first line of its head, decoded as latin-1.
    """
    method, _, rest = first_line.partition(" ")
    target = rest.rpartition(" ")[0]
    if target.startswith("/") and method == request.method:
        return target
    # An absolute-form target, or one that was normalized.
    query = f"?{request.query_string}" if request.query_string else ""
    return f"{request.path}{query}".encode("utf-8", "surrogateescape").decode("latin-1")
