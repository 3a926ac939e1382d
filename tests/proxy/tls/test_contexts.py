"""What listeners offer: for every security policy, version, cipher and kind of key one handshake in memory, as a scanner does it."""

from __future__ import annotations

import ssl
import time
import warnings
from functools import cache
from pathlib import Path

import pytest

from albkit.model.actions.fixed_response import FixedResponse
from albkit.model.certificate import Certificate
from albkit.model.listener import Listener
from albkit.model.ssl_policy import SSL_POLICIES, SslPolicy
from albkit.model.validation import Faults
from albkit.proxy.tls.contexts import server_context, show
from albkit.proxy.tls.termination import Termination, load_termination
from tests.support.secure import VERSIONS, client_context, issued, own_name

TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
NEVER = (
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-CCM",
    "AES128-CCM",
    "ECDHE-RSA-CAMELLIA128-SHA256",
    "CAMELLIA128-SHA",
    "ECDHE-ECDSA-NULL-SHA",
    "ECDHE-RSA-NULL-SHA",
    "NULL-SHA256",
    "NULL-SHA",
    "ADH-AES128-GCM-SHA256",
    "AECDH-AES128-SHA",
    "PSK-AES128-GCM-SHA256",
    "RC4-SHA",
    "EDH-RSA-DES-CBC3-SHA",
    "DES-CBC3-SHA",
)
"""Ciphers that no policy has, but for one the last."""
SHA2_ONLY = ("GCM", "SHA256", "SHA384", "CCM", "POLY1305")
"""Ciphers with one of these in their names came with TLS 1.2 (RFC 5246), and are not for versions before."""
by_policy = pytest.mark.parametrize("policy", SSL_POLICIES.values(), ids=SSL_POLICIES)


def known_ciphers() -> list[str]:
    """Every cipher of a policy, and some more, as far as the client knows it."""
    wanted = dict.fromkeys([*(cipher for policy in SSL_POLICIES.values() for cipher in policy.ciphers), *NEVER])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    has = {cipher["name"] for cipher in context.get_ciphers()}
    return [cipher for cipher in wanted if cipher in has]


CIPHERS = known_ciphers()


def termination(policy: SslPolicy, *keys: str) -> Termination:
    """How a listener with this policy speaks TLS, with a default certificate of the first kind of key and one for example.com of each."""
    own = [Certificate(one.pem, one.key_pem) for one in (issued(key=key) for key in (keys[0], *keys))]
    listener = Listener(0, FixedResponse(200), protocol="HTTPS", certificates=own, ssl_policy=policy.name)
    faults = Faults("Listener")
    loaded = load_termination(listener, faults, "listener", time.time())
    faults.raise_if_any()
    assert loaded is not None
    return loaded


@cache
def client(version: str, ciphers: str | None) -> ssl.SSLContext:
    return client_context(version, ciphers=ciphers)


def shaken(server: Termination, context: ssl.SSLContext) -> tuple[ssl.SSLObject, object] | None:
    """Both sides behind their handshake, or nothing."""
    session, incoming, outgoing = server.begin()
    came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    other = context.wrap_bio(came, goes, server_hostname="example.com")
    over = [False, False]
    try:
        for _ in range(10):
            for place, step in enumerate((other.do_handshake, session.do_handshake)):
                try:
                    step()
                    over[place] = True
                except ssl.SSLWantReadError:
                    pass
                incoming.write(goes.read())
                came.write(outgoing.read())  # type: ignore[arg-type]
            if all(over):
                return other, session
    except ssl.SSLError:
        return None
    return None


def claims(policy: SslPolicy, version: str, cipher: str, key: str) -> bool:
    """Whether the policy says that this is to be had with a certificate of this kind."""
    if not policy.minimum <= version <= policy.maximum or cipher not in policy.ciphers:
        return False
    if version != "TLSv1.2" and any(mark in cipher for mark in SHA2_ONLY):
        return False
    needs = "ECDSA" if "ECDSA" in cipher else "RSA"
    return needs == ("RSA" if key.startswith("rsa") else "ECDSA")


def can_be_had(cipher: str) -> bool:
    """Whether this OpenSSL knows it at all; Debian's is built without 3DES."""
    return cipher in CIPHERS


