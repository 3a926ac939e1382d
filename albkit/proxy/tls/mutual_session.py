"""The TLS session of a client that is asked for a certificate, with the interface of the standard library's `SSLObject`."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from OpenSSL import SSL

from albkit.model.tls import ClientCertificate
from albkit.proxy.tls.client_certificates import INVALID, REASONS, TOO_LARGE, client_certificate, der
from albkit.proxy.tls.openssl_errors import WANT_READ, forget_errors, ssl_error, translation

__all__ = ("Findings", "MutualSession")

_Result = TypeVar("_Result")
_CHAIN_MAX: Final = 64 * 1024
_RECORD = 16 * 1024
"""The most plaintext in one record, so no read returns more (RFC 8446 section 5.1)."""
_READ = 64 * 1024


class Findings:
    """What OpenSSL's callbacks learn about one connection. It refers neither to session nor connection, which would be a reference
    cycle."""

    __slots__ = ("certificate", "certificate_seen", "choose", "default", "detail", "failure", "hello_seen", "server_name")

    def __init__(self, default: SSL.Context, choose: Callable[[str], SSL.Context | None]) -> None:
        # Referenced for the whole connection: OpenSSL calls its callbacks even after another context was chosen.
        self.default = default
        self.choose: Callable[[str], SSL.Context | None] | None = choose
        self.server_name = ""
        self.certificate: ClientCertificate | None = None
        self.failure = ""
        self.detail = ""
        """Details about the failure."""
        self.hello_seen = False
        """Whether a ClientHello was accepted."""
        self.certificate_seen = False
        """Whether the client's certificate was looked at."""


class _Incoming:
    """Bytes from the client."""

    __slots__ = ("_connection", "pending")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self.pending = 0
        """An upper bound of the bytes not consumed yet; exactly 0 once a call has raised `SSLWantReadError`."""

    def write(self, data: bytes) -> int:
        if data:
            self._connection.bio_write(data)
            self.pending += len(data)
        return len(data)

    def write_eof(self) -> None:
        self._connection.bio_shutdown()


