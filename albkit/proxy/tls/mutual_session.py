"""The TLS connection of one client that is asked for a certificate, behind the methods of the standard library's `SSLObject`."""

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
"""No record carries more plaintext, so no read gives more."""
_READ = 64 * 1024


class Findings:
    """What the callbacks learn of one connection. It knows neither session nor connection: that would be a cycle."""

    __slots__ = ("certificate", "choose", "default", "detail", "failure", "heard", "judged", "server_name")

    def __init__(self, default: SSL.Context, choose: Callable[[str], SSL.Context | None]) -> None:
        # Kept for the whole connection: OpenSSL calls its callbacks even after another context was chosen.
        self.default = default
        self.choose: Callable[[str], SSL.Context | None] | None = choose
        self.server_name = ""
        self.certificate: ClientCertificate | None = None
        self.failure = ""
        self.detail = ""
        """What more there is to say of it."""
        self.heard = False
        """Whether a ClientHello was taken."""
        self.judged = False
        """Whether the client's certificate has been looked at."""


class _Incoming:
    """What has come from the client."""

    __slots__ = ("_connection", "pending")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self.pending = 0
        """Bytes of which some may not be consumed yet: 0 once a call has raised `SSLWantReadError`, too many before."""

    def write(self, data: bytes) -> int:
        if data:
            self._connection.bio_write(data)
            self.pending += len(data)
        return len(data)

    def write_eof(self) -> None:
        self._connection.bio_shutdown()


class _Outgoing:
    """What is to be sent to the client."""

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
    """The TLS connection of one client: what an `SSLObject` and its two `MemoryBIO` are in the standard library.

    Args:
        default: The context for a client that names no server, or one that `choose` does not know.
        choose: The context for a server name in lower case, `None` for the default. It is let go of when the handshake is over.

    Methods raise `ssl.SSLError` and its kinds only. Nothing in here refers back to the session, nor do the callbacks.
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
        """Whom the client has asked for (SNI), in lower case and ASCII; empty for nobody."""
        return self._findings.server_name

    @property
    def failure(self) -> str:
        """What was wrong with the client's certificate when the handshake failed, in ALB's words (docs/alb.md 7.2); empty for nothing."""
        return self._findings.failure

    @property
    def failure_detail(self) -> str:
        """What more there is to say of that, for a person; empty for nothing."""
        return self._findings.detail

    @property
    def verify_status(self) -> str:
        """`Success` once a certificate was verified, else empty."""
        return "Success" if self._established and self._findings.default.get_app_data() == "verify" else ""

    def client_certificate(self) -> ClientCertificate | None:
        """What the client has shown, after the handshake; where that failed, the certificate that was wrong, if it was read.

        That may be one of the issuers that the client has sent along: OpenSSL stops there.
        """
        return self._certificate or self._findings.certificate

    def version(self) -> str | None:
        """As OpenSSL calls it: `TLSv1.3`; `None` before the handshake is over."""
        return self._connection.get_protocol_version_name() if self._established else None

    def cipher(self) -> tuple[str, str, int] | None:
        """Its name, the protocol it came with, and its secret bits; `None` before the handshake is over."""
        name = self._connection.get_cipher_name() if self._established else None
        if name is None:
            return None
        return name, self._connection.get_cipher_version() or "", self._connection.get_cipher_bits() or 0

    def selected_alpn_protocol(self) -> str | None:
        """The protocol agreed on, `None` for none."""
        return self._connection.get_alpn_proto_negotiated().decode("ascii") or None

    def pending(self) -> int:
        """Bytes of plaintext that can be read at once."""
        return self._connection.pending()

    def do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            ssl.SSLWantReadError: more must come from the client first.
            ssl.SSLError: it has failed; `outgoing` holds the alert, `failure` ALB's code where the client's certificate is to blame.
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
        """At most `size` bytes of plaintext.

        Raises:
            ssl.SSLWantReadError: there is none yet.
            ssl.SSLZeroReturnError: the client has said that none will come (close_notify).
            ssl.SSLEOFError: none will come, but the client has not said so.
            ssl.SSLError: the client has broken the protocol.
        """
        self._check_established()
        if size <= 0:
            return b""
        return self._do(lambda: self._connection.recv(min(size, _RECORD)))

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt all of `data`: how many bytes that was.

        Raises:
            ssl.SSLError: the connection has failed, or was shut down before.
        """
        self._check_established()
        if not data:
            return 0
        return self._do(lambda: self._connection.sendall(data))

    def unwrap(self) -> None:
        """Say that no more plaintext will come (close_notify), and look for the client's own.

        Call it again once `read` has raised `ssl.SSLZeroReturnError`, or instead of reading further.

        Raises:
            ssl.SSLWantReadError: the client has not said so yet.
            ssl.SSLError: the handshake is not over, the connection has failed, or the client still sends data.
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
        # Out here, for an error that came of another one would hold its frames: whoever keeps it would make a cycle.
        raise ssl_error(*what)

    def _failure_by_reason(self, error: ssl.SSLError) -> str:
        reason = error.reason or ""
        if reason == "EXCESSIVE_MESSAGE_SIZE" and self._certificate_is_due():
            return TOO_LARGE
        if error.library == "ASN1" and self._certificate_is_due():
            return INVALID
        return REASONS.get(reason, "")

    def _certificate_is_due(self) -> bool:
        """Whether that is the next long message: the ClientHello was taken, and no certificate was looked at."""
        return self._findings.heard and not self._findings.judged

    def _take_certificate(self) -> None:
        leaf = self._connection.get_peer_certificate()
        if leaf is None:
            return
        # On the side of the server OpenSSL leaves the client's own out of the chain.
        chain = [leaf, *(self._connection.get_peer_cert_chain() or ())]
        self._certificate = client_certificate(chain)
        if sum(len(der(certificate)) for certificate in chain) <= _CHAIN_MAX:
            return
        self._findings.failure = TOO_LARGE
        try:
            self._connection.shutdown()
        except SSL.Error:
            forget_errors()
        raise ssl_error(ssl.SSLCertVerificationError, ssl.SSL_ERROR_SSL, "EXCESSIVE_MESSAGE_SIZE")
