"""Values of cookies that nobody else can make or read: authenticated encryption with secrets that may change.

A value is a nonce of 12 bytes and what AES-256-GCM makes of the plain value, in the alphabet of base64 that no client quotes.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable, Iterable, Sequence

__all__ = ("Seal",)

_NONCE = 12
_TAG = 16
_KEY = 32
_MOST_OPENED = 4096
"""Values remembered: all clients that were answered by a target in one second have the same one."""


class Seal:
    """Closes and opens values.

    Args:
        secrets: The first closes, each opens.
        lengths: Of plain values, in bytes.
        entropy: Gives unpredictable bytes.
    """

    __slots__ = ("_closed_lengths", "_entropy", "_keys", "_opened")

    def __init__(self, secrets: Sequence[bytes], lengths: Iterable[int], entropy: Callable[[int], bytes]) -> None:
        # Only here: who gives no secrets needs no cryptography.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._keys = [AESGCM(HKDF(SHA256(), _KEY, None, b"albkit stickiness cookie").derive(secret)) for secret in secrets]
        self._closed_lengths = frozenset(-(-(_NONCE + length + _TAG) * 8 // 6) for length in lengths)
        self._entropy = entropy
        self._opened: dict[bytes, bytes] = {}

    def close(self, value: bytes) -> bytes:
        """The value for a client."""
        nonce = self._entropy(_NONCE)
        return urlsafe_b64encode(nonce + self._keys[0].encrypt(nonce, value, None)).rstrip(b"=")

    def open(self, value: bytes) -> bytes:
        """The value that a client brought back; empty where it is none of ours."""
        opened = self._opened.get(value)
        if opened is not None:
            return opened
        opened = self._decrypted(value) if len(value) in self._closed_lengths else b""
        if opened:
            # Only what was ours: nobody can fill this up with values of their own making.
            if len(self._opened) >= _MOST_OPENED:
                self._opened.clear()
            self._opened[value] = opened
        return opened

    def _decrypted(self, value: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        try:
            raw = urlsafe_b64decode(value + b"=" * (-len(value) % 4))
        except Error:
            return b""
        if urlsafe_b64encode(raw).rstrip(b"=") != value:
            # Spare bits of the last character: another spelling of one of ours.
            return b""
        for key in self._keys:
            try:
                return key.decrypt(raw[:_NONCE], raw[_NONCE:], None)
            except (InvalidTag, ValueError):
                continue
        return b""
