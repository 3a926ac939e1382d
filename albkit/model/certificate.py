"""What a server shows to its clients."""

from __future__ import annotations

import os
from typing import Any

import attrs

from albkit.model.validation import Faults

__all__ = ("Certificate",)

_MARK = b"-----BEGIN"


def _source(value: Any) -> Any:
    """A `pathlib.Path` becomes the text of it."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _shown(value: Any) -> str:
    """Never bytes: a key may stand in them, in the certificate's too."""
    return f"<PEM, {len(value)} bytes>" if isinstance(value, bytes) else repr(value)


@attrs.frozen
class Certificate:
    """A server's certificate with its chain and its key, for HTTPS and TLS listeners (docs/alb.md 1.10).

    Each is the path of a PEM file, or PEM as bytes. Nothing is read here: the files are read when the load balancer starts, and again
    when they have changed. RSA keys of 2048 bits and more and ECDSA keys of P-256, P-384 and P-521 are taken; a chain must be in order.

    Args:
        certificate: Path (text or `pathlib.Path`) or bytes: the server's own certificate first, then the intermediates, each followed by
            that of its issuer. The root may be left out.
        key: Path or bytes of its private key; `None` (default) where it stands in the same file, or bytes, as the certificate.
        password: Text or bytes that an encrypted key is decrypted with; `None` (default) for a key that is not encrypted.

    Neither the password nor bytes are shown in its `repr`.

    Raises:
        ConfigurationError: listing every fault.
    """

    certificate: str | bytes = attrs.field(converter=_source, repr=_shown)
    key: str | bytes | None = attrs.field(default=None, converter=_source, repr=_shown)
    password: str | bytes | None = attrs.field(default=None, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        faults = Faults("Certificate")
        _check_source(faults, "certificate", self.certificate)
        if self.key is not None:
            _check_source(faults, "key", self.key)
        if self.password is not None and not (isinstance(self.password, str | bytes) and self.password):
            # Not shown: what is wrong with it may be a typing error only.
            faults.add("password", "is not text or bytes, or is empty; drop it where the key is not encrypted")
        faults.raise_if_any()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths that it is read from, each once: none where all of it is bytes."""
        return tuple(dict.fromkeys(source for source in (self.certificate, self.key) if isinstance(source, str)))


def _check_source(faults: Faults, path: str, value: object) -> None:
    if isinstance(value, bytes):
        if _MARK not in value:
            faults.add(path, "these bytes are not PEM: there is no '-----BEGIN' in them; for a file give its path as text")
    elif not isinstance(value, str):
        faults.add(path, f"{type(value).__name__} is not the path of a PEM file, or PEM as bytes")
    elif not value:
        faults.add(path, "is empty; give the path of a PEM file, or PEM as bytes")
    elif _MARK.decode() in value:
        faults.add(path, "is PEM, but text is the path of a file; give PEM as bytes")
    elif "\0" in value:
        faults.add(path, f"{value!r} names no file: there is a NUL in it")
