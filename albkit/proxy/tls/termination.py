"""TLS termination for the clients of one listener: the choice of the certificate, and the result of the handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from albkit.errors import Failure, FailureKind
from albkit.model.listener import Listener
from albkit.model.ssl_policy import SSL_POLICIES
from albkit.model.tls import TlsSession
from albkit.model.validation import Faults
from albkit.proxy.tls.contexts import cipher_name, in_words, server_context
from albkit.proxy.tls.transport import Incoming, Outgoing, Session
from albkit.wire.tls.client_hello import server_name_in

if TYPE_CHECKING:
    from albkit.policy.certificate_choice import CertificateChoice, CertificateFacts
    from albkit.proxy.tls.certificates import LoadedCertificate
    from albkit.proxy.tls.mutual import MutualContexts
    from albkit.proxy.tls.mutual_session import MutualSession

__all__ = ("Termination", "load_termination")

_ALPN: Final = {
    "None": (),
    "HTTP1Only": ("http/1.1",),
    "HTTP2Only": ("h2",),
    "HTTP2Optional": ("http/1.1", "h2"),
    "HTTP2Preferred": ("h2", "http/1.1"),
}


class Termination(Protocol):
    """The TLS settings of a listener, as its connections use them."""

    valid_until: float
    """When another certificate may become the best one, in seconds since 1970."""

    def warnings(self, now: float) -> Sequence[str]:
        """Problems that prevent nothing yet. They do not name the listener, because other listeners may use the same files."""

    def certificates(self) -> Sequence[tuple[str, CertificateFacts]]:
        """The label and the properties of each certificate that clients may get."""

    def begin(self) -> tuple[Session, Incoming, Outgoing]:
        """Start a session with a new client."""

    def outcome(self, session: Any) -> TlsSession:
        """The result of a session's successful handshake."""

    def failure(self, session: Any, error: Exception) -> Failure:
        """Why a session's handshake failed."""

    def attempted(self, session: Any, version: str, cipher: int) -> TlsSession:
        """Describe a session whose handshake failed, with the certificate that was the reason, for the connection log.

        Args:
            session: The session.
            version: The version that the load balancer had chosen; empty if the handshake did not come so far.
            cipher: The number of the cipher suite; 0 if the handshake did not come so far.
        """


def load_termination(listener: Listener, faults: Faults, path: str, now: float) -> Termination | None:
    """Read a listener's certificates and trust store; `None` if it has no TLS, or a fault. Reads files, so call it in a thread.

    Args:
        listener: The listener's configuration.
        faults: Receives what is wrong, each with what to do.
        path: The path of the listener in the configuration, for the faults.
        now: Seconds since 1970.
    """
    if not listener.is_secure:
        return None
    try:
        from albkit.proxy.tls.certificates import CertificateError, load
    except ImportError:
        faults.add(path, f"{listener.protocol} requires two more packages; run: pip install 'albkit[tls]'")
        return None
    loaded: list[LoadedCertificate] = []
    for index, certificate in enumerate(listener.certificates):
        try:
            loaded.append(load(certificate, now))
        except CertificateError as error:
            faults.add(f"{path}.certificates[{index}]", str(error))
    mutual = None
    if listener.mutual_authentication is not None and listener.mutual_authentication.mode != "off":
        mutual = _mutual_contexts(listener, faults, path)
        if mutual is None:
            return None
    if len(loaded) < len(listener.certificates):
        return None
    from albkit.policy.certificate_choice import CertificateChoice

    choice = CertificateChoice(loaded[0], loaded[1:], now)
    warnings = _unused_default(loaded, choice)
    try:
        return _Plain(listener, choice, warnings) if mutual is None else _Mutual(choice, mutual, warnings)
    except (ssl.SSLError, ValueError) as error:
        faults.add(f"{path}.certificates", f"OpenSSL rejects one of them: {error}")
        return None


