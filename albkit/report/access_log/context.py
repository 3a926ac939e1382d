"""What the formats of the access log have in common: times, addresses, and the parts of a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from albkit.clock import Clock
from albkit.model.listener_settings import ListenerSettings
from albkit.model.message import ClientAddress, RequestHead
from albkit.report.escape import escaped
from albkit.state.record import ExchangeRecord
from albkit.state.target import TargetState

__all__ = (
    "SAFE",
    "Connection",
    "Format",
    "LogContext",
    "Timestamps",
    "field_value",
    "fixed",
    "is_logged",
    "milliseconds",
    "path_and_query",
    "processing_times",
    "request_type",
    "rule_priority",
)

_DIGITS: Final = [f"{number:03d}" for number in range(1000)]
_SHORT: Final = [f"0.{number:03d}" for number in range(1000)]
SAFE: Final = bytes(code for code in range(0x20, 0x7F) if code not in b'"\\')
"""The bytes that are not escaped: `text.translate(None, SAFE)` is empty if nothing in it is."""
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

    __slots__ = ("_texts", "clock", "listener", "load_balancer", "now", "port")

    def __init__(self, load_balancer: str, listener: ListenerSettings, port: int, clock: Clock) -> None:
        self.load_balancer = load_balancer
        self.listener = listener
        self.port = port
        self.clock = clock
        self.now: Callable[[], float] = clock.time
        """The time in seconds since 1970. A record is formatted when it has ended, so this is the time of its end."""
        self._texts: dict[str, str] = {}

    def target(self, target: TargetState | None) -> str:
        """A target as `host:port`; `-` if there is none. The port of a unix socket is 0."""
        if target is None:
            return "-"
        address = target.address
        text = self._texts.get(address)
        if text is None:
            if len(self._texts) >= _MOST_TARGETS:
                self._texts.clear()
            shown = address if target.target.port else f"{address}:0"
            text = self._texts[address] = escaped(shown).replace(" ", "\\x20")
        return text


class Connection:
    """The parts of a line that are the same for all requests of a client connection, escaped.

    Args:
        context: The listener.
        client: The client.
    """

    __slots__ = ("address", "block", "context", "is_secure", "local", "origin", "port_part", "trace_id", "user_agent")

    def __init__(self, context: LogContext, client: ClientAddress) -> None:
        self.context = context
        listener = context.listener
        secure = client.is_secure if client.told is not None or client.tls is not None else listener.is_secure
        told_by_header = client.local if listener.proxy_protocol is not None else None
        port = client.told[1] if client.told is not None else (told_by_header[1] if told_by_header is not None else 0) or context.port
        self.is_secure = secure
        """Whether the client uses TLS."""
        self.origin = "https://" if secure else "http://"
        self.port_part = f":{port}"
        host = client.host.replace("%", "\\x25")  # The zone of a link-local address.
        self.address = (f"[{host}]:{client.port}" if ":" in host else f"{host}:{client.port}") if host else "-"
        """`host:port`; port 0 if it is not known, `-` for a unix socket."""
        self.local = client.local[0] if client.local is not None else "-"
        self.trace_id = client.conn_trace_id or "-"
        self.block: bytes | None = None
        """The header fields of the last request, as the client sent them."""
        self.user_agent = "-"
        """The user agent in `block`."""

    def user_agent_of(self, head: bytes, end: int) -> str:
        """The User-Agent in a request head, escaped; `-` if there is none. The requests of a connection mostly have the same fields.

        Args:
            head: The head.
            end: Where its first line ends.
        """
        block = head[end:]
        if block != self.block:
            self.block = block
            self.user_agent = escaped(field_value(block, b"user-agent")[:_LONGEST_USER_AGENT]) or "-"
        return self.user_agent


class Timestamps:
    """Formats moments in the form of ISO 8601, with microseconds. Most moments are in the same second as the one before."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, moment: float) -> str:
        """Format a moment in seconds since 1970."""
        second = int(moment)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        micro = int((moment - second) * 1_000_000)
        return f"{self._text}{_DIGITS[micro // 1000]}{_DIGITS[micro % 1000]}Z"


Format = Callable[[LogContext], Callable[[ExchangeRecord], "str | None"]]
"""Returns the function that makes the line of a record. `None` if the record has no line in an access log."""


def milliseconds(seconds: float) -> str:
    """Format a duration in seconds with three decimals."""
    rounded = int(seconds * 1000 + 0.5)
    return _SHORT[rounded] if 0 <= rounded < 1000 else f"{max(seconds, 0.0):.3f}"


def fixed(value: str) -> str:
    """Make a value safe that the format does not quote."""
    return escaped(value).replace(" ", "\\x20") or "-"


def is_logged(record: ExchangeRecord) -> bool:
    """Whether a record of an HTTP listener has a line: it had a request, or the client received a status.

    All others are connections that failed before a request, which are the matter of the connection log.
    """
    return record.received_at != 0 or record.elb_status_code != 0


def request_type(record: ExchangeRecord, is_secure: bool) -> str:
    """The type of a request, in ALB's words."""
    if record.target_status_code == 101 and record.responded_at:
        return "wss" if is_secure else "ws"
    if record.protocol == "HTTP/2":
        request = record.request
        if request is not None and request.method == "POST" and _GRPC in request.head:
            return "grpcs" if is_secure else "grpc"
        return "h2"
    return "https" if is_secure else "http"


def rule_priority(record: ExchangeRecord) -> int | None:
    """The priority of the rule; 0 for the default rule, -1 if a condition failed, `None` if no rule was evaluated."""
    if record.matched_rule_priority >= 0:
        return record.matched_rule_priority
    return -1 if record.request is not None and record.failure is not None and record.elb_status_code == 500 else None


def processing_times(record: ExchangeRecord) -> tuple[float, float, float] | None:
    """The seconds until the request was sent, until the head of the response came, and until the load balancer began to send it; `None`
    if no target has answered."""
    sent, answered = record.sent_at, record.answered_at
    # A later attempt that was not answered has overwritten the time of the first one.
    if not sent or answered < sent:
        return None
    return sent - record.received_at, answered - sent, (record.responded_at or record.ended_at) - answered


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
