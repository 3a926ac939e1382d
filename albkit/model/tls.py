"""What is known about a client's TLS session after the handshake. One object per connection, so these are plain classes with slots."""

from __future__ import annotations

from typing import Final

__all__ = ("TLS_FIELDS", "ClientCertificate", "TlsSession")

TLS_FIELDS: Final = (
    "X-Amzn-Tls-Version",
    "X-Amzn-Tls-Cipher-Suite",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Serial-Number",
    "X-Amzn-Mtls-Clientcert-Issuer",
    "X-Amzn-Mtls-Clientcert-Subject",
    "X-Amzn-Mtls-Clientcert-Validity",
    "X-Amzn-Mtls-Clientcert-Leaf",
)
"""The request headers that describe the client's TLS session to targets (docs/alb.md 1.3)."""


class ClientCertificate:
    """The certificate that a client has sent (docs/alb.md 1.11)."""

    __slots__ = ("chain", "issuer", "not_after", "not_before", "serial_number", "subject")

    def __init__(self, subject: str, issuer: str, serial_number: str, not_before: str, not_after: str, chain: tuple[str, ...]) -> None:
        self.subject = subject
        """Its distinguished name, in the form of RFC 2253."""
        self.issuer = issuer
        """The distinguished name of its issuer."""
        self.serial_number = serial_number
        """In hexadecimal digits."""
        self.not_before = not_before
        """In the form of ISO 8601: `2026-01-31T00:00:00Z`."""
        self.not_after = not_after
        self.chain = chain
        """In PEM, in the order in which the client has sent them, its own certificate first; empty if a proxy in front has reported only
        its name."""

    @property
    def leaf(self) -> str:
        """The client's own certificate, in PEM; empty if it is not known."""
        return self.chain[0] if self.chain else ""


class TlsSession:
    """The result of a client's TLS handshake with the load balancer, or with a proxy in front of it that sends a PROXY protocol header."""

    __slots__ = ("alpn", "certificate", "cipher", "client_certificate", "handshake_time", "server_name", "verify_status", "version")

    def __init__(
        self,
        version: str,
        cipher: str,
        *,
        server_name: str = "",
        alpn: str = "",
        certificate: str = "",
        client_certificate: ClientCertificate | None = None,
        verify_status: str = "",
    ) -> None:
        self.version = version
        """In OpenSSL's spelling: `TLSv1.3`."""
        self.cipher = cipher
        """In OpenSSL's spelling: `ECDHE-RSA-AES128-GCM-SHA256`."""
        self.server_name = server_name
        """The server name that the client has sent (SNI), in lower case; empty if it sent none."""
        self.alpn = alpn
        """The protocol negotiated by ALPN; empty if there is none."""
        self.certificate = certificate
        """The certificate that the client got: the path of its file, or its SHA-256 fingerprint if it was given as bytes."""
        self.client_certificate = client_certificate
        """The certificate that the client has sent, with `mutual_authentication`; `None` if it sent none."""
        self.verify_status = verify_status
        """`Success` if that certificate was verified, otherwise empty."""
        self.handshake_time = 0.0
        """Seconds from the client's first message of the handshake to its end; 0 if the handshake was with a proxy in front."""
