"""Headers of the PROXY protocol, made and read without albkit's own code; and a client that speaks TLS behind them."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import albkit as alb
from tests.support.balancing import Balancing, balancing
from tests.support.peers import Conversation, Script

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
UNKNOWN = b"PROXY UNKNOWN\r\n"

_LINE = re.compile(rb"PROXY (TCP4|TCP6|UNKNOWN)(?: (\S+) (\S+) (\d+) (\d+))?\r\n")


def v1(source: str = "203.0.113.7", port: int = 4711, to: str = "198.51.100.1", to_port: int = 443) -> bytes:
    """The line of version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {to} {port} {to_port}\r\n".encode()


def v2(source: str = "203.0.113.7", port: int = 4711, to: str = "198.51.100.1", to_port: int = 443, tlvs: bytes = b"") -> bytes:
    """The header of version 2."""
    one, other = ipaddress.ip_address(source).packed, ipaddress.ip_address(to).packed
    content = one + other + struct.pack("!HH", port, to_port) + tlvs
    return SIGNATURE + bytes((0x21, 0x11 if len(one) == 4 else 0x21)) + struct.pack("!H", len(content)) + content


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def tls_tlvs(
    version: str = "TLSv1.3", cipher: str = "TLS_AES_256_GCM_SHA384", *, name: str = "", sni: str = "", client: int = 0x01
) -> bytes:
    """What a proxy says that has ended a client's TLS: PP2_TYPE_SSL, and the server name where there is one."""
    inner = tlv(0x21, version.encode()) + tlv(0x23, cipher.encode()) + (tlv(0x22, name.encode()) if name else b"")
    return (tlv(0x02, sni.encode()) if sni else b"") + tlv(0x20, bytes((client | (0x06 if name else 0),)) + bytes(4) + inner)


class Header:
    """A header as a target has read it."""

    def __init__(self, raw: bytes, source: tuple[str, int] | None, destination: tuple[str, int] | None, tlvs: dict[int, bytes]) -> None:
        self.raw = raw
        self.source = source
        """`None` where it says that nothing is known, or that the connection is the proxy's own."""
        self.destination = destination
        self.tlvs = tlvs
        """Those within PP2_TYPE_SSL among them."""

    @property
    def is_local(self) -> bool:
        """Whether the connection is the proxy's own, as version 2 says it."""
        return self.raw[:13] == SIGNATURE + b"\x20"


async def header_of(conversation: Conversation) -> Header:
    """Read the header, of either version, that a connection must begin with."""
    first = await conversation.read_exactly(len(UNKNOWN))
    if first.startswith(b"PROXY "):
        line = first if first.endswith(b"\r\n") else first + await conversation.read_until(b"\r\n")
        match = _LINE.fullmatch(line)
        assert match is not None, line
        assert len(line) <= 107
        if match[1] == b"UNKNOWN":
            return Header(line, None, None, {})
        return Header(line, (match[2].decode(), int(match[4])), (match[3].decode(), int(match[5])), {})
    head = first + await conversation.read_exactly(16 - len(first))
    assert head.startswith(SIGNATURE), head
    content = await conversation.read_exactly(int.from_bytes(head[14:16], "big"))
    assert head[12] in (0x20, 0x21)
    if head[12] == 0x20 or head[13] == 0:
        return Header(head + content, None, None, _tlvs(content))
    size = {0x11: 4, 0x21: 16}[head[13]]
    ports = struct.unpack_from("!HH", content, 2 * size)
    hosts = [str(ipaddress.ip_address(content[start : start + size])) for start in (0, size)]
    return Header(head + content, (hosts[0], ports[0]), (hosts[1], ports[1]), _tlvs(content[2 * size + 4 :]))


def _tlvs(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        kind, size = struct.unpack_from("!BH", data)
        value, data = data[3 : 3 + size], data[3 + size :]
        assert len(value) == size
        assert kind not in found
        found[kind] = value
        if kind == 0x20:
            found.update(_tlvs(value[5:]))
    return found


def behind_header(headers: list[Header], script: Script) -> Script:
    """A script that reads and keeps a header, then goes on as told."""

    async def script_of_all(conversation: Conversation) -> None:
        headers.append(await header_of(conversation))
        await script(conversation)

    return script_of_all


class TlsClient:
    """Speaks TLS over a client in raw bytes."""

    def __init__(self, client: Any, context: ssl.SSLContext, name: str | None = "localhost") -> None:
        self.client = client
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    def hello(self) -> bytes:
        """Its first bytes."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.session.do_handshake()
        return self._outgoing.read()

    async def shake_hands(self) -> None:
        """Go on behind `hello`."""
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                await self._exchange()
            else:
                self.client.send(self._outgoing.read())
                return

    async def _exchange(self) -> None:
        self.client.send(self._outgoing.read())
        data = await self.client.read()
        self._incoming.write(data) if data else self._incoming.write_eof()

    async def ask(self, data: bytes) -> bytes:
        """Send a request; the first bytes that come back."""
        self.session.write(data)
        while True:
            try:
                return self.session.read(65536)
            except ssl.SSLWantReadError:
                await self._exchange()


@contextlib.asynccontextmanager
async def all_going(*listeners: alb.Listener, **settings: Any) -> AsyncIterator[Balancing]:
    """A load balancer with these listeners; at the end no guest may be counted, and nothing else be left."""
    async with balancing(*listeners, **settings) as it:
        entrances = [running.listener_runtime for running in it.load_balancer.listeners]
        yield it
        entrances += [running.listener_runtime for running in it.load_balancer.listeners]
    for listener_runtime in entrances:
        assert listener_runtime.limiter.count == 0
        assert not listener_runtime.limiter._of_client
