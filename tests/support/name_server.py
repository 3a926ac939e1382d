"""A name server of this machine's own, whose zone and whose faults a test sets.

It knows nothing of wildcards, of zones below its own or of DNSSEC, and it never leaves records out of an answer but where it is told to
truncate.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

__all__ = ("FORGED", "NameServer", "name_server")

FORGED = "127.66.66.66"
"""What an answer says that is not to be believed."""
_MOST_ALIASES = 20
_TRIES = 20


class _Datagrams(asyncio.DatagramProtocol):
    """Hands what comes to the server."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        for answer in self._server.answers(data, over="UDP"):
            self._transport.sendto(answer, addr)


class NameServer:
    """Answers from a zone, or as a fault says.

    A fault is a list of what is sent for one question, in this order: `"right"`, `"failing"` (SERVFAIL), `"refusing"`, `"truncated"` (no
    records and TC, over UDP only), `"wrong id"`, `"wrong question"`, `"garbage"`. An empty list is silence.
    """

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dns.rrset.RRset]] = {}
        self.asked: list[tuple[str, str, str]] = []
        """Name, kind and transport of every question."""
        self.negative_ttl: int | None = 60
        """Of the SOA that comes with an answer without records; `None` for no SOA."""
        self.faults: dict[tuple[str | None, str | None], tuple[str, ...]] = {}
        self.address = ""
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._heard = asyncio.Event()

    def put(self, name: str, kind: str, *values: str, ttl: int = 60) -> None:
        """From now on the name has these records of one kind; none: the name is there, and has none of that kind."""
        of_name = self.records.setdefault(name, {})
        of_name.pop(kind, None)
        if values:
            of_name[kind] = dns.rrset.from_text(name + ".", ttl, "IN", kind, *values)

    def drop(self, name: str) -> None:
        """From now on the name is not there."""
        self.records.pop(name, None)

    def fail(self, *fault: str, name: str | None = None, kind: str | None = None) -> None:
        """From now on treat queries so; only those for a name or a kind where they are given."""
        self.faults[name, kind] = fault

    def recover(self) -> None:
        """From now on answer rightly."""
        self.faults.clear()

    async def heard(self, count: int) -> None:
        """Wait until so many queries have come since the start."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._heard.clear()
                await self._heard.wait()

    async def heard_again(self, count: int = 2) -> None:
        """Wait for so many more queries: the answer to the first of them was given, and taken, when the second comes."""
        await self.heard(len(self.asked) + count)

    def answers(self, data: bytes, *, over: str) -> list[bytes]:
        """The messages for one question."""
        question = dns.message.from_wire(data)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind, over))
        self._heard.set()
        keys = ((name, kind), (name, None), (None, kind), (None, None))
        fault = next((self.faults[key] for key in keys if key in self.faults), ("right",))
        return [self._wire(question, name, kind, one, over) for one in fault]

    def _wire(self, question: dns.message.Message, name: str, kind: str, fault: str, over: str) -> bytes:
        if fault == "garbage":
            return b"\xff" * 40
        # In the order of the zone: what depends on the order of records must not show by chance only.
        return self._message(question, name, kind, fault, over).to_wire(want_shuffle=False)

    def _message(self, question: dns.message.Message, name: str, kind: str, fault: str, over: str) -> dns.message.Message:
        if fault == "wrong question":
            other = dns.message.make_query("elsewhere.test.", kind, id=question.id)
            return self._forged(other, "elsewhere.test.", kind)
        if fault == "wrong id":
            forged = self._forged(question, name + ".", kind)
            forged.id ^= 0x5555
            return forged
        answer = dns.message.make_response(question, recursion_available=True)
        if fault in ("failing", "refusing"):
            answer.set_rcode(dns.rcode.SERVFAIL if fault == "failing" else dns.rcode.REFUSED)
        elif fault == "truncated" and over == "UDP":
            answer.flags |= dns.flags.TC
        else:
            self._answer(answer, name, kind)
        return answer

    def _forged(self, question: dns.message.Message, name: str, kind: str) -> dns.message.Message:
        answer = dns.message.make_response(question)
        if kind == "A":
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", FORGED))
        return answer

    def _answer(self, answer: dns.message.Message, name: str, kind: str) -> None:
        of_name = None
        for _ in range(_MOST_ALIASES):
            of_name = self.records.get(name)
            alias = of_name.get("CNAME") if of_name is not None and kind != "CNAME" else None
            if alias is None:
                break
            answer.answer.append(alias)
            name = alias[0].target.to_text(omit_final_dot=True)
        found = of_name.get(kind) if of_name is not None else None
        if found is not None:
            answer.answer.append(found)
            return
        if of_name is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if self.negative_ttl is not None:
            words = f"ns.test. hostmaster.test. 1 3600 600 86400 {self.negative_ttl}"
            answer.authority.append(dns.rrset.from_text("test.", 3600, "IN", "SOA", words))

    async def open(self) -> None:
        """Listen on one port for both UDP and TCP."""
        for _ in range(_TRIES):
            loop = asyncio.get_running_loop()
            self._transport, _protocol = await loop.create_datagram_endpoint(lambda: _Datagrams(self), ("127.0.0.1", 0))
            port = self._transport.get_extra_info("sockname")[1]
            try:
                self._server = await asyncio.start_server(self._converse, "127.0.0.1", port)
            except OSError:
                self._transport.close()
                continue
            self.address = f"127.0.0.1:{port}"
            return
        raise OSError("no port is free for both UDP and TCP")

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                for answer in self.answers(await reader.readexactly(size), over="TCP"):
                    writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    async def close(self) -> None:
        """Listen no more."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """A running name server with an empty zone."""
    server = NameServer()
    await server.open()
    try:
        yield server
    finally:
        await server.close()
