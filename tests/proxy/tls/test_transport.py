"""TLS with a client over any transport: what a standard library client and a recording protocol see of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from albkit.model.ssl_policy import SSL_POLICIES
from albkit.proxy.tls.contexts import server_context
from albkit.proxy.tls.transport import TlsTransport
from tests.support.secure import client_context, issued

VERSIONS = ("TLSv1.2", "TLSv1.3")


class _Shown:
    def __init__(self, chain: bytes, key: bytes) -> None:
        self.chain = chain
        self.key = key


_CONTEXT = server_context([_Shown(issued().pem, issued().key_pem)], SSL_POLICIES["ELBSecurityPolicy-TLS13-1-2-2021-06"], ())
"""Made outside of any loop: OpenSSL reads certificates from a file."""


class Below(asyncio.Transport):
    """A transport in memory: keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 50_000)})
        self.written = bytearray()
        self.calls: list[str] = []
        self.buffered = 0
        self.limits: tuple[int | None, int | None] = (None, None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert "write_eof" not in self.calls, "written behind FIN"
        assert "close" not in self.calls, "written behind the end"
        self.written += data

    def taken(self) -> bytes:
        data = bytes(self.written)
        self.written.clear()
        return data

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return 1, 2

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high, low)


class Recorder(asyncio.Protocol):
    """Keeps what it is told, and does as the test says meanwhile."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.calls: list[str] = []
        self.transport: Any = None
        self.stays = True
        """What it answers where nothing more comes."""
        self.on_data: Callable[[], None] = lambda: None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data
        assert "eof" not in self.calls, "bytes behind the end"
        self.pieces.append(data)
        self.on_data()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost" if exc is None else "broken")

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Both:
    """Both ends of one TLS connection, the server's on a `TlsTransport`."""

    def __init__(self, version: str, *, begins: bool = True) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.below = Below()
        self.protocol = Recorder()
        self.results: list[Exception | None] = []
        self.begins = begins
        session = _CONTEXT.wrap_bio(incoming, outgoing, server_side=True)
        self.transport = TlsTransport(self.below, session, incoming, outgoing, asyncio.get_running_loop(), self._over)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client_context(version).wrap_bio(self.incoming, self.outgoing, server_hostname="example.com")

    def _over(self, error: Exception | None) -> None:
        self.results.append(error)
        if error is None and self.begins:
            self.transport.begin(self.protocol)

    def shake(self, then: bytes = b"") -> Both:
        """Hands are shaken; `then` comes together with the client's last flight."""
        while True:
            done = True
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            if done and then:
                self.client.write(then)
            if self.outgoing.pending:
                self.transport.data_received(self.outgoing.read())
            if self.below.written:
                self.incoming.write(self.below.taken())
            if done:
                break
        if self.results and self.results[-1] is not None:
            raise self.results[-1]
        return self

    def send(self, data: bytes) -> bytes:
        """The client's records, not yet handed over."""
        self.client.write(data)
        return self.outgoing.read()

    def arrived(self) -> bytes:
        """What the client has got; `SSLZeroReturnError` is the end."""
        self.incoming.write(self.below.taken())
        data = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self.client.read(65536):
                data += piece
        return data

    def was_told(self) -> bool:
        """Whether the client has got a close_notify."""
        self.incoming.write(self.below.taken())
        try:
            while self.client.read(65536):
                pass
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            return True
        return True

    def release(self) -> bytes:
        """The client's close_notify."""
        with contextlib.suppress(ssl.SSLError):
            self.client.unwrap()
        return self.outgoing.read()


async def passes() -> None:
    """The loop has made a pass or two."""
    for _ in range(3):
        await asyncio.sleep(0)


pytestmark = pytest.mark.parametrize("version", VERSIONS)


async def test_bytes_pass_both_ways(version: str) -> None:
    """Of every size around a record's, and none at all."""
    both = Both(version).shake()
    assert both.protocol.calls == ["made"]
    sizes = (1, 16_383, 16_384, 16_385, 300_000)
    for size in sizes:
        data = bytes(index % 251 for index in range(size))
        before = len(both.protocol.data)
        both.transport.data_received(both.send(data))
        assert both.protocol.data[before:] == data
        both.transport.write(data)
        assert both.arrived() == data
        both.transport.writelines([data[:7], b"", data[7:]])
        assert both.arrived() == data


async def test_nothing_written_is_nothing_sent(version: str) -> None:
    """No record and no call below, of any kind of nothing."""
    both = Both(version).shake()
    both.arrived()
    both.transport.write(b"")
    both.transport.writelines([])
    both.transport.writelines([b"", b""])
    assert not both.below.written
    both.transport.write(bytearray(b"abc"))
    both.transport.write(memoryview(b"def"))
    assert both.arrived() == b"abcdef"


