"""An HTTP/1.1 connection to a target, without a socket: its states, what it writes, and what its end means."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from types import SimpleNamespace
from typing import Any

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.target import http1_connection, http1_states
from albkit.proxy.target.http1_connection import Http1TargetConnection
from albkit.state.counters import Counters

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Transport:
    """Keeps what is written, each write alone."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, **_: Any) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Client:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.upstream: object = None
        self.has_left = self.is_full = False
        self.address = object()
        self.pieces: list[bytes] = []
        self.over = False
        self.trailers: list[bytes] = []

    def send_interim(self, _: object) -> None: ...

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        self.pieces += pieces
        self.over = over
        self.trailers = trailers


class House:
    """One connection, and what its pool was told."""

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.removed: list[object] = []
        pool: Any = SimpleNamespace(
            keep=lambda connection, _: self.kept.append(connection), remove=self.removed.append, soon=asyncio.get_running_loop().call_soon
        )
        member: Any = SimpleNamespace(address="192.0.2.1:80")
        self.connection = Http1TargetConnection(member, pool, Counters(), Limits())
        self.transport: Any = Transport()
        self.connection.connection_made(self.transport)
        self.client: Any = Client()

    def ask(self, method: str = "GET", *, chunked: bool = False) -> asyncio.Future[object]:
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        head: Any = SimpleNamespace(lines=[method.encode() + b" / HTTP/1.1", b"Host: a"], method=method, chunked=chunked)
        self.connection.send_head(head, self.client, waiter)
        return waiter

    def exchange(self) -> None:
        """One that goes well, so that the connection is kept."""
        self.ask()
        self.connection.flush()
        self.connection.data_received(_OK)
        assert self.connection.first_pieces() == ([b"ok"], True, [])
        self.connection.release()
        assert self.kept[-1] is self.connection


# States.


def test_state_changes_only_as_the_table_says() -> None:
    """Each assignment looks the next state up, but for the first."""
    source = inspect.getsource(http1_connection)
    assignments = re.findall(r"self\._state(?:: State)? = (.+)", source)
    assert assignments.pop(0) == "FRESH"
    assert len(assignments) >= 10
    lookup = re.compile(r"[A-Z]+\[(self\._)?state\]( if .+ else [A-Z]+\[self\._state\])?")
    assert [line for line in assignments if not lookup.fullmatch(line)] == []


def test_every_state_can_be_reached_and_left_by_closing() -> None:
    """A connection that cannot be closed from some state would leak."""
    events = [getattr(http1_states, name) for name in ("BEGIN", "HEAD", "RELAY", "END", "UNASKED", "KEEP", "DETACH", "LOSE", "ABORT")]
    reached = {http1_states.FRESH} | {after for event in events for after in event.values()}
    assert reached == set(http1_states.ABORT)
    assert set(http1_states.ABORT.values()) == {http1_states.CLOSED}
    assert set(http1_states.LOSE) == reached - {http1_states.DETACHED}, "a tunnel's transport has another protocol"


async def test_bytes_behind_a_response_close_the_connection_instead_of_starting_the_next_one() -> None:
    """Whether they come with the response, before its exchange is over, or to an idle connection."""
    with_it = House()
    with_it.ask()
    with_it.connection.data_received(_OK + b"HTTP/1.1 200 OK\r\n\r\n")
    with_it.connection.first_pieces()
    with_it.connection.release()
    assert (with_it.kept, with_it.transport.aborted) == ([], True)

    after_it = House()
    after_it.ask()
    after_it.connection.data_received(_OK)
    after_it.connection.first_pieces()
    after_it.connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
    assert repr(after_it.connection) == "<Http1TargetConnection to 192.0.2.1:80: must close>"
    after_it.connection.release()
    assert (after_it.kept, after_it.transport.aborted) == ([], True)

    idle = House()
    idle.exchange()
    idle.connection.data_received(b"HTTP/1.1 408 x\r\n\r\n")
    assert idle.transport.aborted


@pytest.mark.parametrize("step", ["first_pieces", "relay_body", "release", "detach", "abort"])
async def test_exchange_that_goes_on_behind_the_end_of_the_pool_raises_nothing(step: str) -> None:
    """When the load balancer stops, the pool closes connections whose exchange has an answer already and is about to run."""
    it = House()
    waiter = it.ask()
    it.connection.data_received(_OK)
    it.connection.abort()
    assert waiter.done()
    if step == "relay_body":
        it.connection.relay_body(asyncio.get_running_loop().create_future())
    else:
        getattr(it.connection, step)()
    it.connection.connection_lost(None)
    assert it.removed
    assert it.kept == []


# The request.


async def test_head_and_body_leave_in_one_write() -> None:
    """And the head alone if there is no body, or if it is to come later."""
    it = House()
    it.ask("POST")
    assert it.transport.writes == []
    it.connection.write_body([b"ab", b"cd"], True, [])
    assert it.transport.writes == [b"POST / HTTP/1.1\r\nHost: a\r\n\r\nabcd"]

    without = House()
    without.ask()
    without.connection.write_body([], True, [])
    without.connection.flush()
    assert without.transport.writes == [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]

    later = House()
    later.ask("POST")
    later.connection.flush()
    later.connection.write_body([b"ab"], False, [])
    assert later.transport.writes == [b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"ab"]


async def test_chunks_are_framed_by_the_connection() -> None:
    """Whoever sends the body knows nothing of chunks, and an empty part is none: it would end the body."""
    it = House()
    it.ask("POST", chunked=True)
    it.connection.write_body([b"ab", b"c"], False, [])
    it.connection.write_body([], False, [])
    it.connection.write_body([], True, [b"X-Sum: 7"])
    assert it.transport.writes == [b"POST / HTTP/1.1\r\nHost: a\r\n\r\n3\r\nabc\r\n", b"0\r\nX-Sum: 7\r\n\r\n"]


# What an end means.


@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("came", [b"", b"HTTP/1.1 103 Early\r\n\r\n", b"HTTP/1.1 2"])
@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")], ids=["FIN", "RST"])
async def test_end_is_stale_only_on_a_kept_connection_from_which_nothing_came(reused: bool, came: bytes, error: Exception | None) -> None:
    """Then the target may have closed it before it got the request. A byte of an answer shows that it got it."""
    it = House()
    if reused:
        it.exchange()
    waiter = it.ask()
    if came:
        it.connection.data_received(came)
    it.connection.connection_lost(error)
    failure = waiter.exception()
    assert isinstance(failure, Failure)
    assert failure.kind is (
        FailureKind.RESPONSE_HEAD_TRUNCATED
        if came.endswith(b"2")
        else FailureKind.TARGET_CLOSED
        if error is None
        else FailureKind.TARGET_RESET
    )
    assert failure.is_stale is (reused and not came)


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"]
)
async def test_bad_answer_on_a_kept_connection_is_never_stale(answer: bytes) -> None:
    """The target got the request."""
    it = House()
    it.exchange()
    waiter = it.ask()
    it.connection.data_received(answer)
    failure = waiter.exception()
    assert isinstance(failure, Failure)
    assert not failure.is_stale
    assert it.transport.aborted


# The debug log.


async def test_debug_lines_tell_what_happens_on_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Off by default; on, one line for each step of an exchange."""
    House().exchange()
    assert caplog.records == []
    with caplog.at_level(logging.DEBUG, "albkit"):
        it = House()
        it.exchange()
        it.connection.connection_lost(None)
    words = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert words == ["request", "response 200", "kept", "closed by the target"]
    assert "192.0.2.1:80" in caplog.records[0].getMessage()
