"""From HTTP/2 to HTTP/1.1: nothing that a client writes may become another request, or another field, at the target.

The target keeps every byte that it was sent.
"""

from __future__ import annotations

import asyncio
import re

import hpack
import pytest

import albkit as alb
from tests.functional.test_http2_clients import h2
from tests.support.gateway import Running, running
from tests.support.h2_client import H2Client
from tests.support.h2_frames import END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, Field, block, data, frame, headers, integer
from tests.support.peers import Target, target
from tests.support.secure import echo_bodies

REQUEST = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "example.com")]


def with_field(*fields: Field) -> list[Field]:
    return [*REQUEST, *fields]


def instead(**pseudo: str) -> list[Field]:
    """The request with other pseudo-fields."""
    return [(name, pseudo.get(name[1:], value)) for name, value in REQUEST]


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: internal\r\n\r\n"
MALFORMED: dict[str, list[Field]] = {
    "CRLF in a value": with_field(("x", f"a\r\n\r\n{SMUGGLED}")),
    "CR in a value": with_field(("x", "a\rx-admin: 1")),
    "LF in a value": with_field(("x", "a\nx-admin: 1")),
    "NUL in a value": with_field(("x", "a\0b")),
    "CRLF in a name": with_field(("x: a\r\nx-admin", "1")),
    "LF in a name": with_field(("x\nx-admin", "1")),
    "NUL in a name": with_field(("x\0", "1")),
    "colon in a name": with_field(("x-admin: 1\r\ny", "1")),
    "colon at the end of a name": with_field(("transfer-encoding:", "chunked")),
    "blank in a name": with_field(("transfer-encoding ", "chunked")),
    "blank before a name": with_field((" transfer-encoding", "chunked")),
    "tab in a name": with_field(("transfer-encoding\t", "chunked")),
    "upper case": with_field(("Transfer-Encoding", "chunked")),
    "one upper case letter": with_field(("transfer-Encoding", "chunked")),
    "empty name": with_field(("", "1")),
    "high byte in a name": with_field(("x\xe9", "1")),
    "DEL in a value": with_field(("x", "a\x7f")),
    "blank before a value": with_field(("content-length", " 5")),
    "blank behind a value": with_field(("x", "a ")),
    "tab before a value": with_field(("x", "\ta")),
    "transfer-encoding": with_field(("transfer-encoding", "chunked")),
    "transfer-encoding identity": with_field(("transfer-encoding", "identity")),
    "connection": with_field(("connection", "x-forwarded-for")),
    "keep-alive": with_field(("keep-alive", "timeout=5")),
    "proxy-connection": with_field(("proxy-connection", "close")),
    "upgrade": with_field(("upgrade", "websocket")),
    "te": with_field(("te", "trailers, chunked")),
    "two lengths": with_field(("content-length", "0"), ("content-length", "5")),
    "two equal lengths": with_field(("content-length", "0"), ("content-length", "0")),
    "list of lengths": with_field(("content-length", "0, 0")),
    "signed length": with_field(("content-length", "+0")),
    "negative length": with_field(("content-length", "-1")),
    "octal length": with_field(("content-length", "00")),
    "hexadecimal length": with_field(("content-length", "0x0")),
    "huge length": with_field(("content-length", "9" * 40)),
    "blank in a path": instead(path="/ HTTP/1.1"),
    "request in a path": instead(path=f"/ HTTP/1.1\r\nHost: x\r\n\r\n{SMUGGLED}"),
    "CR in a path": instead(path="/\r/"),
    "LF in a path": instead(path="/\n/"),
    "NUL in a path": instead(path="/\0"),
    "tab in a path": instead(path="/\t"),
    "fragment in a path": instead(path="/#a"),
    "empty path": instead(path=""),
    "path without a slash": instead(path="example"),
    "path with a host": instead(path="http://internal/"),
    "star as path": instead(path="*"),
    "blank in a method": instead(method="GET / HTTP/1.1\r\nx: "),
    "blank behind a method": instead(method="GET "),
    "CR in a method": instead(method="GET\r"),
    "empty method": instead(method=""),
    "colon in a method": instead(method="GET:"),
    "CRLF in the authority": instead(authority=f"a\r\n\r\n{SMUGGLED}"),
    "blank in the authority": instead(authority="a b"),
    "user in the authority": instead(authority="admin@example.com"),
    "path in the authority": instead(authority="example.com/admin"),
    "question mark in the authority": instead(authority="example.com?x"),
    "number sign in the authority": instead(authority="example.com#x"),
    "empty authority": instead(authority=""),
    "comma in the authority": instead(authority="a,b"),
    "scheme with CRLF": instead(scheme="http\r\nx: y"),
    "other scheme": instead(scheme="ftp"),
    "host that differs": with_field(("host", "internal")),
    "two hosts": with_field(("host", "example.com"), ("host", "example.com")),
    "host with CRLF": with_field(("host", "example.com\r\nx: y")),
    "neither authority nor host": REQUEST[:3],
    "cookie with CRLF": with_field(("cookie", "a=1"), ("cookie", "b=2\r\nx-admin: 1")),
    "cookie with NUL": with_field(("cookie", "a=\0")),
    "pseudo-field twice": [*REQUEST, (":path", "/admin")],
    "pseudo-field behind a field": [*REQUEST[:3], ("x", "1"), REQUEST[3]],
    "pseudo-field of a response": [*REQUEST, (":status", "200")],
    "unknown pseudo-field": [*REQUEST, (":admin", "1")],
    "protocol without CONNECT": [*REQUEST, (":protocol", "websocket")],
    "no method": REQUEST[1:],
    "no scheme": [REQUEST[0], *REQUEST[2:]],
    "no path": [*REQUEST[:2], REQUEST[3]],
    "no field at all": [],
}