async def test_bytes_with_the_last_flight_arrive(version: str) -> None:
    """A request behind the client's Finished is handed over as soon as there is a protocol."""
    both = Both(version).shake(b"GET / HTTP/1.1\r\n\r\n")
    assert both.protocol.data == b"GET / HTTP/1.1\r\n\r\n"


async def test_bytes_before_there_is_a_protocol_are_kept(version: str) -> None:
    """What comes between the handshake and `begin` is not lost."""
    both = Both(version, begins=False).shake(b"early")
    both.transport.data_received(both.send(b" bird"))
    assert not both.protocol.pieces
    both.transport.begin(both.protocol)
    assert both.protocol.data == b"early bird"


async def test_bytes_one_by_one_are_put_together(version: str) -> None:
    """The handshake too."""
    both = Both(version)
    while not both.results:
        with contextlib.suppress(ssl.SSLWantReadError):
            both.client.do_handshake()
        for byte in both.outgoing.read():
            both.transport.data_received(bytes([byte]))
        if both.below.written:
            both.incoming.write(both.below.taken())
    assert both.results == [None]
    for byte in both.send(b"hello"):
        both.transport.data_received(bytes([byte]))
    assert both.protocol.data == b"hello"


async def test_large_piece_is_handed_over_in_bounded_parts(version: str) -> None:
    """However much comes at once: 256 KiB are given to the protocol together at the most, and all of it in the end."""
    both = Both(version).shake()
    data = bytes(2_000_000)
    both.transport.data_received(both.send(data))
    assert both.protocol.data == data
    assert max(map(len, both.protocol.pieces)) <= 256 * 1024 + 16 * 1024


async def test_pause_holds_back_what_is_decrypted_already(version: str) -> None:
    """A protocol that pauses in the middle gets no further piece before it resumes, and then in another pass of the loop."""
    both = Both(version).shake()
    both.protocol.on_data = both.transport.pause_reading
    data = bytes(1_000_000)
    both.transport.data_received(both.send(data))
    assert len(both.protocol.pieces) == 1
    assert "pause_reading" in both.below.calls
    assert not both.transport.is_reading()
    while len(both.protocol.data) < len(data):
        before = len(both.protocol.pieces)
        both.transport.resume_reading()
        assert len(both.protocol.pieces) == before
        await passes()
        assert len(both.protocol.pieces) == before + 1
    assert both.protocol.data == data


async def test_resume_in_data_received_does_not_come_back_inside(version: str) -> None:
    """Pieces stay in order, and none arrives while another is being looked at."""
    both = Both(version).shake()
    depth = 0

    def on_data() -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        both.transport.pause_reading()
        both.transport.resume_reading()
        depth -= 1

    both.protocol.on_data = on_data
    data = bytes(range(250)) * 4000
    both.transport.data_received(both.send(data))
    await passes()
    assert both.protocol.data == data


async def test_pieces_that_come_while_paused_wait(version: str) -> None:
    """uvloop delivers what it has read before the pause."""
    both = Both(version).shake()
    both.transport.pause_reading()
    both.transport.data_received(both.send(b"one"))
    both.transport.data_received(both.send(b"two"))
    assert not both.protocol.pieces
    both.transport.resume_reading()
    await passes()
    assert both.protocol.data == b"onetwo"


@pytest.mark.parametrize("fin", [True, False])
async def test_goodbye_of_the_client_is_its_end_and_writing_goes_on(version: str, fin: bool) -> None:
    """Half-close: eof_received once, with FIN behind the close_notify or not, and what is written then still arrives."""
    both = Both(version).shake()
    both.transport.data_received(both.send(b"last words") + both.release())
    if fin:
        assert both.transport.eof_received()
    assert both.protocol.data == b"last words"
    assert both.protocol.calls == ["made", "eof"]
    assert both.below.calls == []
    both.transport.write(b"answer")
    assert both.incoming.write(both.below.taken())
    assert both.client.read(100) == b"answer"


async def test_fin_without_goodbye_is_an_end_as_well(version: str) -> None:
    """Many clients leave so; writing goes on."""
    both = Both(version).shake()
    both.transport.data_received(both.send(b"words"))
    assert both.transport.eof_received()
    assert both.protocol.calls == ["made", "eof"]
    both.transport.write(b"answer")
    assert both.arrived() == b"answer"


