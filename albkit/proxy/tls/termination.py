"""How TLS is spoken with the clients of one listener: which certificate is shown to whom, and what has come of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from albkit.errors import Failure, FailureKind
from albkit.model.listener import Listener
from albkit.model.ssl_policy import SSL_POLICIES
from albkit.model.tls import TlsSession
from albkit.model.validation import Faults
from albkit.proxy.tls.contexts import in_words, server_context
from albkit.proxy.tls.transport import Incoming, Outgoing, Session
from albkit.wire.tls.client_hello import server_name_in

if TYPE_CHECKING:
    from albkit.policy.certificate_choice import CertificateChoice
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
    """What a connection asks of its listener."""

    valid_until: float
    """When another certificate may be the best one, because time has gone by; seconds since 1970."""

    def warnings(self, now: float) -> Sequence[str]:
        """What will go wrong soon, or does so already. Told without its listener, for others may show the same."""

    def begin(self) -> tuple[Session, Incoming, Outgoing]:
        """A session with one more client."""

    def outcome(self, session: Any) -> TlsSession:
        """What was agreed on in a session that it began, once hands are shaken."""

    def failure(self, session: Any, error: Exception) -> Failure:
        """Why they were not."""


def load_termination(listener: Listener, faults: Faults, path: str, now: float) -> Termination | None:
    """Read what a listener shows and trusts, `None` where it speaks no TLS or has a fault. Reads files: for another thread.

    Args:
        listener: The description.
        faults: Takes what is wrong, each with what to do.
        path: Where the listener stands, before each fault.
        now: Seconds since 1970.
    """
    if not listener.is_secure:
        return None
    try:
        from albkit.proxy.tls.certificates import CertificateError, load
    except ImportError:
        faults.add(path, f"{listener.protocol} needs two packages more; pip install 'albkit[tls]'")
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
    shadows = _shadows_of(loaded, choice)
    try:
        return _Plain(listener, choice, shadows) if mutual is None else _Mutual(choice, mutual, shadows)
    except (ssl.SSLError, ValueError) as error:
        faults.add(f"{path}.certificates", f"OpenSSL does not take one of them: {error}")
        return None


def _mutual_contexts(listener: Listener, faults: Faults, path: str) -> MutualContexts | None:
    mutual = listener.mutual_authentication
    try:
        from albkit.proxy.tls.mutual import MutualContexts

        return MutualContexts(mutual, SSL_POLICIES[listener.ssl_policy], _alpn(listener)) if mutual is not None else None
    except ImportError:
        faults.add(f"{path}.mutual_authentication", "needs pyOpenSSL; pip install 'albkit[tls]'")
    except ValueError as error:
        faults.add(f"{path}.mutual_authentication", str(error))
    return None


def _alpn(listener: Listener) -> Sequence[str]:
    return ("http/1.1",) if listener.protocol == "HTTPS" else _ALPN[listener.alpn_policy]


class _ServerSession:
    """An `SSLObject` that begins once its client has said whom it asks for.

    The standard library would tell of the name as well, but for one that is not ASCII: then it prints a traceback, for every client that
    cares to send one.
    """

    __slots__ = ("_context_for", "_hello", "_incoming", "_outgoing", "_session", "pending", "read", "server_name", "unwrap", "write")

    def __init__(self, context_for: Callable[[str], ssl.SSLContext], incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._context_for = context_for
        self._incoming = incoming
        self._outgoing = outgoing
        self._hello = b""
        self._session: ssl.SSLObject | None = None
        self.server_name = ""
        """Whom it asks for, in lower case; empty for nobody."""

    def do_handshake(self) -> None:
        (self._session or self._begin()).do_handshake()

    def _begin(self) -> ssl.SSLObject:
        self._hello += self._incoming.read()
        name = server_name_in(self._hello)
        if name is None:
            raise ssl.SSLWantReadError
        self.server_name = name
        self._incoming.write(self._hello)
        self._hello = b""
        session = self._session = self._context_for(name).wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.read, self.write, self.unwrap, self.pending = session.read, session.write, session.unwrap, session.pending
        return session

    def version(self) -> str | None:
        return self._session.version() if self._session is not None else None

    def cipher(self) -> tuple[str, str, int] | None:
        return self._session.cipher() if self._session is not None else None

    def selected_alpn_protocol(self) -> str | None:
        return self._session.selected_alpn_protocol() if self._session is not None else None


class _Plain:
    """Asks no client for a certificate: the standard library's TLS."""

    def __init__(self, listener: Listener, choice: CertificateChoice[LoadedCertificate], warnings: Sequence[str]) -> None:
        self.valid_until = choice.valid_until
        self._warnings = warnings
        self._choice = choice
        policy = SSL_POLICIES[listener.ssl_policy]
        alpn = _alpn(listener)
        self._contexts = {shown: server_context(shown, policy, alpn) for shown in choice.sets}

    def _context_for(self, name: str) -> ssl.SSLContext:
        return self._contexts[self._choice.for_name(name)]

    def warnings(self, now: float) -> Sequence[str]:
        return [*_warnings_of(self._choice, now), *self._warnings]

    def begin(self) -> tuple[Session, Incoming, Outgoing]:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return _ServerSession(self._context_for, incoming, outgoing), incoming, outgoing

    def outcome(self, session: Any) -> TlsSession:
        return _outcome(session, self._choice, session.server_name)

    def failure(self, session: Any, error: Exception) -> Failure:
        del session
        return Failure(FailureKind.TLS_HANDSHAKE_FAILED, in_words(error))


class _Mutual:
    """Asks clients for a certificate: pyOpenSSL, which can do so without refusing, and tells why where it refuses."""

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


def _warnings_of(choice: CertificateChoice[LoadedCertificate], now: float) -> list[str]:
    from albkit.proxy.tls.certificates import warnings_of

    shown = dict.fromkeys(certificate for together in choice.sets for certificate in together)
    return [words for certificate in shown for words in warnings_of(certificate, now)]


def _shadows_of(loaded: Sequence[LoadedCertificate], choice: CertificateChoice[LoadedCertificate]) -> list[str]:
    """A name for which the default certificate is good, and is not shown: as in ALB, but not what everybody expects."""
    default, *listed = loaded
    if any(certificate.chain == default.chain for certificate in listed):
        return []
    names = [name for name in default.facts.names if choice.for_name(name.replace("*", "any", 1)) != (default,)]
    return [
        f"clients that ask for {name!r} are not shown the default certificate in {default.label!r}, but another of the list that has the "
        "name too; to have both taken into account give the default twice"
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
    # Where two were offered the cipher tells which; TLS 1.3 does not, and takes ECDSA of whoever can.
    certificate = shown[-1] if "-RSA-" in name or name.startswith("AES") else shown[0]
    return TlsSession(
        agreed.version() or "",
        name,
        server_name=server_name,
        alpn=agreed.selected_alpn_protocol() or "",
        certificate=certificate.label,
    )
