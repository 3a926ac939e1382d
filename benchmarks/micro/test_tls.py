"""TLS with a client in memory: a request is decrypted, a response encrypted. albkit's own transport, compared with asyncio's."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, cast

import pytest

from albkit.proxy.tls.transport import TlsTransport
from benchmarks.certificates import issue
from benchmarks.loads.tls import NAME, client_context
from benchmarks.micro import WRK_HEAD, Benchmark

_REQUESTS: Final = 640
"""Requests per call, by which the result must be divided."""
_HANDSHAKES: Final = 20
"""Handshakes per call."""
_ANSWERS: Final = {"small": b"x" * 256, "large": b"x" * (64 << 10)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server with a P-256 certificate."""
    shown = issue(tmp_path_factory.mktemp("certificates"), "ecdsa")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    return context


class _Below:
    """A transport without a socket, which passes everything written to a function."""

    def __init__(self, written: Callable[[bytes], object]) -> None:
        self.write = written

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_extra_info(self, name: str, default: object = None) -> object:
        del name
        return default

    def set_protocol(self, protocol: object) -> None: ...

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None: ...

    close = abort


class _Answering(asyncio.Protocol):
    """Answers everything."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, _: bytes) -> None:
        self._write(self._answer)
        self.answered += 1


class _Client:
    """The client: a TLS session in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self.incoming, self._outgoing, server_hostname=NAME)

    def shake_hands(self, give: Callable[[bytes], object]) -> None:
        """Proceed as far as the server answers within a call."""
        for _ in range(2):
            try:
                self._session.do_handshake()
            except ssl.SSLWantReadError:
                give(self._outgoing.read())
            else:
                give(self._outgoing.read())
                return

    def encrypted(self, data: bytes) -> bytes:
        self._session.write(data)
        return self._outgoing.read()


class _Ours:
    """albkit's transport after its handshake."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, protocol: _Answering, loop: asyncio.AbstractEventLoop) -> None:
        self.client = _Client(client)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = server.wrap_bio(incoming, outgoing, server_side=True)
        below = _Below(self.client.incoming.write)
        tls = TlsTransport(cast("Any", below), session, incoming, outgoing, loop, lambda _: tls.begin(protocol))
        self.give: Callable[[bytes], object] = tls.data_received
        self.client.shake_hands(self.give)
        below.write = len
        self.end = partial(tls.connection_lost, None)


class _Asyncio:
    """asyncio's transport after its handshake."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, protocol: _Answering, loop: asyncio.AbstractEventLoop) -> None:
        self.client = _Client(client)
        below = _Below(self.client.incoming.write)
        self._protocol: Any = SSLProtocol(loop, protocol, server, loop.create_future(), server_side=True)
        self._protocol.connection_made(cast("Any", below))
        self.client.shake_hands(self.give)
        below.write = len
        self.end = partial(self._protocol.connection_lost, None)

    def give(self, data: bytes) -> None:
        """Deliver bytes as an event loop does, into the protocol's buffer."""
        self._protocol.get_buffer(len(data))[: len(data)] = data
        self._protocol.buffer_updated(len(data))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that is not running."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.mark.parametrize("size", _ANSWERS)
@pytest.mark.parametrize("kind", [_Ours, _Asyncio], ids=["albkit", "asyncio"])
def test_640_requests_over_tls(
    benchmark: Benchmark, server: ssl.SSLContext, loop: asyncio.AbstractEventLoop, kind: type[_Ours | _Asyncio], size: str
) -> None:
    """A small request is decrypted and a response encrypted; the client's work is done beforehand."""
    protocol = _Answering(_ANSWERS[size])
    connection = kind(server, client_context(), protocol, loop)
    give = connection.give

    def next_ones() -> tuple[tuple[list[bytes]], dict[str, Any]]:
        return ([connection.client.encrypted(WRK_HEAD) for _ in range(_REQUESTS)],), {}

    def come(records: list[bytes]) -> None:
        for record in records:
            give(record)

    benchmark.pedantic(come, setup=next_ones, rounds=20, warmup_rounds=1)
    connection.end()
    assert protocol.answered
    assert protocol.answered % _REQUESTS == 0, "one for each, however often it was measured"


def test_20_handshakes(benchmark: Benchmark, server: ssl.SSLContext, loop: asyncio.AbstractEventLoop) -> None:
    """Both sides, most of it in OpenSSL."""
    protocol = _Answering(b"")
    client = client_context()

    def shake_hands() -> None:
        for _ in range(_HANDSHAKES):
            _Ours(server, client, protocol, loop)

    benchmark(shake_hands)