async def test_end_while_paused_comes_behind_the_bytes(version: str) -> None:
    """In order, once reading goes on."""
    both = Both(version).shake()
    both.transport.pause_reading()
    both.transport.data_received(both.send(b"words") + both.release())
    assert both.transport.eof_received()
    assert both.protocol.calls == ["made"]
    both.transport.resume_reading()
    await passes()
    assert both.protocol.data == b"words"
    assert both.protocol.calls == ["made", "eof"]


async def test_protocol_that_does_not_stay_behind_an_end_is_closed_for(version: str) -> None:
    """As asyncio's transports do: eof_received answers False."""
    both = Both(version).shake()
    both.protocol.stays = False
    both.transport.data_received(both.release())
    assert both.below.calls == ["close"]
    assert both.was_told()


async def test_own_end_is_told_and_reading_goes_on(version: str) -> None:
    """write_eof: a close_notify, FIN, and what the client sends then still arrives; nothing is written behind it."""
    both = Both(version).shake()
    both.transport.write(b"all")
    both.transport.write_eof()
    both.transport.write_eof()
    both.transport.write(b"late")
    both.transport.writelines([b"late"])
    assert both.below.calls == ["write_eof", "write_eof"]
    assert both.arrived() == b"all"
    assert both.was_told()
    both.transport.data_received(both.send(b"still here"))
    assert both.protocol.data == b"still here"
    both.transport.data_received(both.release())
    assert both.protocol.calls == ["made", "eof"]


@pytest.mark.parametrize("size", [5, 60_000])
async def test_own_end_while_paused_loses_nothing_that_has_come(version: str, size: int) -> None:
    """What waits to be decrypted when we say goodbye is handed over once reading goes on."""
    both = Both(version).shake()
    both.transport.pause_reading()
    data = bytes(index % 251 for index in range(size))
    both.transport.data_received(both.send(data))
    both.transport.write_eof()
    assert both.was_told()
    both.transport.data_received(both.send(b" and more") + both.release())
    both.transport.resume_reading()
    await passes()
    assert both.protocol.data == data + b" and more"
    assert both.protocol.calls == ["made", "eof"]


async def test_own_end_in_the_middle_of_a_large_piece_loses_nothing(version: str) -> None:
    """A protocol that has nothing more to say while much is still to come."""
    both = Both(version).shake()
    both.protocol.on_data = both.transport.write_eof
    data = bytes(index % 251 for index in range(1_000_000))
    both.transport.data_received(both.send(data))
    assert both.protocol.data == data


async def test_close_says_goodbye_and_nothing_comes_any_more(version: str) -> None:
    """Whatever has come and was not read: the client gets a close_notify and no alert behind it."""
    both = Both(version).shake()
    both.arrived()
    both.transport.pause_reading()
    both.transport.data_received(both.send(b"unread"))
    both.transport.close()
    both.transport.close()
    assert both.below.calls == ["pause_reading", "close"]
    assert both.transport.is_closing()
    written = bytes(both.below.written)
    assert len(written) == 5 + int.from_bytes(written[3:5])
    assert both.was_told()
    both.transport.data_received(both.send(b"more"))
    assert not both.protocol.pieces
    both.transport.connection_lost(None)
    assert both.protocol.calls == ["made", "lost"]


async def test_abort_says_nothing(version: str) -> None:
    """It is cut."""
    both = Both(version).shake()
    both.arrived()
    both.transport.abort()
    assert both.below.calls == ["abort"]
    assert not both.below.written


async def test_damaged_record_cuts_the_connection(version: str) -> None:
    """With an alert; what came before it has been handed over, what comes behind it is not."""
    both = Both(version).shake()
    both.arrived()
    good, bad = both.send(b"good"), bytearray(both.send(b"bad"))
    bad[-1] ^= 1
    both.transport.data_received(good)
    both.transport.data_received(bytes(bad))
    assert both.protocol.data == b"good"
    assert "abort" in both.below.calls
    both.transport.data_received(good)
    assert both.protocol.data == b"good"
    both.transport.write(b"nothing")
    both.transport.write_eof()
    both.transport.connection_lost(None)
    assert both.protocol.calls == ["made", "broken"], "not an end in good order"


async def test_good_record_in_one_piece_with_a_damaged_one_arrives(version: str) -> None:
    """Bytes that were right are not lost for what comes behind them."""
    both = Both(version).shake()
    good, bad = both.send(b"good"), bytearray(both.send(b"bad"))
    bad[-1] ^= 1
    both.transport.data_received(good + bytes(bad))
    assert both.protocol.data == b"good"
    assert "abort" in both.below.calls


