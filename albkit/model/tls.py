"""What is known of a client's TLS session once its handshake is over. Made per connection: plain slotted classes."""

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
"""The fields of requests that tell targets of it (docs/alb.md 1.3)."""


class ClientCertificate:
    """The certificate that a client has shown (docs/alb.md 1.11)."""

    __slots__ = ("chain", "issuer", "not_after", "not_before", "serial_number", "subject")

    def __init__(self, subject: str, issuer: str, serial_number: str, not_before: str, not_after: str, chain: tuple[str, ...]) -> None:
        self.subject = subject
        """Its distinguished name, as RFC 2253 writes it."""
        self.issuer = issuer
        """That of whoever signed it."""
        self.serial_number = serial_number
        """In hexadecimal digits."""
        self.not_before = not_before
        """As ISO 8601 writes it: `2026-01-31T00:00:00Z`."""
        self.not_after = not_after
        self.chain = chain
        """In PEM, its own first, as the client has sent them; empty where a proxy before us has told its name and nothing more."""

    @property
    def leaf(self) -> str:
        """Its own, in PEM; empty where it is not known."""
        return self.chain[0] if self.chain else ""


class TlsSession:
    """What a client and the load balancer have agreed on; or it and the proxy before us, as a PROXY protocol header says."""

    __slots__ = ("alpn", "certificate", "cipher", "client_certificate", "server_name", "verify_status", "version")

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
        """As OpenSSL calls it: `TLSv1.3`."""
        self.cipher = cipher
        """As OpenSSL calls it: `ECDHE-RSA-AES128-GCM-SHA256`."""
        self.server_name = server_name
        """Whom the client has asked for (SNI), in lower case; empty for nobody."""
        self.alpn = alpn
        """The protocol agreed on; empty for none."""
        self.certificate = certificate
        """Which certificate was shown to it: the path of its file, or its SHA-256 where it has none."""
        self.client_certificate = client_certificate
        """What it has shown itself, with `mutual_authentication`; `None` for nothing."""
        self.verify_status = verify_status
        """`Success` where that was verified, empty where it was not."""
