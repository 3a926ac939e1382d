"""A target without a socket serves requests: exchanges, retries and stickiness need nothing of a target but `UpstreamExchange`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead
from albkit.proxy.downstream import DownstreamExchange
from albkit.proxy.target.connection_pool import ConnectionPool
from albkit.proxy.upstream import UpstreamExchange
from albkit.state.target import TargetState
from albkit.wire.http1.response import read_response
from tests.support.gateway import running
from tests.support.peers import request

_ADDRESSES = ("192.0.2.1:80", "192.0.2.2:80")
"""Nobody connects to them."""


class InProcess:
    """An exchange with a target that is a Python function."""

    response: ResponseHead

    def __init__(self, member: TargetState, answer: Answer) -> None:
        self.member = member
        self.active = True
        self.is_full = False
        self.head = b""
        self.body: list[bytes] = []
        self.over = False
        self.trailers: list[bytes] = []
        self.calls: list[str] = []
        self.later: asyncio.Future[object] | None = None
        self.answered: asyncio.Future[object]
        self.client: DownstreamExchange | None = None
        self._answer = answer

    def send_head(self, request: RequestHead, client: DownstreamExchange, waiter: asyncio.Future[object]) -> None:
        self.head = b"\r\n".join(request.lines)
        self.client, self.answered = client, waiter
        client.upstream = self

    def write_body(self, pieces: list[bytes], over: bool, trailers: list[bytes]) -> None:
        self.calls.append("write_body")
        self.body += pieces
        if over:
            self.over, self.trailers = over, trailers
            self._run()

    def flush(self) -> None:
        self.calls.append("flush")

    def _run(self) -> None:
        try:
            self.response = read_response(self._answer(self), "GET")
        except Failure as failure:
            self.answered.set_exception(failure)
        else:
            self.answered.set_result(None)

    def first_pieces(self) -> tuple[list[bytes], bool, list[bytes]]:
        self.calls.append("first_pieces")
        over = self.response.content_length >= 0
        return [b"".join(self.body) or b"nothing"], over, []

    def relay_body(self, waiter: asyncio.Future[object]) -> None:
        self.calls.append("relay_body")
        self.later = waiter

    def release(self) -> None:
        self._end("release")

    def abort(self) -> None:
        self._end("abort")

    def _end(self, how: str) -> None:
        self.calls.append(how)
        if self.client is not None:
            self.client.upstream = None

    def detach(self) -> tuple[asyncio.Transport, bytes, bool]:
        raise AssertionError("no tunnel")

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def read_in_small_chunks(self) -> None: ...


Answer = Callable[[InProcess], bytes]


def ok(it: InProcess) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % max(len(b"".join(it.body)), 7 * (not it.body))


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Leases:
    return Leases(monkeypatch)


class Leases:
    """What the pool has lent, and what each target answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[Answer] = [ok]
        self.lent: list[InProcess] = []

        async def lease(_: ConnectionPool, member: TargetState, group: alb.TargetGroup, client: Any) -> UpstreamExchange:
            await asyncio.sleep(0)
            exchange = InProcess(member, self.answers[min(len(self.lent), len(self.answers) - 1)])
            self.lent.append(exchange)
            return exchange

        monkeypatch.setattr(ConnectionPool, "lease", lease)


async def test_request_is_served_by_a_target_without_a_socket(leases: Leases) -> None:
    """Head, answer, keep-alive of the client: no connection to a target is opened for it."""
    async with running(*_ADDRESSES) as it:
        client = await it.client()
        for _ in range(2):
            got = await client.get()
            assert (got.status, got.body) == (200, b"nothing")
        assert it.counters["RequestCount"] == it.counters["HTTPCode_Target_2XX_Count"] == 2
        assert it.counters["NewConnectionCount"] == 1
    for lent in leases.lent:
        lines = lent.head.split(b"\r\n")
        assert (lines[0], any(line.startswith(b"Host: example.com") for line in lines)) == (b"GET / HTTP/1.1", True), lines
    assert [lent.calls for lent in leases.lent] == [["write_body", "first_pieces", "release"]] * 2


async def test_body_that_has_come_is_given_in_one_call(leases: Leases) -> None:
    """Unframed, whatever the framing of the client was."""
    async with running(*_ADDRESSES) as it:
        client = await it.client()
        client.send(request("POST", "/", "Content-Length: 5", body=b"hello"))
        assert (await client.response()).body == b"hello"
    assert leases.lent[0].calls[0] == "write_body"
    assert leases.lent[0].body == [b"hello"]


async def test_body_that_is_still_coming_is_given_as_it_comes(leases: Leases) -> None:
    """Chunks of the client are taken apart; its trailers come with the end."""
    async with running(*_ADDRESSES) as it:
        client = await it.client()
        client.send(request("POST", "/", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n"))
        while not leases.lent or not leases.lent[0].body:
            await asyncio.sleep(0)
        (lent,) = leases.lent
        assert (lent.body, lent.over) == ([b"ab"], False)
        client.send(b"2\r\ncd\r\n0\r\nX-Sum: 7\r\n\r\n")
        assert (await client.response()).body == b"abcd"
        assert lent.trailers == [b"X-Sum: 7"]


async def test_response_in_parts_is_relayed(leases: Leases) -> None:
    """The target writes to the client itself until it says that it is done."""
    leases.answers = [lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    async with running(*_ADDRESSES) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        while not leases.lent or leases.lent[0].later is None:
            await asyncio.sleep(0)
        (lent,) = leases.lent
        assert lent.client is not None
        lent.client.write_body([b" and more"], True, [b"X-End: 1"])
        assert lent.later is not None
        lent.later.set_result(None)
        got = await client.response()
        assert (got.body, got.trailers) == (b"nothing and more", [b"X-End: 1"])
    assert lent.calls[-2:] == ["relay_body", "release"]


async def test_request_goes_to_another_target_if_one_fails(leases: Leases) -> None:
    """The head and the whole body are sent again; the failed exchange is aborted."""

    def fails(_: InProcess) -> bytes:
        raise Failure(FailureKind.TARGET_RESET)

    leases.answers = [fails, ok]
    async with running(*_ADDRESSES) as it:
        client = await it.client()
        client.send(request("PUT", "/", "Content-Length: 5", body=b"hello"))
        assert (await client.response()).body == b"hello"
        assert it.counters["RetryCount"] == 1
    first, second = leases.lent
    assert first.member is not second.member
    assert (first.body, second.body) == ([b"hello"], [b"hello"])
    assert first.head.splitlines()[:2] == second.head.splitlines()[:2]
    assert (first.calls[-1], second.calls[-1]) == ("abort", "release")
