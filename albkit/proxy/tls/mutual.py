"""TLS with clients that are asked for a certificate (alb-reference 1.11).

The standard library tells nobody why a client's certificate is wrong, takes none without verifying it, and gives no chain. pyOpenSSL does,
so these connections run on it, behind the methods that the standard library's `SSLObject` and `MemoryBIO` have.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn, Protocol, TypeVar, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL, crypto

from albkit.model.mutual_authentication import MutualAuthentication
from albkit.model.tls import ClientCertificate

__all__ = ("MutualContexts", "MutualSession")

_Result = TypeVar("_Result")

_VERSIONS = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_LEGACY: Final = ("TLSv1", "TLSv1.1")
"""OpenSSL allows neither above security level 0."""
_IGNORE_UNEXPECTED_EOF: Final = 0x80
"""SSL_OP_IGNORE_UNEXPECTED_EOF: a FIN without close_notify is an end like any other, and the client is still answered."""
_OPTIONS = SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | _IGNORE_UNEXPECTED_EOF
_NO_AUTO_CHAIN: Final = 0x8
"""SSL_MODE_NO_AUTO_CHAIN: without it OpenSSL would fill our own chain up from the clients' trust store."""

_CHAIN_MAX: Final = 64 * 1024
_INTERMEDIATES_MAX: Final = 2
"""Four certificates: the client's, these, and the one that is trusted."""
_CURVES = frozenset(("secp256r1", "secp384r1", "secp521r1"))
_HASHES = frozenset(("sha256", "sha384", "sha512"))

_RECORD = 16 * 1024
"""No record carries more plaintext, so no read gives more."""
_READ = 64 * 1024

_UNMAPPED: Final = "UnmappedConnectionError"
_TOO_LARGE: Final = "ClientCertMaxSizeExceeded"
_UNSUPPORTED: Final = "ClientCertTypeUnsupported"
_CRL_PROCESSING: Final = "ClientCertCrlProcessingError"
_INVALID: Final = "ClientCertInvalid"

_CODES = SSL.X509VerificationCodes
_FAILURES: dict[int, str] = {
    code: failure
    for failure, codes in {
        "ClientCertMaxChainDepthExceeded": (_CODES.ERR_CERT_CHAIN_TOO_LONG,),
        "ClientCertCrlHit": (_CODES.ERR_CERT_REVOKED,),
        _CRL_PROCESSING: (
            _CODES.ERR_UNABLE_TO_GET_CRL,
            _CODES.ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE,
            _CODES.ERR_CRL_SIGNATURE_FAILURE,
            _CODES.ERR_CRL_NOT_YET_VALID,
            _CODES.ERR_CRL_HAS_EXPIRED,
            _CODES.ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD,
            _CODES.ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD,
            _CODES.ERR_UNABLE_TO_GET_CRL_ISSUER,
            _CODES.ERR_KEYUSAGE_NO_CRL_SIGN,
            _CODES.ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
            _CODES.ERR_DIFFERENT_CRL_SCOPE,
            _CODES.ERR_CRL_PATH_VALIDATION_ERROR,
        ),
        "ClientCertUntrusted": (
            _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
            _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
            _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
            _CODES.ERR_CERT_UNTRUSTED,
        ),
        "ClientCertNotYetValid": (_CODES.ERR_CERT_NOT_YET_VALID,),
        "ClientCertExpired": (_CODES.ERR_CERT_HAS_EXPIRED,),
        # EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK: pyOpenSSL has no names for these.
        _UNSUPPORTED: (66, 67, 68),
        _INVALID: (
            _CODES.ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE,
            _CODES.ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY,
            _CODES.ERR_CERT_SIGNATURE_FAILURE,
            _CODES.ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD,
            _CODES.ERR_ERROR_IN_CERT_NOT_AFTER_FIELD,
            _CODES.ERR_INVALID_CA,
            _CODES.ERR_PATH_LENGTH_EXCEEDED,
            _CODES.ERR_SUBJECT_ISSUER_MISMATCH,
            _CODES.ERR_AKID_SKID_MISMATCH,
            _CODES.ERR_AKID_ISSUER_SERIAL_MISMATCH,
            _CODES.ERR_KEYUSAGE_NO_CERTSIGN,
            _CODES.ERR_INVALID_NON_CA,
            _CODES.ERR_PROXY_PATH_LENGTH_EXCEEDED,
            _CODES.ERR_KEYUSAGE_NO_DIGITAL_SIGNATURE,
            _CODES.ERR_PROXY_CERTIFICATES_NOT_ALLOWED,
            _CODES.ERR_INVALID_EXTENSION,
            _CODES.ERR_INVALID_POLICY_EXTENSION,
            _CODES.ERR_NO_EXPLICIT_POLICY,
            _CODES.ERR_UNNESTED_RESOURCE,
            _CODES.ERR_PERMITTED_VIOLATION,
            _CODES.ERR_EXCLUDED_VIOLATION,
            _CODES.ERR_SUBTREE_MINMAX,
        ),
        "ClientCertPurposeInvalid": (_CODES.ERR_INVALID_PURPOSE,),
        "ClientCertRejected": (_CODES.ERR_CERT_REJECTED, _CODES.ERR_APPLICATION_VERIFICATION),
        "ClientCertIncompatible": (
            _CODES.ERR_UNHANDLED_CRITICAL_EXTENSION,
            _CODES.ERR_UNSUPPORTED_EXTENSION_FEATURE,
            _CODES.ERR_UNSUPPORTED_CONSTRAINT_TYPE,
            _CODES.ERR_UNSUPPORTED_CONSTRAINT_SYNTAX,
            _CODES.ERR_UNSUPPORTED_NAME_SYNTAX,
        ),
    }.items()
    for code in codes
}
"""ALB's code by OpenSSL's (alb-reference 7.2)."""