def _mutual_contexts(listener: Listener, faults: Faults, path: str) -> MutualContexts | None:
    mutual = listener.mutual_authentication
    try:
        from albkit.proxy.tls.mutual import MutualContexts

        return MutualContexts(mutual, SSL_POLICIES[listener.ssl_policy], _alpn(listener)) if mutual is not None else None
    except ImportError:
        faults.add(f"{path}.mutual_authentication", "requires pyOpenSSL; run: pip install 'albkit[tls]'")
    except ValueError as error:
        faults.add(f"{path}.mutual_authentication", str(error))
    return None


def _alpn(listener: Listener) -> Sequence[str]:
    if listener.protocol == "TLS":
        return _ALPN[listener.alpn_policy]
    return ("h2", "http/1.1") if listener.http2 else ("http/1.1",)


class _ServerSession:
    """An `SSLObject` that is created once the client's server name is known.

    The standard library has a callback for the name (`SSLContext.sni_callback`), but for a name that is not ASCII it prints a traceback,
    for every client that cares to send one.
    """

    __slots__ = ("_context_for", "_hello", "_incoming", "_outgoing", "_session", "pending", "read", "server_name", "unwrap", "write")

    def __init__(self, context_for: Callable[[str], ssl.SSLContext], incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._context_for = context_for
        self._incoming = incoming
        self._outgoing = outgoing
        self._hello = b""
        self._session: ssl.SSLObject | None = None
        self.server_name = ""
        """The server name that the client has sent, in lower case; empty if it sent none."""

    def do_handshake(self) -> None:
        (self._session or self._begin()).do_handshake()

    def _begin(self) -> ssl.SSLObject:
        self._hello += self._incoming.read()
        name = server_name_in(self._hello)
        if name is None:
            raise ssl.SSLWantReadError
        self.server_name = name
        # The bytes that were read to find the name are written back: OpenSSL must see the whole ClientHello.
        self._incoming.write(self._hello)
        self._hello = b""
        session = self._session = self._context_for(name).wrap_bio(self._incoming, self._outgoing, server_side=True)
        # The bound methods of the session replace these slots, so that each record costs no further Python call.
        self.read, self.write, self.unwrap, self.pending = session.read, session.write, session.unwrap, session.pending
        return session

    def version(self) -> str | None:
        return self._session.version() if self._session is not None else None

    def cipher(self) -> tuple[str, str, int] | None:
        return self._session.cipher() if self._session is not None else None

    def selected_alpn_protocol(self) -> str | None:
        return self._session.selected_alpn_protocol() if self._session is not None else None


class _Plain:
    """Requests no client certificate, and uses the standard library's TLS."""

    def __init__(self, listener: Listener, choice: CertificateChoice[LoadedCertificate], warnings: Sequence[str]) -> None:
        self.valid_until = choice.valid_until
        self._warnings = warnings
        self._choice = choice
        policy = SSL_POLICIES[listener.ssl_policy]
        alpn = _alpn(listener)
        # One context per set of certificates, created in advance: creating one takes milliseconds.
        self._contexts = {shown: server_context(shown, policy, alpn) for shown in choice.sets}

    def _context_for(self, name: str) -> ssl.SSLContext:
        return self._contexts[self._choice.for_name(name)]

    def warnings(self, now: float) -> Sequence[str]:
        return [*_warnings_of(self._choice, now), *self._warnings]

    def certificates(self) -> Sequence[tuple[str, CertificateFacts]]:
        return _certificates_of(self._choice)

    def begin(self) -> tuple[Session, Incoming, Outgoing]:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return _ServerSession(self._context_for, incoming, outgoing), incoming, outgoing

    def outcome(self, session: Any) -> TlsSession:
        return _outcome(session, self._choice, session.server_name)

    def failure(self, session: Any, error: Exception) -> Failure:
        del session
        return Failure(FailureKind.TLS_HANDSHAKE_FAILED, in_words(error))

    def attempted(self, session: Any, version: str, cipher: int) -> TlsSession:
        return TlsSession(version, cipher_name(cipher), server_name=session.server_name)


class _Mutual:
    """Requests client certificates, and uses pyOpenSSL, which can accept them unverified and says why it rejects one."""

    def __init__(self, choice: CertificateChoice[LoadedCertificate], mutual: MutualContexts, warnings: Sequence[str]) -> None:
        from albkit.proxy.tls.mutual_session import MutualSession

        self.valid_until = choice.valid_until
        self._warnings = [*warnings, *mutual.warnings]
        self._choice = choice
        self._session = MutualSession
        self._contexts = {shown: mutual.context(shown) for shown in choice.sets}
        self._default = self._contexts[choice.for_name(None)]

    def _for_name(self, name: str) -> Any:
        return self._contexts[self._choice.for_name(name)]

    def warnings(self, now: float) -> Sequence[str]:
        return [*_warnings_of(self._choice, now), *self._warnings]

    def certificates(self) -> Sequence[tuple[str, CertificateFacts]]:
        return _certificates_of(self._choice)

    def begin(self) -> tuple[Session, Incoming, Outgoing]:
        session = self._session(self._default, self._for_name)
        return session, session.incoming, session.outgoing

    def outcome(self, session: MutualSession) -> TlsSession:
        tls = _outcome(session, self._choice, session.server_hostname)
        tls.client_certificate = session.client_certificate()
        tls.verify_status = session.verify_status
        return tls

    def failure(self, session: MutualSession, error: Exception) -> Failure:
        kind = _BY_CODE.get(session.failure, FailureKind.TLS_HANDSHAKE_FAILED)
        certificate = session.client_certificate()
        words = session.failure_detail or in_words(error)
        return Failure(kind, f"{words}; {certificate.subject}, serial number {certificate.serial_number}" if certificate else words)

    def attempted(self, session: MutualSession, version: str, cipher: int) -> TlsSession:
        certificate = session.client_certificate()
        return TlsSession(version, cipher_name(cipher), server_name=session.server_hostname, client_certificate=certificate)


def _certificates_of(choice: CertificateChoice[LoadedCertificate]) -> Sequence[tuple[str, CertificateFacts]]:
    shown = dict.fromkeys(certificate for together in choice.sets for certificate in together)
    return [(certificate.label, certificate.facts) for certificate in shown]


def _warnings_of(choice: CertificateChoice[LoadedCertificate], now: float) -> list[str]:
    from albkit.proxy.tls.certificates import warnings_of

    shown = dict.fromkeys(certificate for together in choice.sets for certificate in together)
    return [words for certificate in shown for words in warnings_of(certificate, now)]


def _unused_default(loaded: Sequence[LoadedCertificate], choice: CertificateChoice[LoadedCertificate]) -> list[str]:
    """Warn about a name of the default certificate for which another one is used. ALB does the same, but few people expect it."""
    default, *listed = loaded
    if any(certificate.chain == default.chain for certificate in listed):
        return []
    names = [name for name in default.facts.names if choice.for_name(name.replace("*", "any", 1)) != (default,)]
    return [
        f"clients that request {name!r} do not get the default certificate in {default.label!r}, but another one of the list with the same "
        "name; to include the default in the choice, give it twice"
        for name in names[:1]
    ]


_BY_CODE = {kind.reason: kind for kind in FailureKind}


class _Agreed(Protocol):
    def version(self) -> str | None: ...
    def cipher(self) -> tuple[str, str, int] | None: ...
    def selected_alpn_protocol(self) -> str | None: ...


def _outcome(session: Any, choice: CertificateChoice[LoadedCertificate], server_name: str) -> TlsSession:
    agreed: _Agreed = session
    cipher = agreed.cipher()
    name = cipher[0] if cipher is not None else ""
    shown = choice.for_name(server_name or None)
    # If two were offered, the cipher of TLS 1.2 names the key type. TLS 1.3 ciphers do not, and OpenSSL prefers ECDSA if the client
    # supports it.
    certificate = shown[-1] if "-RSA-" in name or name.startswith("AES") else shown[0]
    return TlsSession(
        agreed.version() or "",
        name,
        server_name=server_name,
        alpn=agreed.selected_alpn_protocol() or "",
        certificate=certificate.label,
    )