@pytest.mark.parametrize("key", ["rsa2048", "ec256"])
@by_policy
def test_every_version_and_cipher_is_had_just_where_the_policy_claims_it(policy: SslPolicy, key: str) -> None:
    """One handshake for each."""
    server = termination(policy, key)
    wrong = []
    for version in ("TLSv1", "TLSv1.1", "TLSv1.2"):
        for cipher in CIPHERS:
            both = shaken(server, client(version, cipher))
            if (both is not None) != claims(policy, version, cipher, key):
                wrong.append((version, cipher, "taken" if both else "refused"))
            elif both is not None:
                assert (both[0].version(), both[0].cipher()[0]) == (version, cipher)  # type: ignore[index]
                outcome = server.outcome(both[1])
                assert (outcome.version, outcome.cipher) == (version, cipher)
    assert wrong == []


@pytest.mark.parametrize("key", ["rsa2048", "ec256"])
@by_policy
def test_every_version_is_had_just_where_the_policy_claims_it(policy: SslPolicy, key: str) -> None:
    """With all ciphers that the client knows; TLS 1.3 agrees on one of its own three."""
    server = termination(policy, key)
    for version in VERSIONS:
        both = shaken(server, client(version, None))
        expected = policy.minimum <= version <= policy.maximum
        if version in ("TLSv1", "TLSv1.1"):
            expected = expected and any(claims(policy, version, cipher, key) for cipher in CIPHERS)
        assert (both is not None) == expected, version
        if both is not None and version == "TLSv1.3":
            cipher = both[0].cipher()
            assert cipher is not None
            assert cipher[0] in TLS13


@by_policy
def test_servers_order_of_ciphers_holds(policy: SslPolicy) -> None:
    """Whatever order the client has: the first of the policy's that both know is taken, in turn without those before."""
    if not policy.ciphers:
        return
    server = termination(policy, "ec256", "rsa2048")
    wanted = [cipher for cipher in policy.ciphers if can_be_had(cipher)]
    while wanted:
        both = shaken(server, client("TLSv1.2", ":".join(reversed(wanted))))
        assert both is not None
        assert both[0].cipher()[0] == wanted[0]  # type: ignore[index]
        assert server.outcome(both[1]).cipher == wanted[0]
        del wanted[0]


def test_three_triple_des_is_offered_by_the_policy_that_has_it_alone() -> None:
    """Where OpenSSL still knows it: it stands in one policy."""
    assert [policy.name for policy in SSL_POLICIES.values() if "DES-CBC3-SHA" in policy.ciphers] == ["ELBSecurityPolicy-TLS-1-0-2015-04"]


@by_policy
def test_contexts_are_made_without_a_warning_and_as_told(policy: SslPolicy) -> None:
    """Python warns of old versions, which the policy asks for by its name; no renegotiation, no compression, the server's order."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        context = server_context([issued_as_shown("ec256")], policy, ())
    assert context.minimum_version == VERSIONS[policy.minimum]
    assert context.maximum_version == VERSIONS[policy.maximum]
    for option in (ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_COMPRESSION, ssl.OP_CIPHER_SERVER_PREFERENCE):
        assert context.options & option


class Shown:
    def __init__(self, chain: bytes, key: bytes) -> None:
        self.chain = chain
        self.key = key


def issued_as_shown(key: str) -> Shown:
    one = issued(key=key)
    return Shown(one.pem, one.key_pem)


def test_certificate_without_its_key_is_an_error_of_openssl() -> None:
    """Which whoever loads it turns into words."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ssl.SSLError):
        show(context, Shown(issued().pem, issued(key="rsa2048").key_pem))


@pytest.mark.parametrize("memory", [True, False])
def test_key_is_on_no_disk_where_memory_files_exist(memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in a temporary file where they do not; neither leaves anything open."""
    import os
    import tempfile

    made: list[str] = []
    if memory:
        monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda: made.append("file"))
    else:
        monkeypatch.delattr(os, "memfd_create")
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("this system does not tell what is open")
    open_before = len(list(open_files.iterdir()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    show(context, issued_as_shown("ec256"))
    assert len(list(open_files.iterdir())) == open_before
    assert made == []


def test_client_without_ecdsa_is_shown_rsa() -> None:
    """Of two certificates for one name; the outcome knows which was shown."""
    server = termination(SSL_POLICIES["ELBSecurityPolicy-TLS13-1-2-Res-2021-06"], "ec256", "rsa2048")
    labels = set()
    for cipher, mark in (("ECDHE-ECDSA-AES128-GCM-SHA256", "EC"), ("ECDHE-RSA-AES128-GCM-SHA256", "RSA")):
        both = shaken(server, client("TLSv1.2", cipher))
        assert both is not None, mark
        assert own_name(both[0].getpeercert(True)) == "localhost"
        labels.add(server.outcome(both[1]).certificate)
    assert len(labels) == 2