async def refused(it: Running, origin: Target, wire: bytes, stream: int = 1) -> None:
    """Nothing of it reaches the target, and the connection goes on."""
    client = await h2(it)
    client.send(wire)
    answer = await client.answer(stream)
    assert answer.reset == PROTOCOL_ERROR or answer.status in (400, 405), answer
    await client.alive()
    await client.close()
    assert not any(conversation.received for conversation in origin.conversations)


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_is_refused_before_a_target_sees_a_byte(name: str) -> None:
    """However it is encoded, with a body and without."""
    async with target() as origin, running(origin.address) as it:
        for encoded in (block(MALFORMED[name]), hpack.Encoder().encode(MALFORMED[name])):
            await refused(it, origin, frame(HEADERS, END_STREAM | END_HEADERS, 1, encoded))
            await refused(it, origin, frame(HEADERS, END_HEADERS, 1, encoded) + data(1, SMUGGLED.encode(), end=True))


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_request_behind_a_right_one_is_refused(name: str) -> None:
    """What was learned of earlier requests of the connection must not let it pass."""
    async with target() as origin, running(origin.address) as it:
        for plain in (True, False):
            client = await h2(it)
            assert (await client.get()).status == 200
            assert (await client.get("/other")).status == 200
            before = len(origin.heads)
            encoded = block(MALFORMED[name]) if plain else client.encoder.encode(MALFORMED[name])
            client.send(frame(HEADERS, END_STREAM | END_HEADERS, 5, encoded))
            answer = await client.answer(5)
            assert answer.reset == PROTOCOL_ERROR or answer.status in (400, 405), answer
            client._next_stream = 7
            assert (await client.get()).status == 200
            assert len(origin.heads) == before + 1


BODIES: dict[str, list[bytes]] = {
    "too short": [data(1, b"abc", end=True)],
    "nothing": [data(1, b"", end=True)],
    "too long": [data(1, b"abcdef" + SMUGGLED.encode(), end=True)],
    "too long in two frames": [data(1, b"abcde"), data(1, SMUGGLED.encode(), end=True)],
    "too short before trailers": [data(1, b"abc"), headers(1, [("x", "1")])],
    "nothing before trailers": [headers(1, [("x", "1")])],
}


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
@pytest.mark.parametrize("name", BODIES)
async def test_body_that_belies_its_length_is_refused(name: str, method: str) -> None:
    """The target may have got the head, and never more than so many bytes; its connection is not used again."""
    async with target(echo_bodies) as origin, running(origin.address) as it:
        client = await h2(it)
        client.send(headers(1, [(":method", method), *REQUEST[1:], ("content-length", "5")], end=False), *BODIES[name])
        answer = await client.answer(1)
        assert answer.reset == PROTOCOL_ERROR, answer
        await client.alive()
        for conversation in origin.conversations:
            await conversation.over.wait()
            assert len(conversation.received.partition(b"\r\n\r\n")[2]) <= 5
            assert b"smuggled" not in conversation.received
        assert (await (await h2(it)).get()).status == 200