_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": _UNMAPPED,
    "CERTIFICATE_VERIFY_FAILED": _UNMAPPED,
    "CERT_LENGTH_MISMATCH": _INVALID,
    "BAD_SIGNATURE": _INVALID,
    "UNKNOWN_CERTIFICATE_TYPE": _UNSUPPORTED,
    "UNABLE_TO_FIND_PUBLIC_KEY_PARAMETERS": _UNSUPPORTED,
    "SIGNATURE_FOR_NON_SIGNING_CERTIFICATE": _UNSUPPORTED,
    "WRONG_SIGNATURE_TYPE": "ClientCertIncompatible",
}
"""ALB's code by the reason that ends a handshake without a word about the certificate itself."""

_CRL_BLOCK = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
_BUNDLE: Final = "give a PEM file with the certificates of the CAs that you trust"
_LISTS: Final = "give certificate revocation lists in PEM or DER"


class _Policy(Protocol):
    @property
    def minimum(self) -> str: ...
    @property
    def maximum(self) -> str: ...
    @property
    def ciphers(self) -> tuple[str, ...]: ...


class _ServerCertificate(Protocol):
    @property
    def chain(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...


class MutualContexts:
    """Contexts that ask clients for a certificate.

    Args:
        mutual: Whether that is verified, and by what.
        policy: The protocol versions, `"TLSv1"` to `"TLSv1.3"`, and the ciphers up to TLS 1.2.
        alpn: The protocols to agree on, the dearest first.

    Reads files: not a thing to do in an event loop.

    Raises:
        ValueError: a file cannot be read, or is not what it should be. The sentence says what to do.
    """

    def __init__(self, mutual: MutualAuthentication, policy: _Policy, alpn: Sequence[str]) -> None:
        self._mutual = mutual
        self._policy = policy
        self._alpn = [name.encode("ascii") for name in alpn]
        self._authorities = _read_authorities(mutual.trust_store) if mutual.trust_store is not None else ()
        self._revocations = tuple(
            revocation for source in mutual.revocations for revocation in _read_revocations(source, self._authorities)
        )
        self._judge = _Judge(mutual, self._authorities, self._revocations)

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each revocation list that has expired: its CA's clients are refused until a newer one is there."""
        now = datetime.now(UTC)
        return tuple(
            f"the revocation list of {revocation.issuer.rfc4514_string()!r} has expired on {until:%Y-%m-%d}; "
            "clients with a certificate of this CA are refused until there is a newer one"
            for revocation in self._revocations
            if (until := revocation.next_update_utc) is not None and until < now
        )

    def context(self, certificates: Sequence[_ServerCertificate]) -> SSL.Context:
        """A context that shows these certificates: at most one with an ECDSA and one with an RSA key, whichever a client knows.

        Where both bring intermediates, a client is shown those of either.

        Raises:
            ValueError: a certificate and its key do not fit, or OpenSSL has no such protocol version or cipher.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_app_data(self._mutual.mode)
        context.set_options(_OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS | _NO_AUTO_CHAIN)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        # A session of another door's must be no session here, rather than an error.
        context.set_session_id(b"albkit")
        context.set_tlsext_servername_callback(_choose_context)
        if self._alpn:
            context.set_alpn_select_callback(_AlpnChoice(self._alpn).choose)
        self._agree_on_protocols(context)
        self._ask_for_certificate(context)
        _show_certificates(context, certificates)
        return context

    def _agree_on_protocols(self, context: SSL.Context) -> None:
        policy = self._policy
        try:
            context.set_min_proto_version(_VERSIONS[policy.minimum])
            context.set_max_proto_version(_VERSIONS[policy.maximum])
            ciphers = [*policy.ciphers, "@SECLEVEL=0"] if policy.minimum in _LEGACY else list(policy.ciphers)
            if ciphers:
                context.set_cipher_list(":".join(ciphers).encode("ascii"))
        except SSL.Error as error:
            raise ValueError(f"OpenSSL has not what the security policy asks for ({_words(error)}); choose another one") from None

    def _ask_for_certificate(self, context: SSL.Context) -> None:
        if self._mutual.mode == "off":
            return
        if self._mutual.mode == "passthrough":
            context.set_verify(SSL.VERIFY_PEER, _accept)
            return
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._judge.verdict)
        context.set_verify_depth(_INTERMEDIATES_MAX)
        store = context.get_cert_store()
        assert store is not None  # noqa: S101 - every context has one
        for authority in self._authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
            if self._mutual.advertise_trust_store_ca_names:
                context.add_client_ca(authority)
        flags = crypto.X509StoreFlags.PARTIAL_CHAIN
        if self._revocations:
            flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
        for revocation in self._revocations:
            store.add_crl(revocation)
        store.set_flags(flags)


class _Findings:
    """What the callbacks learn of one connection. It knows neither session nor connection: that would be a cycle."""

    __slots__ = ("certificate", "choose", "default", "failure", "judged", "server_name")

    def __init__(self, default: SSL.Context, choose: Callable[[str], SSL.Context | None]) -> None:
        # Kept for the whole connection: OpenSSL calls its callbacks even after another context was chosen.
        self.default = default
        self.choose: Callable[[str], SSL.Context | None] | None = choose
        self.server_name = ""
        self.certificate: ClientCertificate | None = None
        self.failure = ""
        self.judged = False
        """Whether the client's certificate has been looked at."""


class _AlpnChoice:
    __slots__ = ("_ours",)

    def __init__(self, ours: Sequence[bytes]) -> None:
        self._ours = ours

    def choose(self, _: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
        for name in self._ours:
            if name in offered:
                return name
        return SSL.NO_OVERLAPPING_PROTOCOLS


def _choose_context(connection: SSL.Connection) -> None:
    """Called with every ClientHello, with a server name in it or without."""
    findings: _Findings = connection.get_app_data()
    name = connection.get_servername()
    if not name or findings.choose is None:
        return
    findings.server_name = name.decode("ascii", "backslashreplace").lower()
    connection.set_context(findings.choose(findings.server_name) or findings.default)


def _accept(connection: SSL.Connection, _certificate: crypto.X509, error: int, _depth: int, _ok: int) -> bool:
    connection.get_app_data().judged = True
    if error:
        _forget_errors()
    return True


class _Judge:
    """Takes or refuses each certificate of a chain as OpenSSL comes upon it."""

    def __init__(
        self,
        mutual: MutualAuthentication,
        authorities: Iterable[x509.Certificate],
        revocations: Iterable[x509.CertificateRevocationList],
    ) -> None:
        self._ignores_expiry = mutual.ignore_client_certificate_expiry
        self._trusted = frozenset(authority.public_bytes(Encoding.DER) for authority in authorities)
        self._with_revocations = frozenset(revocation.issuer.public_bytes() for revocation in revocations)

    def verdict(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Whether verification goes on. Must not raise: pyOpenSSL would tell the next connection of the context."""
        findings: _Findings = connection.get_app_data()
        findings.judged = True
        try:
            failure = self._failure(certificate, 0 if ok else error, depth)
        except Exception:  # noqa: BLE001 - whatever is made of an adversary's bytes, they are no certificate to trust
            failure = _INVALID
        if not failure:
            if not ok:
                _forget_errors()
            return True
        if not findings.failure:
            findings.failure = failure
            findings.certificate = _client_certificate([certificate])
        return False

    def _failure(self, certificate: crypto.X509, error: int, depth: int) -> str:
        if not error:
            return self._failure_of_type(certificate.to_cryptography(), depth)
        if error == _CODES.ERR_CERT_HAS_EXPIRED and self._ignores_expiry:
            return ""
        if error == _CODES.ERR_UNABLE_TO_GET_CRL:
            # There may be a list, but one that OpenSSL cannot use for this certificate.
            issuer = certificate.to_cryptography().issuer.public_bytes()
            return _CRL_PROCESSING if issuer in self._with_revocations else ""
        return _FAILURES.get(error, _UNMAPPED)

    def _failure_of_type(self, certificate: x509.Certificate, depth: int) -> str:
        """Whether ALB knows such keys and signatures; how a trusted CA is made is its owner's choice."""
        if depth and certificate.public_bytes(Encoding.DER) in self._trusted:
            return ""
        return "" if _is_supported(certificate) else _UNSUPPORTED


def _is_supported(certificate: x509.Certificate) -> bool:
    try:
        key, kind = certificate.public_key(), certificate.signature_hash_algorithm
    except (UnsupportedAlgorithm, ValueError):
        return False
    if isinstance(key, rsa.RSAPublicKey):
        is_key = 2048 <= key.key_size <= 8192
    else:
        is_key = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES
    return is_key and certificate.version is x509.Version.v3 and kind is not None and kind.name in _HASHES


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

    __slots__ = ("_connection", "_taken")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._taken = b""

    @property
    def pending(self) -> int:
        self._taken = self.read()
        return len(self._taken)

    def read(self) -> bytes:
        pieces = [self._taken] if self._taken else []
        self._taken = b""
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
        self._findings = _Findings(default, choose)
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
        """What was wrong with the client's certificate when the handshake failed, in ALB's words (alb-reference 7.2); empty for nothing."""
        return self._findings.failure

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
            raise _ssl_error(ssl.SSLCertVerificationError, "CERTIFICATE_VERIFY_FAILED")
        try:
            self._do(self._connection.do_handshake)
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLZeroReturnError:
            # An end like any other, but not here.
            self._findings.choose = None
            raise _ssl_error(ssl.SSLEOFError, "UNEXPECTED_EOF_WHILE_READING", ssl.SSL_ERROR_EOF) from None
        except ssl.SSLError as error:
            self._findings.choose = None
            if not self._findings.failure:
                self._findings.failure = self._failure_by_reason(error)
            raise
        self._findings.choose = None
        _forget_errors()
        self._take_certificate()
        self._established = True

    def read(self, size: int) -> bytes:
        """At most `size` bytes of plaintext.

        Raises:
            ssl.SSLWantReadError: there is none yet.
            ssl.SSLZeroReturnError: none will come: the client has said so (close_notify), or has sent FIN without a word.
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
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The client has not closed its side yet")

    def _check_established(self) -> None:
        if not self._established:
            raise _ssl_error(ssl.SSLError, "UNINITIALIZED")

    def _do(self, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except SSL.WantReadError:
            self.incoming.pending = 0
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)") from None
        except SSL.Error as error:
            _forget_errors()
            _raise_translated(error)

    def _failure_by_reason(self, error: ssl.SSLError) -> str:
        reason = error.reason or ""
        if reason == "EXCESSIVE_MESSAGE_SIZE" and self._certificate_is_due():
            return _TOO_LARGE
        if error.library == "ASN1" and self._certificate_is_due():
            return _INVALID
        return _REASONS.get(reason, "")

    def _certificate_is_due(self) -> bool:
        return bool(self._connection.get_cipher_name()) and not self._findings.judged

    def _take_certificate(self) -> None:
        leaf = self._connection.get_peer_certificate()
        if leaf is None:
            return
        # On the side of the server OpenSSL leaves the client's own out of the chain.
        chain = [leaf, *(self._connection.get_peer_cert_chain() or ())]
        self._certificate = _client_certificate(chain)
        if sum(len(_der(certificate)) for certificate in chain) <= _CHAIN_MAX:
            return
        self._findings.failure = _TOO_LARGE
        try:
            self._connection.shutdown()
        except SSL.Error:
            _forget_errors()
        raise _ssl_error(ssl.SSLCertVerificationError, "EXCESSIVE_MESSAGE_SIZE")


def _raise_translated(error: SSL.Error) -> NoReturn:
    """Each kind of pyOpenSSL's errors as the standard library has it."""
    if isinstance(error, SSL.ZeroReturnError):
        raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "TLS/SSL connection has been closed (EOF)") from None
    if isinstance(error, SSL.SysCallError):
        raise _ssl_error(ssl.SSLEOFError, "UNEXPECTED_EOF_WHILE_READING", ssl.SSL_ERROR_EOF) from None
    library, reason = _library_and_reason(error)
    if reason == "CERTIFICATE_VERIFY_FAILED":
        raise _ssl_error(ssl.SSLCertVerificationError, reason) from None
    raise _ssl_error(ssl.SSLError, reason, library=library) from None


def _ssl_error(kind: type[ssl.SSLError], reason: str, number: int = ssl.SSL_ERROR_SSL, library: str = "SSL") -> ssl.SSLError:
    error = kind(number, f"[{library}: {reason}] {reason.lower().replace('_', ' ')}")
    error.library, error.reason = library, reason
    return error


def _library_and_reason(error: SSL.Error) -> tuple[str, str]:
    """As the standard library writes them: `SSL` and `WRONG_VERSION_NUMBER`; the last of several errors, where OpenSSL gave up.

    The first is what has gone wrong within; where that is about ASN.1, so is all.
    """
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if not entries:
        return "SSL", "UNKNOWN_ERROR"
    library, _, reason = entries[-1]
    if any("asn1" in entry[0] for entry in entries):
        library = "ASN1"
    return library.removesuffix(" routines").upper(), reason.upper().replace(" ", "_")


def _words(error: SSL.Error | crypto.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reason for _, _, reason in entries) or "no reason given"


def _forget_errors() -> None:
    """Empty OpenSSL's queue of errors.

    What is left in it when a certificate was taken all the same would be taken for the fault of whichever connection comes next. pyOpenSSL
    has no call for that, but one that fails takes all of them along.
    """
    try:
        crypto.load_certificate(crypto.FILETYPE_PEM, b"")
    except crypto.Error:
        pass


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def _client_certificate(chain: Sequence[crypto.X509]) -> ClientCertificate | None:
    """What there is to tell about a client's certificate; of one that OpenSSL can read and nobody else only the PEM."""
    try:
        pem = tuple(crypto.dump_certificate(crypto.FILETYPE_PEM, certificate).decode("ascii") for certificate in chain)
    except crypto.Error:
        return None
    try:
        leaf = chain[0].to_cryptography()
        return ClientCertificate(
            leaf.subject.rfc4514_string(),
            leaf.issuer.rfc4514_string(),
            _serial_number(leaf.serial_number),
            _iso(leaf.not_valid_before_utc),
            _iso(leaf.not_valid_after_utc),
            pem,
        )
    except Exception:  # noqa: BLE001 - every byte of it is the client's
        return ClientCertificate("", "", "", "", "", pem)


def _serial_number(number: int) -> str:
    """In whole bytes, as ALB writes it: `03A5B1`."""
    digits = f"{number:X}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _name_of(source: str | bytes, setting: str) -> str:
    return f"{setting} {source!r}" if isinstance(source, str) else f"{setting} (bytes)"


def _read(source: str | bytes, setting: str, wanted: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise ValueError(f"{_name_of(source, setting)} cannot be read ({error.strerror}); {wanted}") from None


def _read_authorities(source: str | bytes) -> tuple[x509.Certificate, ...]:
    data = _read(source, "trust_store", _BUNDLE)
    if not data.strip():
        raise ValueError(f"{_name_of(source, 'trust_store')} is empty; {_BUNDLE}")
    try:
        authorities = tuple(x509.load_pem_x509_certificates(data))
        for authority in authorities:
            crypto.X509.from_cryptography(authority)
    except (ValueError, crypto.Error) as error:
        raise ValueError(f"{_name_of(source, 'trust_store')} holds something else than certificates in PEM ({error}); {_BUNDLE}") from None
    return authorities


def _read_revocations(source: str | bytes, authorities: Sequence[x509.Certificate]) -> list[x509.CertificateRevocationList]:
    name = _name_of(source, "revocations")
    data = _read(source, "revocations", _LISTS)
    if not data.strip():
        raise ValueError(f"{name} is empty; {_LISTS}")
    blocks = _CRL_BLOCK.findall(data)
    try:
        revocations = [x509.load_pem_x509_crl(block) for block in blocks] or [x509.load_der_x509_crl(data)]
        for revocation in revocations:
            _check_revocation(revocation, name, authorities)
    except _WrongRevocationError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{name} holds something else than revocation lists ({error}); {_LISTS}") from None
    return revocations


class _WrongRevocationError(ValueError):
    """A revocation list, but none that can be used."""


def _check_revocation(revocation: x509.CertificateRevocationList, name: str, authorities: Sequence[x509.Certificate]) -> None:
    issuer = revocation.issuer.rfc4514_string()
    if not any(_has_signed(authority, revocation) for authority in authorities):
        raise _WrongRevocationError(
            f"{name} is a list of {issuer!r}, which is no CA of the trust store; add that CA's certificate to trust_store, or leave it out"
        )
    for extension in revocation.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise _WrongRevocationError(f"{name} lists only what is new (a delta CRL); give the whole list of {issuer!r}")
        # OpenSSL would pass over such a list without a word, and take what it revokes.
        if isinstance(value, x509.IssuingDistributionPoint) and (
            value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs
        ):
            raise _WrongRevocationError(f"{name} lists only some of the revoked certificates of {issuer!r}; give the whole list")


def _has_signed(authority: x509.Certificate, revocation: x509.CertificateRevocationList) -> bool:
    if authority.subject != revocation.issuer:
        return False
    try:
        return revocation.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _show_certificates(context: SSL.Context, certificates: Sequence[_ServerCertificate]) -> None:
    shown: set[bytes] = set()
    for certificate in certificates:
        leaf, *others = x509.load_pem_x509_certificates(certificate.chain)
        key = cast("rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey", load_pem_private_key(certificate.key, None))
        try:
            context.use_certificate(leaf)
            context.use_privatekey(key)
            context.check_privatekey()
        except SSL.Error as error:
            name = leaf.subject.rfc4514_string()
            raise ValueError(f"the certificate of {name!r} cannot be used ({_words(error)}); give it with its own key") from None
        for other in others:
            body = other.public_bytes(Encoding.DER)
            if body not in shown:
                shown.add(body)
                context.add_extra_chain_cert(other)
