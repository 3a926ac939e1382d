"""Authenticated encryption of cookie values, with secrets that can be rotated: nobody else can create or read a value.

A sealed value is a nonce of 12 bytes and the output of AES-256-GCM, in URL-safe base64 without padding, which no client needs to quote.
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
"""Opened values that are cached: all clients whose responses came from one target in one second have the same value."""


class Seal:
    """Encrypts and decrypts values.

    Args:
        secrets: The first one encrypts, and all of them decrypt.
        lengths: The possible lengths of plain values in bytes. Values of other lengths are not decrypted at all.
        entropy: Returns unpredictable bytes.
    """

    __slots__ = ("_closed_lengths", "_entropy", "_keys", "_opened")

    def __init__(self, secrets: Sequence[bytes], lengths: Iterable[int], entropy: Callable[[int], bytes]) -> None:
        # Imported here, because the package is optional: it is needed only with secrets.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._keys = [AESGCM(HKDF(SHA256(), _KEY, None, b"albkit stickiness cookie").derive(secret)) for secret in secrets]
        self._closed_lengths = frozenset(-(-(_NONCE + length + _TAG) * 8 // 6) for length in lengths)
        self._entropy = entropy
        self._opened: dict[bytes, bytes] = {}

    def close(self, value: bytes) -> bytes:
        """Return the sealed value for a client."""
        nonce = self._entropy(_NONCE)
        return urlsafe_b64encode(nonce + self._keys[0].encrypt(nonce, value, None)).rstrip(b"=")

    def open(self, value: bytes) -> bytes:
        """Return the plain value of a cookie; empty if it was not sealed with one of the secrets."""
        opened = self._opened.get(value)
        if opened is not None:
            return opened
        opened = self._decrypted(value) if len(value) in self._closed_lengths else b""
        if opened:
            # Only values that decrypted: clients cannot fill the cache with values that they made up.
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
            # The unused bits of the last character differ. Only one spelling of a value is accepted.
            return b""
        for key in self._keys:
            try:
                return key.decrypt(raw[:_NONCE], raw[_NONCE:], None)
            except (InvalidTag, ValueError):
                continue
        return b""