async def test_length_with_end_stream_is_refused() -> None:
    """There is no body to come."""
    async with target() as origin, running(origin.address) as it:
        await refused(it, origin, headers(1, with_field(("content-length", "5"))))


TRAILERS: dict[str, list[Field]] = {
    "pseudo-field": [(":path", "/admin")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "content-length": [("content-length", "5")],
    "host": [("host", "internal")],
    "CRLF": [("x", f"1\r\n\r\n{SMUGGLED}")],
    "upper case": [("X", "1")],
    "connection": [("connection", "close")],
}


@pytest.mark.parametrize("name", TRAILERS)
async def test_malformed_trailers_are_refused(name: str) -> None:
    """The target does not get the end of the body."""
    async with target(echo_bodies) as origin, running(origin.address) as it:
        client = await h2(it)
        client.send(headers(1, [(":method", "POST"), *REQUEST[1:]], end=False), data(1, b"body"))
        await client.alive()
        client.send(headers(1, TRAILERS[name]))
        assert (await client.answer(1)).reset == PROTOCOL_ERROR
        await client.alive()
        for conversation in origin.conversations:
            await conversation.over.wait()
            assert not conversation.received.endswith(b"0\r\n\r\n")
            assert b"smuggled" not in conversation.received
            assert b"internal" not in conversation.received


@pytest.mark.parametrize("body", [b"0\r\n\r\n" + SMUGGLED.encode(), b"5\r\n", b"\r\n", b"ffffffff\r\n"])
async def test_body_that_looks_like_chunks_stays_a_body(body: bytes) -> None:
    """It is framed anew."""
    async with target(echo_bodies) as origin, running(origin.address) as it:
        client = await h2(it)
        for _ in range(2):
            stream = client.request("POST", end=False)
            for byte in body:
                client.send(data(stream, bytes((byte,))))
            client.send(data(stream, b"", end=True))
            assert (await client.answer(stream)).body == body
        assert len(origin.conversations) == 1
        assert len(re.findall(rb"POST / HTTP/1.1\r\n", origin.conversations[0].received)) == 2


async def test_every_byte_in_every_place_is_refused_or_harmless() -> None:
    """Of a name, a value, a path, a method and an authority: the target sees as many lines as there are fields, whatever stands in them."""
    heads: list[bytes] = []
    async with target() as origin, running(origin.address, limits=alb.Limits(http2_resets=100_000)) as it:
        lines = len(_lines(await _head(it, origin, [*REQUEST, ("x", "y")])))
        client = await h2(it)
        stream = -1
        for place, template in {
            "name": lambda c: with_field((f"x{c}y", "1")),
            "value": lambda c: with_field(("x", f"a{c}b")),
            "edge": lambda c: with_field(("x", f"{c}")),
            "path": lambda c: [*instead(path=f"/{c}"), ("x", "y")],
            "method": lambda c: [*instead(method=f"GE{c}T"), ("x", "y")],
            "authority": lambda c: [*instead(authority=f"a{c}b"), ("x", "y")],
        }.items():
            for code in range(256):
                count = len(origin.heads)
                client.send(headers(stream := stream + 2, template(chr(code))))
                answer = await client.answer(stream)
                if answer.reset is None and answer.status == 200:
                    assert len(origin.heads) == count + 1
                    heads.append(origin.heads[-1])
                    assert len(_lines(heads[-1])) == lines, (place, code, heads[-1])
                else:
                    assert len(origin.heads) == count
        assert len(heads) > 600


def _lines(head: bytes) -> list[bytes]:
    return re.split(rb"[\r\n]+", head.strip())


async def _head(it: Running, origin: Target, fields: list[Field]) -> bytes:
    client = await h2(it)
    client.send(headers(1, fields))
    assert (await client.answer(1)).status == 200
    return origin.heads[-1]


async def test_integers_and_strings_that_lie_about_their_length_end_the_connection() -> None:
    """HPACK from outside: nothing of it becomes a request."""
    async with target() as origin, running(origin.address) as it:
        for bad in (
            block(REQUEST) + b"\x00" + integer(2**31, 7, 0) + b"x",
            block(REQUEST) + b"\x00\x7f" + b"\xff" * 20,
            block(REQUEST) + b"\xff" + b"\xff" * 10,
            block(REQUEST) + b"\x80",
            block(REQUEST) + b"\x00\x01x\x82\xff",
            block(REQUEST)[:-3],
        ):
            client: H2Client = await h2(it)
            client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, bad))
            await client.goaway()
        await asyncio.sleep(0)
        assert origin.conversations == []
