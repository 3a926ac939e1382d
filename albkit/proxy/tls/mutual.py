"""TLS contexts for mutual TLS (docs/alb.md 1.11).

The standard library does not say why a client's certificate is wrong, accepts none without verifying it, and provides no chain. pyOpenSSL
does, so connections with mutual TLS use it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL, crypto

from albkit.model.mutual_authentication import MutualAuthentication
from albkit.proxy.tls.client_certificates import (
    CODES,
    CRL_PROCESSING,
    FAILURES,
    INVALID,
    UNMAPPED,
    UNSUPPORTED,
    client_certificate,
    fault_of_type,
)
from albkit.proxy.tls.mutual_session import Findings
from albkit.proxy.tls.openssl_errors import forget_errors, words
from albkit.proxy.tls.trust_store import TrustStore

__all__ = ("MutualContexts",)

_VERSIONS = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_LEGACY: Final = ("TLSv1", "TLSv1.1")
"""OpenSSL allows neither above security level 0."""
_OPTIONS = SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET
_NO_AUTO_CHAIN: Final = 0x8
"""SSL_MODE_NO_AUTO_CHAIN: without it, OpenSSL would complete the server's own chain from the trust store for clients."""
_INTERMEDIATES_MAX: Final = 2
"""Four certificates in all: the client's, these, and the trusted one."""


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
    """Creates contexts that ask clients for a certificate.

    Args:
        mutual: Whether to verify it, and against what.
        policy: The protocol versions, `"TLSv1"` to `"TLSv1.3"`, and the ciphers up to TLS 1.2.
        alpn: The protocols to negotiate, in order of preference.

    Reads files, so do not create one in an event loop.

    Raises:
        ValueError: a file cannot be read, or has the wrong content. The text says what to do.
    """

    def __init__(self, mutual: MutualAuthentication, policy: _Policy, alpn: Sequence[str]) -> None:
        self._mutual = mutual
        self._policy = policy
        self._alpn = [name.encode("ascii") for name in alpn]
        self._store = TrustStore(mutual)
        self._verifier = _Verifier(mutual, self._store.authorities, self._store.revocations)
        self.warnings = self._store.warnings
        """Problems of its files that prevent nothing yet."""

    def context(self, certificates: Sequence[_ServerCertificate]) -> SSL.Context:
        """Create a context with these certificates: at most one with an ECDSA and one with an RSA key, of which the client gets one it
        supports.

        If both have intermediates, clients get the intermediates of both.

        Raises:
            ValueError: a certificate and its key do not match, or OpenSSL does not support a protocol version or a cipher.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_app_data(self._mutual.mode)
        context.set_options(_OPTIONS)
        # MODE_RELEASE_BUFFERS frees about 34 KiB per idle connection (SSL_CTX_set_mode(3)).
        context.set_mode(SSL.MODE_RELEASE_BUFFERS | _NO_AUTO_CHAIN)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
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
            raise ValueError(f"this OpenSSL does not support the security policy ({words(error)}); choose another one") from None

    def _ask_for_certificate(self, context: SSL.Context) -> None:
        if self._mutual.mode == "off":
            return
        if self._mutual.mode == "passthrough":
            context.set_verify(SSL.VERIFY_PEER, _accept)
            return
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verifier.verdict)
        context.set_verify_depth(_INTERMEDIATES_MAX)
        store = context.get_cert_store()
        assert store is not None  # noqa: S101 - every context has one
        for authority in self._store.authorities:
            store.add_cert(crypto.X509.from_cryptography(authority))
            if self._mutual.advertise_trust_store_ca_names:
                context.add_client_ca(authority)
        # PARTIAL_CHAIN lets a chain end at an intermediate CA of the trust store, without its root (X509_VERIFY_PARAM_set_flags(3)).
        flags = crypto.X509StoreFlags.PARTIAL_CHAIN
        if self._store.revocations:
            flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
        for revocation in self._store.revocations:
            store.add_crl(revocation)
        store.set_flags(flags)


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
    """Called by OpenSSL for every ClientHello, with or without a server name."""
    findings: Findings = connection.get_app_data()
    findings.hello_seen = True
    name = connection.get_servername()
    if not name or findings.choose is None:
        return
    findings.server_name = name.decode("ascii", "backslashreplace").lower()
    connection.set_context(findings.choose(findings.server_name) or findings.default)


def _accept(connection: SSL.Connection, _certificate: crypto.X509, error: int, _depth: int, _ok: int) -> bool:
    connection.get_app_data().certificate_seen = True
    if error:
        forget_errors()
    return True


class _Verifier:
    """Accepts or rejects each certificate of a chain, when OpenSSL verifies it."""

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
        """Whether to continue the verification. It must not raise: pyOpenSSL would raise the exception in the next connection of the
        context."""
        findings: Findings = connection.get_app_data()
        findings.certificate_seen = True
        try:
            with warnings.catch_warnings(action="ignore"):
                failure = self._failure(certificate, 0 if ok else error, depth, findings)
        except Exception:  # noqa: BLE001 - an attacker's bytes that cause an error are not a certificate to trust
            failure = INVALID
        if not failure:
            if not ok:
                forget_errors()
            return True
        # The first failure counts: OpenSSL may call this again for other certificates of the chain.
        if not findings.failure:
            findings.failure = failure
            findings.certificate = client_certificate([certificate])
        return False

    def _failure(self, certificate: crypto.X509, error: int, depth: int, findings: Findings) -> str:
        if not error:
            findings.detail = self._fault_of_type(certificate.to_cryptography(), depth)
            return UNSUPPORTED if findings.detail else ""
        if error == CODES.ERR_CERT_HAS_EXPIRED and self._ignores_expiry:
            return ""
        if error == CODES.ERR_UNABLE_TO_GET_CRL:
            # Either this CA has no list, which is allowed, or OpenSSL cannot use its list for this certificate.
            issuer = certificate.to_cryptography().issuer.public_bytes()
            return CRL_PROCESSING if issuer in self._with_revocations else ""
        return FAILURES.get(error, UNMAPPED)

    def _fault_of_type(self, certificate: x509.Certificate, depth: int) -> str:
        """Whether ALB supports the certificate's key and signature. Trusted CAs are exempt: their owner has chosen them."""
        if depth and certificate.public_bytes(Encoding.DER) in self._trusted:
            return ""
        return fault_of_type(certificate)


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
            raise ValueError(f"the certificate of {name!r} cannot be used ({words(error)}); give the key that belongs to it") from None
        for other in others:
            body = other.public_bytes(Encoding.DER)
            if body not in shown:
                shown.add(body)
                context.add_extra_chain_cert(other)
