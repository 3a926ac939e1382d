"""What a connection goes through before its first request, byte by byte and moment by moment, without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import albkit as alb
from albkit.errors import FailureKind
from albkit.model.message import ClientAddress
from albkit.model.settings import Settings
from albkit.proxy.accept.connection_preface import ConnectionPreface
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.runtime import Runtime
from albkit.state.counters import Counters
from tests.support.clock import FakeClock
from tests.support.proxy_headers import LOCAL, SIGNATURE, UNKNOWN, v1, v2

REST = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport from 192.0.2.1 that notes what is done with it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1234), "sockname": ("192.0.2.2", 80)})
        self.protocol: Any = None
        self.aborted = 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def abort(self) -> None:
        self.aborted += 1

    def is_closing(self) -> bool:
        return bool(self.aborted)


class Next(asyncio.Protocol):
    """What the connection goes on with."""

    def __init__(self, address: ClientAddress) -> None:
        self.address = address
        self.calls: list[Any] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append(transport)

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)


class Hall:
    """One listener_runtime, and all that came through it."""

    def __init__(self, gateway: Runtime, listener: alb.Listener, clock: FakeClock) -> None:
        self.clock = clock
        self.runtime = gateway
        self.listener_runtime = ListenerRuntime(gateway, listener, 80, None)
        self.passed: list[Next] = []

    def enter(self) -> tuple[Wire, ConnectionPreface]:
        wire = Wire()
        vestibule = ConnectionPreface(self.listener_runtime, self._receive)
        wire.protocol = vestibule
        vestibule.connection_made(wire)
        return wire, vestibule

    def _receive(self, _: ListenerRuntime, address: ClientAddress) -> asyncio.Protocol:
        self.passed.append(Next(address))
        return self.passed[-1]

    def failures(self, kind: FailureKind) -> int:
        return self.runtime.counters.failures[kind]


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


async def hall(clock: FakeClock, **settings: Any) -> Hall:
    listener = alb.Listener(80, alb.FixedResponse(200, "x"), **{"proxy_protocol": "required", **settings})
    gateway = Runtime(Settings(listener), asyncio.get_running_loop(), clock, Counters())
    return Hall(gateway, listener, clock)


@pytest.fixture(autouse=True)
async def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


@pytest.mark.parametrize("header", [v1(), v2(), v2("2001:db8::1", 1, "2001:db8::2"), UNKNOWN, LOCAL])
async def test_header_in_any_two_or_three_parts_hands_on_what_stands_behind_it(header: bytes, clock: FakeClock) -> None:
    """Nothing of the header, every byte of the rest, and the connection before its first byte."""
    it = await hall(clock)
    data = header + REST[:8]
    for first in range(1, len(data)):
        for second in {first, min(first + 1, len(data)), len(data)}:
            wire, vestibule = it.enter()
            for part in (data[:first], data[first:second], data[second:]):
                if part:
                    wire.protocol.data_received(part)
            passed = it.passed[-1]
            assert passed.calls[0] is wire
            assert b"".join(passed.calls[1:]) == REST[:8]
            assert b"" not in passed.calls
            assert vestibule not in it.runtime.clients
            assert passed.address.host == ("192.0.2.1" if header in (UNKNOWN, LOCAL) else header_source(header))
            it.listener_runtime.release(passed.address.host)
    assert it.listener_runtime.limiter.count == 0


def header_source(header: bytes) -> str:
    return "2001:db8::1" if header[13:14] == b"\x21" else "203.0.113.7"


async def test_header_has_exactly_its_timeout(clock: FakeClock) -> None:
    """Ten seconds by default from the first moment, whatever comes meanwhile; told once."""
    it = await hall(clock)
    wire, vestibule = it.enter()
    for byte in v1()[:9]:
        clock.advance(1)
        vestibule.data_received(bytes([byte]))
        vestibule.sweep(clock.now)
    clock.advance(0.75)
    vestibule.sweep(clock.now)
    assert not wire.aborted
    clock.advance(0.25)
    vestibule.sweep(clock.now)
    assert wire.aborted == 1
    assert it.failures(FailureKind.PROXY_HEADER_TIMEOUT) == 1
    clock.advance(100)
    vestibule.sweep(clock.now)
    vestibule.connection_lost(None)
    assert it.runtime.counters.failures.total() == 1
    assert it.listener_runtime.limiter.count == 0
    assert not it.runtime.clients


@pytest.mark.parametrize("data", [b"G", SIGNATURE + b"\x22", b"PROXY X\r\n"])
async def test_bytes_behind_a_refusal_are_not_looked_at(data: bytes, clock: FakeClock) -> None:
    """A loop may still hand over what it has read: it is no second failure, and no way in."""
    it = await hall(clock)
    wire, vestibule = it.enter()
    vestibule.data_received(data)
    assert wire.aborted == 1
    vestibule.data_received(v1() + REST)
    vestibule.eof_received()
    vestibule.connection_lost(ConnectionResetError())
    assert not it.passed
    assert it.runtime.counters.failures.total() == 1
    assert it.runtime.counters.active_connections == 0
    assert it.listener_runtime.limiter.count == 0


async def test_stop_while_a_header_is_awaited_tells_nothing(clock: FakeClock) -> None:
    """What comes behind it is not taken for a client either."""
    it = await hall(clock)
    wire, vestibule = it.enter()
    vestibule.data_received(b"PROXY")
    vestibule.stop()
    vestibule.data_received(v1()[5:] + REST)
    vestibule.connection_lost(None)
    assert wire.aborted
    assert not it.passed
    assert not it.runtime.counters.failures
    assert it.listener_runtime.limiter.count == 0


async def test_gateway_is_never_without_the_client_while_it_is_handed_on(clock: FakeClock) -> None:
    """A stop that comes in that moment must find it in one room or the other."""
    it = await hall(clock)
    _, vestibule = it.enter()
    found: list[bool] = []

    def look(listener_runtime: ListenerRuntime, address: ClientAddress) -> asyncio.Protocol:
        found.append(vestibule in it.runtime.clients)
        return Next(address)

    vestibule._receive = look
    vestibule.data_received(v1())
    assert found == [True]
    assert vestibule not in it.runtime.clients
