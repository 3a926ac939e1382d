"""The version, cipher suite and group in a server's first bytes, compared with what OpenSSL says, and with bytes that are anything else."""

from __future__ import annotations

import random
import ssl
import tempfile
from pathlib import Path

import pytest

from albkit.wire.tls.server_hello import server_hello_in
from tests.support.effort import cases
from tests.support.secure import client_context, issued


def flight(client: ssl.SSLContext, key: str = "ec256", ciphers: str | None = None, curve: str | None = None) -> tuple[bytes, ssl.SSLObject]:
    """What a server sends first, and the client's session when the handshake is over."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if curve is not None:
        context.set_ecdh_curve(curve)
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(*issued(key=key).write(Path(folder), "server"))
    bios = [ssl.MemoryBIO() for _ in range(4)]
    server = context.wrap_bio(bios[0], bios[1], server_side=True)
    session = client.wrap_bio(bios[2], bios[3])
    first = b""
    for _ in range(4):
        for side, outgoing, incoming in ((session, bios[3], bios[0]), (server, bios[1], bios[2])):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            data = outgoing.read()
            if side is server:
                first = first or data
            incoming.write(data)
    return first, session


def _number(name: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return next(cipher["id"] & 0xFFFF for cipher in context.get_ciphers() if cipher["name"] == name)


@pytest.mark.parametrize(
    ("version", "curve", "key", "ciphers", "group"),
    [
        ("TLSv1.3", None, "ec256", None, "x25519"),
        ("TLSv1.3", "prime256v1", "ec256", None, "secp256r1"),
        ("TLSv1.3", "secp521r1", "ec256", None, "secp521r1"),
        ("TLSv1.2", None, "rsa2048", None, "x25519"),
        ("TLSv1.2", "secp384r1", "rsa2048", None, "secp384r1"),
        ("TLSv1.2", None, "rsa2048", "AES128-GCM-SHA256", ""),
    ],
)
def test_hello_of_openssl_has_what_the_session_has(version: str, curve: str | None, key: str, ciphers: str | None, group: str) -> None:
    """TLS 1.3 names the group in the ServerHello, TLS 1.2 in a message of its own; an RSA key exchange has none."""
    client = client_context(version)
    if curve is not None:
        client.set_ecdh_curve(curve)
    data, session = flight(client, key, ciphers)
    cipher = session.cipher()
    assert cipher is not None
    assert server_hello_in(data) == (version, _number(cipher[0]), group)


def test_request_for_another_key_share_has_the_group_already() -> None:
    """The client has sent a key for its first group, and the server wants another one (HelloRetryRequest, RFC 8446 section 4.1.4)."""
    data, session = flight(client_context("TLSv1.3"), curve="secp384r1")
    version, _, group = server_hello_in(data)
    assert (version, group, session.version()) == ("TLSv1.3", "secp384r1", "TLSv1.3")


@pytest.mark.parametrize(
    "data", [b"", b"\x16", b"\x16\3\3\0\0", b"\x15\3\3\0\2\2\x28", b"\x16\3\3\xff\xff\2\0\0\x26", b"HTTP/1.1 400 \r\n\r\n"]
)
def test_other_bytes_have_nothing(data: bytes) -> None:
    """An alert, and what is no TLS at all."""
    assert server_hello_in(data)[2] == ""


def test_any_bytes_and_any_part_of_a_hello_can_be_read() -> None:
    """Nothing raises, and nothing takes long."""
    chance = random.Random(1)
    data, _ = flight(client_context("TLSv1.2"), "rsa2048")
    for size in range(0, len(data), 7):
        server_hello_in(data[:size])
    for _ in range(cases(2000)):
        broken = bytearray(data)
        for _ in range(3):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        server_hello_in(bytes(broken))
