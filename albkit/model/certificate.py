"""A server's certificate, as configured."""

from __future__ import annotations

import os
from typing import Any

import attrs

from albkit.model.validation import Faults

__all__ = ("Certificate",)

_MARK = b"-----BEGIN"


def _source(value: Any) -> Any:
    """Turn a `pathlib.Path` into text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _shown(value: Any) -> str:
    """Represent a source. Bytes are never shown: they may contain a private key, even those given as `certificate`."""
    return f"<PEM, {len(value)} bytes>" if isinstance(value, bytes) else repr(value)


@attrs.frozen
class Certificate:
    """A server's certificate with its chain and its private key, for HTTPS and TLS listeners (docs/alb.md 1.10).

    Each part is the path of a PEM file, or PEM as bytes. This class reads nothing: the load balancer reads the files when it starts, and
    again when they have changed. It accepts RSA keys of 2048 bits or more, and ECDSA keys on P-256, P-384 and P-521. The chain must be in
    order.

    Args:
        certificate: Path (text or `pathlib.Path`) or bytes: the server's own certificate first, then the intermediates, each followed by
            the certificate of its issuer. The root may be omitted.
        key: Path or bytes of the private key. Default: `None`, if the key is in the same file, or bytes, as the certificate.
        password: Text or bytes that decrypt the key. Default: `None`, for a key that is not encrypted.

    Its `repr` shows neither the password nor bytes.

    Raises:
        ConfigurationError: lists every fault.
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
            # The value is not shown: a password with a typing error is still nearly a password.
            faults.add("password", "is empty, or neither text nor bytes; leave it out if the key is not encrypted")
        faults.raise_if_any()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files to read, without duplicates; empty if everything is given as bytes."""
        return tuple(dict.fromkeys(source for source in (self.certificate, self.key) if isinstance(source, str)))


def _check_source(faults: Faults, path: str, value: object) -> None:
    if isinstance(value, bytes):
        if _MARK not in value:
            faults.add(path, "these bytes are not PEM: they contain no '-----BEGIN'; to name a file, give its path as text")
    elif not isinstance(value, str):
        faults.add(path, f"{type(value).__name__} is neither text nor bytes; give the path of a PEM file as text, or PEM as bytes")
    elif not value:
        faults.add(path, "is empty; give the path of a PEM file, or PEM as bytes")
    elif _MARK.decode() in value:
        faults.add(path, "is PEM given as text, which would be taken for a path; give PEM as bytes")
    elif "\0" in value:
        faults.add(path, f"{value!r} is not a path: it contains a NUL character")
