"""A client connection in each of its states, event by event, without a socket."""

from __future__ import annotations

import asyncio
import logging

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.limits import Limits
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.client.buffered_body import BufferedBody
from albkit.proxy.client.http1_states import (
    AWAITING_HEAD,
    CLOSED,
    CLOSING,
    DETACHED,
    IN_EXCHANGE,
    LINGERING,
    READING_BODY,
    RESETTING,
)
from albkit.proxy.downstream import DownstreamExchange
from tests.proxy.client.connections import Connected, read, response, turns

POST = b"POST /path?secret HTTP/1.1\r\nHost: example.com\r\nContent-Length: 10\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
GET_1_0 = b"GET / HTTP/1.0\r\n\r\n"


@pytest.fixture(autouse=True)
async def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


class Server:
    """Reads one request, and leaves the rest to the test."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self.heads: list[bytes | None] = []
        self.go_on = asyncio.Event()

    async def __call__(self, client: DownstreamExchange, listener: ListenerRuntime) -> None:
        head = await client.head()
        self.heads.append(head)
        if head is None:
            client.close()
            return
        read(listener, head, client)
        try:
            await client.wait()
        except Failure as failure:
            self.failures.append(failure)
        await self.go_on.wait()


async def in_state(state: str) -> tuple[Connected, Server]:
    """A connection that has come to this state."""
    server = Server()
    it = Connected(server)
    exchange = it.connection.exchange
    await turns()
    if state == AWAITING_HEAD:
        return it, server
    it.connection.data_received({CLOSING: GET, RESETTING: GET_1_0}.get(state, POST))
    await turns()
    if state == READING_BODY:
        exchange.pump_body(BufferedBody())
    elif state == LINGERING:
        exchange.finish()
    elif state == CLOSING:
        exchange.has_left = True
        exchange.finish()
    elif state == RESETTING:
        exchange.start_response(response(-1), b"")
        exchange.write_body([b"part"], False, [])
        it.transport.unsent = 4
        exchange.cut()
    elif state == CLOSED:
        it.connection.socket.abort()
    elif state == DETACHED:
        exchange.open_tunnel(response(0), b"")
    assert it.state == state
    return it, server


async def end(it: Connected, server: Server) -> None:
    """Let nothing be left. An exchange that has ended the connection would not wait any more."""
    it.connection.exchange.wake()
    server.go_on.set()
    await it.end()


STATES = [AWAITING_HEAD, IN_EXCHANGE, READING_BODY, CLOSING, LINGERING, RESETTING, CLOSED, DETACHED]


@pytest.mark.parametrize("state", STATES)
async def test_bytes_that_arrive_go_where_the_state_says(state: str) -> None:
    """To the request head, to a later request, to the body, or nowhere."""
    it, server = await in_state(state)
    it.connection.data_received(b"12345")
    kept, received = len(it.connection.socket.receive_buffer), it.connection.exchange.received_bytes
    assert kept == (5 if state in (AWAITING_HEAD, IN_EXCHANGE) else 0)
    assert received == {AWAITING_HEAD: 0, READING_BODY: len(POST) + 5, CLOSING: len(GET), RESETTING: len(GET_1_0)}.get(state, len(POST))
    await end(it, server)


@pytest.mark.parametrize("state", STATES)
async def test_fin_of_the_client_is_a_failure_only_during_an_exchange(state: str) -> None:
    """An unfinished body is named; an idle client just leaves; later nobody cares."""
    it, server = await in_state(state)
    stays_open = it.connection.eof_received()
    await turns()
    in_exchange = state in (IN_EXCHANGE, READING_BODY)
    assert stays_open == in_exchange
    assert [failure.kind for failure in server.failures] == [FailureKind.REQUEST_BODY_TRUNCATED] * in_exchange
    assert server.heads == [None] if state == AWAITING_HEAD else len(server.heads) == 1
    await end(it, server)


@pytest.mark.parametrize("state", [state for state in STATES if state != DETACHED])
async def test_loss_is_a_failure_only_during_an_exchange(state: str) -> None:
    """The connection is not counted any more, whatever was going on."""
    it, server = await in_state(state)
    it.connection.connection_lost(ConnectionResetError("reset"))
    await turns()
    in_exchange = state in (IN_EXCHANGE, READING_BODY)
    assert [failure.kind for failure in server.failures] == [FailureKind.CLIENT_CLOSED] * in_exchange
    assert it.state == (CLOSED if state not in (IN_EXCHANGE, READING_BODY) else state)
    assert it.runtime.counters.active_connections == 0
    await end(it, server)


@pytest.mark.parametrize("state", STATES)
async def test_stop_ends_only_a_connection_without_a_request(state: str) -> None:
    """All others end after their response."""
    it, server = await in_state(state)
    before = list(it.transport.calls)
    it.connection.stop()
    await turns()
    assert it.state == (CLOSING if state == AWAITING_HEAD else state)
    assert it.transport.calls == before + ["close"] * (state == AWAITING_HEAD)
    await end(it, server)


@pytest.mark.parametrize("state", STATES)
async def test_abandoned_connection_is_aborted_once(state: str) -> None:
    """A tunnel's is not touched."""
    it, server = await in_state(state)
    it.connection.abandon()
    it.connection.abandon()
    await turns()
    assert it.transport.calls.count("abort") == (state != DETACHED)
    assert it.state == (DETACHED if state == DETACHED else CLOSED)
    in_exchange = state in (IN_EXCHANGE, READING_BODY)
    assert [failure.kind for failure in server.failures] == [FailureKind.STOPPED] * in_exchange
    await end(it, server)


