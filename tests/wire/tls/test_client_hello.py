"""Whom a ClientHello asks for, whatever is sent in its place."""

from __future__ import annotations

import random
import ssl

import pytest

from albkit.wire.tls.client_hello import server_name_in


def hello(name: str | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What the standard library sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


HELLO = hello("www.example.com")


def split(sent: bytes, size: int) -> bytes:
    """The same handshake in records of so many bytes."""
    body = sent[5:]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(sent[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def built(*extensions: tuple[int, bytes]) -> bytes:
    """A ClientHello by hand."""
    listed = b"".join(kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value for kind, value in extensions)
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(listed).to_bytes(2, "big") + listed
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + len(message).to_bytes(2, "big") + message


def naming(name: bytes, kind: int = 0) -> tuple[int, bytes]:
    """The extension for a name."""
    entry = bytes([kind]) + len(name).to_bytes(2, "big") + name
    return 0, len(entry).to_bytes(2, "big") + entry


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("name", "said"),
    [("www.example.com", "www.example.com"), ("WWW.Example.com", "www.example.com"), ("a" * 63, "a" * 63), (None, ""), ("127.0.0.1", "")],
)
def test_name_of_a_real_client_is_read(name: str | None, said: str, version: ssl.TLSVersion) -> None:
    """Addresses are none (RFC 6066 section 3)."""
    assert server_name_in(hello(name, version)) == said


def test_part_of_a_hello_asks_for_more() -> None:
    """Whatever the part, of one record and of many; what comes behind it does not matter."""
    for sent in (HELLO, split(HELLO, 50)):
        for size in range(len(sent)):
            assert server_name_in(sent[:size]) is None, size
        assert server_name_in(sent) == "www.example.com"
        assert server_name_in(sent + b"anything") == "www.example.com"


def test_name_is_found_among_other_extensions() -> None:
    """In any place; its dot at the end goes."""
    assert server_name_in(built((16, b"x" * 10), naming(b"a.example."), (43, b""))) == "a.example"
    assert server_name_in(built((16, b"x" * 10), (43, b""))) == ""


@pytest.mark.parametrize("name", [b"", b"\xff", "ä".encode(), b"a b", b"a\r\nb", b"a\0b", b"a\x7f", b" ", b"."], ids=repr)
def test_name_that_is_none_is_nobody(name: bytes) -> None:
    """Nothing that could end a line, or that is not ASCII, gets further."""
    assert server_name_in(built(naming(name))) == ""


def test_name_of_another_kind_is_nobody() -> None:
    """There is only one kind."""
    assert server_name_in(built(naming(b"a.example", kind=1))) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\1\3\1",
        b"\x15\3\1\0\2\2\x28",
        b"\x16\3\1\0\4\2\0\0\0",
        b"\x16\3\1\x40\0\1\xff\xff\xff",
        b"\x16\3\1\0\0" * 100,
        split(HELLO, 1),
        b"\x16\3\1\0\5\1\0\0\1\0",
        b"\x16\3\1\0\x0a\1\0\0\6" + b"\xff" * 6,
    ],
    ids=map(str, range(9)),
)
def test_what_is_no_hello_is_nobody(data: bytes) -> None:
    """At once: nothing more is waited for, and TLS may say what is wrong."""
    assert server_name_in(data) == ""


def test_damaged_hello_raises_nothing() -> None:
    """Of bytes turned, taken out and doubled."""
    chance = random.Random(7)
    for _ in range(3000):
        sent = bytearray(HELLO)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(sent))
            sent[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        name = server_name_in(bytes(sent))
        assert name is None or name.isascii()