class _Outgoing:
    """Bytes for the client."""

    __slots__ = ("_buffered", "_connection")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._buffered = b""

    @property
    def pending(self) -> int:
        self._buffered = self.read()
        return len(self._buffered)

    def read(self) -> bytes:
        pieces = [self._buffered] if self._buffered else []
        self._buffered = b""
        while True:
            try:
                piece = self._connection.bio_read(_READ)
            except SSL.WantReadError:
                break
            pieces.append(piece)
            if len(piece) < _READ:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class MutualSession:
    """The TLS session of one client: replaces an `SSLObject` and its two `MemoryBIO` objects.

    Args:
        default: The context for a client that sends no server name, or one that `choose` does not know.
        choose: Returns the context for a server name in lower case, `None` for the default. It is released after the handshake.

    Methods raise only `ssl.SSLError` and its subclasses. Neither this object's parts nor the callbacks refer to it, so there is no
    reference cycle.
    """

    __slots__ = ("_certificate", "_connection", "_established", "_findings", "incoming", "outgoing")

    def __init__(self, default: SSL.Context, choose: Callable[[str], SSL.Context | None]) -> None:
        self._findings = Findings(default, choose)
        connection = self._connection = SSL.Connection(default, None)
        connection.set_app_data(self._findings)
        connection.set_accept_state()
        self.incoming = _Incoming(connection)
        self.outgoing = _Outgoing(connection)
        self._established = False
        self._certificate: ClientCertificate | None = None

    @property
    def server_hostname(self) -> str:
        """The server name that the client has sent (SNI), in lower case and ASCII; empty if it sent none."""
        return self._findings.server_name

    @property
    def failure(self) -> str:
        """What was wrong with the client's certificate if the handshake failed, in ALB's words (docs/alb.md 7.2); otherwise empty."""
        return self._findings.failure

    @property
    def failure_detail(self) -> str:
        """More about that failure, as text; otherwise empty."""
        return self._findings.detail

    @property
    def verify_status(self) -> str:
        """`Success` if a certificate was verified, otherwise empty."""
        return "Success" if self._established and self._findings.default.get_app_data() == "verify" else ""

    def client_certificate(self) -> ClientCertificate | None:
        """The client's certificate after the handshake. After a failed handshake, the certificate that was wrong, if it could be read.

        That may be one of the issuers that the client has sent: OpenSSL stops there.
        """
        return self._certificate or self._findings.certificate

    def version(self) -> str | None:
        """In OpenSSL's spelling: `TLSv1.3`; `None` before the end of the handshake."""
        return self._connection.get_protocol_version_name() if self._established else None

    def cipher(self) -> tuple[str, str, int] | None:
        """Its name, the protocol it belongs to, and its secret bits; `None` before the end of the handshake."""
        name = self._connection.get_cipher_name() if self._established else None
        if name is None:
            return None
        return name, self._connection.get_cipher_version() or "", self._connection.get_cipher_bits() or 0

    def selected_alpn_protocol(self) -> str | None:
        """The negotiated protocol; `None` if there is none."""
        return self._connection.get_alpn_proto_negotiated().decode("ascii") or None

    def pending(self) -> int:
        """Bytes of plaintext that can be read at once."""
        return self._connection.pending()

    def do_handshake(self) -> None:
        """Continue the handshake.

        Raises:
            ssl.SSLWantReadError: more bytes from the client are needed.
            ssl.SSLError: it has failed. `outgoing` contains the alert; `failure` is ALB's error if the client's certificate is the cause.
        """
        if self._established:
            return
        if self._findings.failure:
            raise ssl_error(ssl.SSLCertVerificationError, ssl.SSL_ERROR_SSL, "CERTIFICATE_VERIFY_FAILED")
        try:
            self._do(self._connection.do_handshake)
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            self._findings.choose = None
            if not self._findings.failure:
                self._findings.failure = self._failure_by_reason(error)
            raise
        self._findings.choose = None
        forget_errors()
        self._take_certificate()
        self._established = True

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes of plaintext.

        Raises:
            ssl.SSLWantReadError: there is none yet.
            ssl.SSLZeroReturnError: the client has announced the end (close_notify).
            ssl.SSLEOFError: the connection has ended without an announcement.
            ssl.SSLError: the client has violated the protocol.
        """
        self._check_established()
        if size <= 0:
            return b""
        # pyOpenSSL allocates a buffer of the requested size for each call.
        return self._do(lambda: self._connection.recv(min(size, _RECORD)))

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt all of `data`, and return how many bytes that was.

        Raises:
            ssl.SSLError: the connection has failed, or was shut down.
        """
        self._check_established()
        if not data:
            return 0
        return self._do(lambda: self._connection.sendall(data))

    def unwrap(self) -> None:
        """Announce the end of our plaintext (close_notify), and look for the client's announcement.

        Call it again once `read` has raised `ssl.SSLZeroReturnError`, or instead of reading further.

        Raises:
            ssl.SSLWantReadError: the client has not announced the end yet.
            ssl.SSLError: the handshake is not complete, the connection has failed, or the client still sends data.
        """
        self._check_established()
        if not self._do(self._connection.shutdown):
            raise ssl_error(*WANT_READ)

    def _check_established(self) -> None:
        if not self._established:
            raise ssl_error(ssl.SSLError, ssl.SSL_ERROR_SSL, "UNINITIALIZED")

    def _do(self, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except SSL.WantReadError:
            self.incoming.pending = 0
            what = WANT_READ
        except SSL.Error as error:
            forget_errors()
            what = translation(error)
        # Outside the except block: otherwise the new error would refer to the old one and its frames, which is a reference cycle for
        # callers that keep it.
        raise ssl_error(*what)

    def _failure_by_reason(self, error: ssl.SSLError) -> str:
        reason = error.reason or ""
        if reason == "EXCESSIVE_MESSAGE_SIZE" and self._certificate_is_due():
            return TOO_LARGE
        if error.library == "ASN1" and self._certificate_is_due():
            return INVALID
        return REASONS.get(reason, "")

    def _certificate_is_due(self) -> bool:
        """Whether the next long message is the certificate: the ClientHello was accepted, and no certificate was looked at yet."""
        return self._findings.hello_seen and not self._findings.certificate_seen

    def _take_certificate(self) -> None:
        leaf = self._connection.get_peer_certificate()
        if leaf is None:
            return
        # On a server, the chain does not contain the peer's own certificate (SSL_get_peer_cert_chain(3)).
        chain = [leaf, *(self._connection.get_peer_cert_chain() or ())]
        self._certificate = client_certificate(chain)
        # OpenSSL's own limit is larger (SSL_CTX_set_max_cert_list(3)), so ALB's is checked after the handshake.
        if sum(len(der(certificate)) for certificate in chain) <= _CHAIN_MAX:
            return
        self._findings.failure = TOO_LARGE
        try:
            self._connection.shutdown()
        except SSL.Error:
            forget_errors()
        raise ssl_error(ssl.SSLCertVerificationError, ssl.SSL_ERROR_SSL, "EXCESSIVE_MESSAGE_SIZE")
