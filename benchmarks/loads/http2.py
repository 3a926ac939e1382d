"""A client of HTTP/2 that checks responses: one request by itself, and the protocol for loads of our own."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Final

from benchmarks.loads.tls import NAME, client_context
from benchmarks.measure import MeasurementError

try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError:
    raise MeasurementError("h2 is not installed, but required for HTTP/2: pip install -e '.[bench]'") from None

__all__ = ("Conversation", "ask")

_TIMEOUT: Final = 10.0


class _Response:
    __slots__ = ("body", "over", "status", "trailers")

    def __init__(self) -> None:
        self.status = b""
        self.body = bytearray()
        self.trailers: dict[bytes, bytes] = {}
        self.over = False


class Conversation:
    """One connection, without its socket."""

    def __init__(self) -> None:
        self._connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self._connection.initiate_connection()
        self._responses: dict[int, _Response] = {}

    def request(self, path: str, fields: Mapping[str, str], body: bytes = b"", *, scheme: str = "http") -> int:
        """Start a request and return its number. The body has to fit into the first window of a stream."""
        number: int = self._connection.get_next_available_stream_id()
        head = [(":method", "POST" if body else "GET"), (":scheme", scheme), (":path", path)]
        head += [(":authority", NAME)] * (":authority" not in fields)
        # Fields that begin with a colon have to be first.
        head += sorted(((name.lower(), value) for name, value in fields.items()), key=lambda field: not field[0].startswith(":"))
        self._responses[number] = _Response()
        self._connection.send_headers(number, head, end_stream=not body)
        left = memoryview(body)
        while left:
            piece, left = left[:16384], left[16384:]
            self._connection.send_data(number, bytes(piece), end_stream=not left)
        return number

    def to_send(self) -> bytes:
        """What to write to the socket."""
        return self._connection.data_to_send()

    def received(self, data: bytes) -> None:
        """Take what the socket has received.

        Raises:
            MeasurementError: the peer violates the protocol, or ends a stream or the connection.
        """
        try:
            for event in self._connection.receive_data(data):
                self._take(event)
        except h2.exceptions.ProtocolError as error:
            raise MeasurementError(f"no HTTP/2 as it must be: {error!r}") from error

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            raise MeasurementError(f"no answer but {event!r}")
        if isinstance(event, h2.events.ResponseReceived):
            self._responses[event.stream_id].status = dict(event.headers)[b":status"]
        elif isinstance(event, h2.events.DataReceived):
            self._responses[event.stream_id].body += event.data
            self._connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self._responses[event.stream_id].trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self._responses[event.stream_id].over = True

    def answered(self, numbers: Iterable[int]) -> bool:
        """Whether the responses to these requests are complete."""
        return all(self._responses[number].over for number in numbers)

    def check(self, numbers: Iterable[int], answer: bytes, trailers: Mapping[bytes, bytes]) -> None:
        """Forget these responses.

        Raises:
            MeasurementError: one is not a 200 with this body and these trailers.
        """
        for number in numbers:
            response = self._responses.pop(number)
            if response.status != b"200" or response.body != answer or response.trailers != trailers:
                found = f"{response.status.decode()} {bytes(response.body[:100])!r} {response.trailers!r}"
                raise MeasurementError(f"the answer is {found} instead of 200 {answer[:100]!r} {dict(trailers)!r}")


def ask(
    port: int,
    path: str,
    fields: Mapping[str, str],
    answer: bytes,
    body: bytes = b"",
    *,
    trailers: Mapping[bytes, bytes] | None = None,
    tls: bool = False,
) -> None:
    """Send one request, and check that the response is a 200 with this body and these trailers, because h2load looks at no body.

    Raises:
        MeasurementError: it is not.
    """
    conversation = Conversation()
    numbers = [conversation.request(path, fields, body, scheme=f"http{'s' * tls}")]
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as below:
            if not tls:
                _exchange(below, conversation, numbers)
            else:
                with client_context(http2=True).wrap_socket(below, server_hostname=NAME) as session:
                    _exchange(session, conversation, numbers)
    except OSError as error:
        raise MeasurementError(f"no answer on port {port}: {error!r}") from error
    conversation.check(numbers, answer, trailers or {})


def _exchange(sock: socket.socket, conversation: Conversation, numbers: Iterable[int]) -> None:
    while not conversation.answered(numbers):
        sock.sendall(conversation.to_send())
        data = sock.recv(65536)
        if not data:
            raise MeasurementError("the connection was closed before the answer was complete")
        conversation.received(data)
