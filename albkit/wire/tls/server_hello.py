"""Reads the TLS version, the cipher suite and the key exchange group from the first bytes of a TLS server.

They are the load balancer's own bytes. Python's ssl module has no call for the group before Python 3.15, and OpenSSL has none for the
version and the cipher suite of a handshake that failed.
"""

from __future__ import annotations

from typing import Final

__all__ = ("server_hello_in",)

_HANDSHAKE: Final = 22
_SERVER_HELLO: Final = 2
_SERVER_KEY_EXCHANGE: Final = 12
_SUPPORTED_VERSIONS: Final = 43
_KEY_SHARE: Final = 51
_NAMED_CURVE: Final = 3
_BEFORE_SESSION_ID: Final = 2 + 32
"""A version and 32 random bytes."""
_VERSIONS: Final = {0x0301: "TLSv1", 0x0302: "TLSv1.1", 0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
"""In OpenSSL's spelling."""
_GROUPS: Final = {
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    26: "brainpoolP256r1",
    27: "brainpoolP384r1",
    28: "brainpoolP512r1",
    29: "x25519",
    30: "x448",
    256: "ffdhe2048",
    257: "ffdhe3072",
    258: "ffdhe4096",
    259: "ffdhe6144",
    260: "ffdhe8192",
    4587: "SecP256r1MLKEM768",
    4588: "X25519MLKEM768",
    4589: "SecP384r1MLKEM1024",
}
"""IANA's names (TLS Supported Groups registry)."""


def server_hello_in(data: bytes) -> tuple[str, int, str]:
    """The TLS version, the number of the cipher suite and the name of the key exchange group that a server has chosen.

    Args:
        data: What the server sends first: the ServerHello (RFC 8446 section 4.1.3), and with TLS 1.2 the messages up to the
            ServerKeyExchange (RFC 8422 section 5.4).

    Returns:
        Each is empty or 0 if it is not in there: an alert has none, and a TLS 1.2 session that is resumed, or whose key exchange is not
            ECDHE, has no group.
    """
    version, cipher, group = "", 0, ""
    for kind, body in _messages(data):
        if kind == _SERVER_HELLO:
            chosen, cipher, share = _of_hello(body)
            version, group = _VERSIONS.get(chosen, ""), _GROUPS.get(share, "")
        elif kind == _SERVER_KEY_EXCHANGE and body[:1] == bytes((_NAMED_CURVE,)):
            group = _GROUPS.get(int.from_bytes(body[1:3], "big"), "")
    return version, cipher, group


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    """The handshake messages in the records that are not encrypted."""
    joined = b""
    at = 0
    while at + 5 <= len(data) and data[at] == _HANDSHAKE:
        end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
        joined += data[at + 5 : end]
        at = end
    messages: list[tuple[int, bytes]] = []
    at = 0
    while at + 4 <= len(joined):
        end = at + 4 + int.from_bytes(joined[at + 1 : at + 4], "big")
        messages.append((joined[at], joined[at + 4 : end]))
        at = end
    return messages


def _of_hello(hello: bytes) -> tuple[int, int, int]:
    """Version, cipher suite and group of a ServerHello; the group is 0 if there is none."""
    version, group = int.from_bytes(hello[:2], "big"), 0
    at = _BEFORE_SESSION_ID + 1 + int.from_bytes(hello[_BEFORE_SESSION_ID : _BEFORE_SESSION_ID + 1], "big")
    cipher = int.from_bytes(hello[at : at + 2], "big")
    # Skip the cipher suite, the compression method, and the length of the extensions.
    at += 2 + 1 + 2
    while at + 4 <= len(hello):
        kind, size = int.from_bytes(hello[at : at + 2], "big"), int.from_bytes(hello[at + 2 : at + 4], "big")
        value = int.from_bytes(hello[at + 4 : at + 6], "big")
        if kind == _SUPPORTED_VERSIONS:
            version = value
        elif kind == _KEY_SHARE:
            group = value
        at += 4 + size
    return version, cipher, group