GARBAGE = (b"\x16\x03\x01\x00\x05hello", b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x80\x2e\x01\x03\x01", b"\xff")


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
async def test_no_handshake_ends_it_once(version: str, garbage: bytes) -> None:
    """The error is told once, an alert may go out, and the transport closes; FIN behind it tells nothing again."""
    both = Both(version)
    for _ in range(3):
        both.transport.data_received(garbage + bytes(100))
    both.transport.eof_received()
    both.transport.connection_lost(None)
    assert len(both.results) == 1
    assert isinstance(both.results[0], ssl.SSLError)
    assert both.below.calls == ["close"]


@pytest.mark.parametrize("how", ["fin", "lost", "reset"])
async def test_end_in_the_handshake_is_its_failure(version: str, how: str) -> None:
    """Told once, as a connection error."""
    both = Both(version)
    with contextlib.suppress(ssl.SSLWantReadError):
        both.client.do_handshake()
    both.transport.data_received(both.outgoing.read()[:20])
    if how == "fin":
        assert not both.transport.eof_received()
    both.transport.connection_lost(ConnectionResetError() if how == "reset" else None)
    assert len(both.results) == 1
    assert isinstance(both.results[0], ConnectionResetError)
    assert both.protocol.calls == []


async def test_many_small_records_arrive_in_order(version: str) -> None:
    """One after the other."""
    both = Both(version).shake()
    for number in range(300):
        both.transport.data_received(both.send(b"%d," % number))
    assert both.protocol.data == b"".join(b"%d," % number for number in range(300))


async def test_rest_of_a_transport_is_that_below(version: str) -> None:
    """Buffers and their limits, what is known of the socket; the session goes by asyncio's name."""
    both = Both(version).shake()
    both.below.buffered = 77
    assert both.transport.get_write_buffer_size() == 77
    assert both.transport.get_write_buffer_limits() == (1, 2)
    both.transport.set_write_buffer_limits(high=5)
    assert both.below.limits == (5, None)
    assert both.transport.get_extra_info("peername") == ("192.0.2.1", 50_000)
    assert both.transport.get_extra_info("ssl_object").version() == version
    assert both.transport.get_protocol() is both.protocol
    assert both.transport.can_write_eof()
    both.transport.pause_writing()
    both.transport.resume_writing()
    assert both.protocol.calls == ["made", "pause", "resume"]


async def test_protocol_may_be_replaced(version: str) -> None:
    """As for an upgrade: what comes then is the new one's, the end too."""
    both = Both(version).shake()
    both.transport.data_received(both.send(b"old"))
    new = Recorder()
    both.transport.set_protocol(new)
    both.transport.data_received(both.send(b"new") + both.release())
    assert (both.protocol.data, new.data, new.calls) == (b"old", b"new", ["eof"])


async def test_protocol_that_closes_in_connection_made_hears_no_bytes(version: str) -> None:
    """Nothing is delivered to whoever has hung up."""
    both = Both(version, begins=False).shake(b"early")
    both.protocol.connection_made = lambda transport: transport.close()  # type: ignore[method-assign, attr-defined]
    both.transport.begin(both.protocol)
    assert both.protocol.pieces == []


async def test_protocol_that_closes_in_the_middle_hears_no_more(version: str) -> None:
    """close() in data_received ends the delivery, as with other transports."""
    both = Both(version).shake()
    both.protocol.on_data = both.transport.close
    both.transport.data_received(both.send(bytes(1_000_000)))
    assert len(both.protocol.pieces) == 1
    assert "eof" not in both.protocol.calls


class Chatty:
    """A session that answers whatever comes, and has nothing for the protocol: as OpenSSL with KeyUpdates (RFC 8446 section 4.6.3)."""

    def __init__(self, outgoing: ssl.MemoryBIO) -> None:
        self.outgoing = outgoing

    def do_handshake(self) -> None:
        """Done at once."""

    def pending(self) -> int:
        return 0

    def read(self, _: int) -> bytes:
        self.outgoing.write(bytes(27))
        raise ssl.SSLWantReadError


@pytest.mark.parametrize("takes", [True, False])
async def test_peer_that_asks_for_answers_and_takes_none_is_cut(version: str, takes: bool) -> None:
    """Nobody but the session writes these: without a bound they would fill the memory. Who takes them may ask for ever."""
    del version
    below, incoming, outgoing = Below(), ssl.MemoryBIO(), ssl.MemoryBIO()
    session: Any = Chatty(outgoing)
    transport = TlsTransport(below, session, incoming, outgoing, asyncio.get_running_loop(), lambda _: None)
    transport.data_received(b"hello")
    transport.begin(Recorder())
    for _ in range(10_000):
        transport.data_received(b"key update")
        below.buffered = 0 if takes else len(below.written)
    assert ("abort" in below.calls) is not takes
    assert takes or len(below.written) < 100_000
