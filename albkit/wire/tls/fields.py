"""The request headers that describe the client's TLS session to targets (docs/alb.md 1.2, 1.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from albkit.model.tls import ClientCertificate, TlsSession

__all__ = ("TLS_FIELDS", "tls_field_lines")

_VERSION: Final = "X-Amzn-Tls-Version"
_CIPHER_SUITE: Final = "X-Amzn-Tls-Cipher-Suite"
_CHAIN: Final = "X-Amzn-Mtls-Clientcert"
_SERIAL_NUMBER: Final = "X-Amzn-Mtls-Clientcert-Serial-Number"
_ISSUER: Final = "X-Amzn-Mtls-Clientcert-Issuer"
_SUBJECT: Final = "X-Amzn-Mtls-Clientcert-Subject"
_VALIDITY: Final = "X-Amzn-Mtls-Clientcert-Validity"
_LEAF: Final = "X-Amzn-Mtls-Clientcert-Leaf"

TLS_FIELDS: Final[tuple[str, ...]] = (_VERSION, _CIPHER_SUITE, _CHAIN, _SERIAL_NUMBER, _ISSUER, _SUBJECT, _VALIDITY, _LEAF)
"""The names of the headers, unless others are configured."""

_NOT_PLAIN = re.compile(rb"[^ -~]")
_LAST_SPACE = re.compile(rb"\\? \Z")


def tls_field_lines(tls: TlsSession, *, mutual_mode: str, version_and_cipher: bool, names: Mapping[str, str]) -> bytes:
    r"""Return the header lines for a client's TLS session, joined by CRLF without one at the end; empty if there are none.

    Args:
        tls: The session.
        mutual_mode: `passthrough` writes the chain that the client has sent, `verify` the content of its certificate; any other value,
            neither.
        version_and_cipher: Whether to write the TLS version and the cipher suite.
        names: The names to use instead, by the usual name in any case.

    Unknown values have no line. Certificates are URL-encoded PEM. In all other values, a byte that is neither visible ASCII nor a space,
    and a final space, become a backslash and two hexadecimal digits, as RFC 4514 section 2.4 does for names. The owner of a certificate
    chooses the names in it, and they must not be able to end the line.
    """
    values: list[tuple[str, bytes]] = []
    if version_and_cipher:
        values += [(_VERSION, _plain(tls.version)), (_CIPHER_SUITE, _plain(tls.cipher))]
    if tls.client_certificate is not None:
        if mutual_mode == "passthrough":
            values.append((_CHAIN, _url_encoded("".join(tls.client_certificate.chain))))
        elif mutual_mode == "verify":
            values += _of_certificate(tls.client_certificate)
    if not values:
        return b""
    renamed = {name.lower(): other for name, other in names.items()}
    return b"\r\n".join(b"%s: %s" % (renamed.get(name.lower(), name).encode("ascii"), value) for name, value in values if value)


def _of_certificate(certificate: ClientCertificate) -> list[tuple[str, bytes]]:
    return [
        (_SERIAL_NUMBER, _plain(certificate.serial_number)),
        (_ISSUER, _plain(certificate.issuer)),
        (_SUBJECT, _plain(certificate.subject)),
        (_VALIDITY, _validity(certificate)),
        (_LEAF, _url_encoded(certificate.leaf)),
    ]


def _validity(certificate: ClientCertificate) -> bytes:
    known = certificate.not_before or certificate.not_after
    return _plain(f"NotBefore={certificate.not_before};NotAfter={certificate.not_after}") if known else b""


def _url_encoded(pem: str) -> bytes:
    return quote(pem, safe="+=/").encode("ascii")


def _plain(text: str) -> bytes:
    escaped = _NOT_PLAIN.sub(lambda match: b"\\%02X" % match[0][0], text.encode("utf-8", "surrogatepass"))
    return _LAST_SPACE.sub(rb"\\20", escaped)