async def test_request_that_arrives_with_the_abort_is_not_served() -> None:
    """Nobody would get the response."""
    it, server = await in_state(AWAITING_HEAD)
    it.connection.data_received(GET)
    it.connection.abandon()
    await turns()
    assert server.heads == [None]
    await end(it, server)


async def test_connection_abandoned_before_its_task_runs_ends() -> None:
    """The first request head is never asked for in vain."""
    server = Server()
    it = Connected(server)
    it.connection.abandon()
    await turns()
    assert server.heads == [None]
    assert it.transport.calls == ["abort"]
    await end(it, server)


@pytest.mark.parametrize(
    ("state", "ends"),
    [(CLOSING, ["close"]), (LINGERING, ["write_eof"]), (RESETTING, []), (CLOSED, ["abort"]), (DETACHED, ["pause_reading"])],
)
async def test_each_end_tells_the_transport(state: str, ends: list[str]) -> None:
    """What the state is called is what was done."""
    it, server = await in_state(state)
    assert it.transport.calls == ends
    await end(it, server)


async def test_reset_follows_when_the_client_has_all() -> None:
    """Not before: it would take back what is not acknowledged."""
    it, server = await in_state(RESETTING)
    it.connection.sweep(it.clock.now)
    assert it.state == RESETTING
    it.transport.unsent = 0
    it.connection.sweep(it.clock.now)
    assert it.state == CLOSED
    assert it.transport.calls == ["abort"]
    await end(it, server)


@pytest.mark.parametrize("state", STATES)
async def test_repr_says_state_client_request_and_bytes(state: str) -> None:
    """Without the query, which may hold secrets."""
    it, server = await in_state(state)
    shown = repr(it.connection)
    assert shown.startswith(f"<Http1ClientConnection of 192.0.2.1:1234: {state}, ")
    assert "secret" not in shown
    if state == READING_BODY:
        assert shown.endswith(f"'POST /path', {len(POST)} bytes received, 0 sent>")
    await end(it, server)


async def test_repr_escapes_what_the_client_sent() -> None:
    """A log line stays one line of ASCII, and short."""
    it, server = await in_state(AWAITING_HEAD)
    it.connection.data_received(b"GET /\xc3\xa4" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    await turns()
    shown = repr(it.connection)
    assert shown.isascii()
    assert "'GET /\\" in shown
    assert len(shown) < 400
    await end(it, server)


async def test_repr_of_a_connection_that_was_never_made_is_possible() -> None:
    """A debugger may ask at any time."""
    it, server = await in_state(AWAITING_HEAD)
    assert "of nobody: awaiting head, no request" in repr(type(it.connection)(it.listener, server))
    await end(it, server)


async def test_debug_lines_tell_the_life_of_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Each names the client, the state and what happened."""
    caplog.set_level(logging.DEBUG, "albkit")
    it, server = await in_state(LINGERING)
    it.connection.connection_lost(None)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("client 192.0.2.1:1234, connection ")]
    told = [line.partition(", connection ")[2].partition(", ")[2] for line in lines]
    assert told == ["awaiting head: connected", "in exchange: request 'POST /path'", "lingering: FIN", "closed: lost"]
    await end(it, server)


async def test_debug_lines_follow_the_level_with_the_next_sweep(caplog: pytest.LogCaptureFixture) -> None:
    """A connection that has been open for long can be watched."""
    caplog.set_level(logging.INFO, "albkit")
    it, server = await in_state(AWAITING_HEAD)
    caplog.set_level(logging.DEBUG, "albkit")
    it.connection.sweep(it.clock.now)
    it.connection.data_received(GET)
    await turns()
    assert "in exchange: request 'GET /'" in caplog.text
    await end(it, server)


async def test_pipelined_bytes_above_the_limit_pause_reading() -> None:
    """Until the exchange asks for the next request."""
    server = Server()
    it = Connected(server, limits=Limits(early_bytes=1024))
    it.connection.data_received(GET)
    await turns()
    it.connection.data_received(b"x" * 1024)
    assert it.transport.calls == []
    it.connection.data_received(b"x")
    it.connection.data_received(b"x")
    assert it.transport.calls == ["pause_reading"]
    assert it.runtime.counters.reading_paused == 1
    await end(it, server)
