from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albkit.model.tls import ClientCertificate, TlsSession
from albkit.wire.tls.fields import TLS_FIELDS, tls_field_lines

_LEAF = "-----BEGIN CERTIFICATE-----\nMII+/=\n-----END CERTIFICATE-----\n"
_ISSUER = "-----BEGIN CERTIFICATE-----\nABC/+=\n-----END CERTIFICATE-----\n"
_ENCODED_LEAF = b"-----BEGIN%20CERTIFICATE-----%0AMII+/=%0A-----END%20CERTIFICATE-----%0A"
_ENCODED_ISSUER = b"-----BEGIN%20CERTIFICATE-----%0AABC/+=%0A-----END%20CERTIFICATE-----%0A"
_NAMES: dict[str, str] = {}


def _certificate(subject: str = "CN=client,O=Org", issuer: str = "CN=CA") -> ClientCertificate:
    return ClientCertificate(subject, issuer, "03A5B1", "2026-01-31T00:00:00Z", "2027-01-31T00:00:00Z", (_LEAF, _ISSUER))


def _session(certificate: ClientCertificate | None = None) -> TlsSession:
    return TlsSession("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", client_certificate=certificate)


def test_version_and_cipher_are_told_where_that_is_wished() -> None:
    """As OpenSSL calls them (docs/alb.md 1.2)."""
    expected = b"X-Amzn-Tls-Version: TLSv1.2\r\nX-Amzn-Tls-Cipher-Suite: ECDHE-RSA-AES128-GCM-SHA256"
    assert tls_field_lines(_session(), mutual_mode="off", version_and_cipher=True, names=_NAMES) == expected


def test_passthrough_hands_the_whole_chain_on() -> None:
    """URL-encoded, leaf first, with +, = and / as they are (docs/alb.md 1.11)."""
    lines = tls_field_lines(_session(_certificate()), mutual_mode="passthrough", version_and_cipher=False, names=_NAMES)
    assert lines == b"X-Amzn-Mtls-Clientcert: " + _ENCODED_LEAF + _ENCODED_ISSUER
    assert unquote(lines.decode().partition(": ")[2]) == _LEAF + _ISSUER


def test_verify_tells_what_stands_in_the_certificate() -> None:
    """Five fields (docs/alb.md 1.11)."""
    lines = tls_field_lines(_session(_certificate()), mutual_mode="verify", version_and_cipher=False, names=_NAMES)
    assert lines.split(b"\r\n") == [
        b"X-Amzn-Mtls-Clientcert-Serial-Number: 03A5B1",
        b"X-Amzn-Mtls-Clientcert-Issuer: CN=CA",
        b"X-Amzn-Mtls-Clientcert-Subject: CN=client,O=Org",
        b"X-Amzn-Mtls-Clientcert-Validity: NotBefore=2026-01-31T00:00:00Z;NotAfter=2027-01-31T00:00:00Z",
        b"X-Amzn-Mtls-Clientcert-Leaf: " + _ENCODED_LEAF,
    ]


def test_everything_together_is_one_block_of_lines() -> None:
    """Version and cipher come first."""
    both = tls_field_lines(_session(_certificate()), mutual_mode="verify", version_and_cipher=True, names=_NAMES)
    assert [line.partition(b":")[0].decode() for line in both.split(b"\r\n")] == [*TLS_FIELDS[:2], *TLS_FIELDS[3:]]


@pytest.mark.parametrize(
    ("mode", "certificate"), [("off", _certificate()), ("off", None), ("passthrough", None), ("verify", None), ("", _certificate())]
)
def test_nothing_to_tell_is_empty(mode: str, certificate: ClientCertificate | None) -> None:
    """No certificate, or nobody wants to know."""
    assert tls_field_lines(_session(certificate), mutual_mode=mode, version_and_cipher=False, names=_NAMES) == b""


def test_what_is_not_known_has_no_line() -> None:
    """A proxy before us may have told the version alone; a certificate may have a name that cannot be read."""
    assert tls_field_lines(TlsSession("", ""), mutual_mode="off", version_and_cipher=True, names=_NAMES) == b""
    only = tls_field_lines(TlsSession("TLSv1.3", ""), mutual_mode="off", version_and_cipher=True, names=_NAMES)
    assert only == b"X-Amzn-Tls-Version: TLSv1.3"


def test_names_given_are_used_instead() -> None:
    """Whatever the letters of the name that is replaced; others stay."""
    names = {"x-amzn-tls-version": "X-Tls", "X-AMZN-MTLS-CLIENTCERT": "client-cert", "X-Other": "X-Nothing"}
    lines = tls_field_lines(_session(_certificate()), mutual_mode="passthrough", version_and_cipher=True, names=names)
    assert [line.partition(b":")[0] for line in lines.split(b"\r\n")] == [b"X-Tls", b"X-Amzn-Tls-Cipher-Suite", b"client-cert"]


def test_each_default_name_can_be_replaced() -> None:
    """All eight."""
    names = {name: f"X-{index}" for index, name in enumerate(TLS_FIELDS)}
    assert len(names) == 8
    written = set()
    for mode in ("passthrough", "verify"):
        lines = tls_field_lines(_session(_certificate()), mutual_mode=mode, version_and_cipher=True, names=names)
        written |= {line.partition(b":")[0].decode() for line in lines.split(b"\r\n")}
    assert written == set(names.values())


@pytest.mark.parametrize(
    ("subject", "written"),
    [
        ("CN=a\r\nX-Evil: 1", rb"CN=a\0D\0AX-Evil: 1"),
        ("CN=a\nb", rb"CN=a\0Ab"),
        ("CN=a\x00b", rb"CN=a\00b"),
        ("CN=a\tb\x7f", rb"CN=a\09b\7F"),
        ("CN=Jürgen", rb"CN=J\C3\BCrgen"),
        ("CN=\U0001f600", rb"CN=\F0\9F\98\80"),
        ("CN=\ud800", rb"CN=\ED\A0\80"),
        ("CN=a\\,b\\+c", rb"CN=a\,b\+c"),
        ("CN=a\\ ", rb"CN=a\20"),
        ("CN=a ", rb"CN=a\20"),
        ("CN=a\\\\\\ ", rb"CN=a\\\20"),
        ("CN=a b", rb"CN=a b"),
    ],
)
def test_name_with_odd_letters_is_escaped_as_names_are(subject: str, written: bytes) -> None:
    """A backslash and two digits (RFC 4514 section 2.4): no byte of a name can end its line, or be lost at the end of it."""
    lines = tls_field_lines(_session(_certificate(subject, subject)), mutual_mode="verify", version_and_cipher=False, names=_NAMES)
    assert b"X-Amzn-Mtls-Clientcert-Subject: " + written in lines.split(b"\r\n")
    assert b"X-Amzn-Mtls-Clientcert-Issuer: " + written in lines.split(b"\r\n")


@given(st.lists(st.text(max_size=20), min_size=9, max_size=9), st.sampled_from(["passthrough", "verify"]))
def test_no_text_at_all_can_write_another_line(texts: list[str], mode: str) -> None:
    """Whatever a client or a proxy says, the lines are ours and visible ASCII."""
    version, cipher, subject, issuer, number, before, after, leaf, other = texts
    certificate = ClientCertificate(subject, issuer, number, before, after, (leaf, other))
    session = TlsSession(version, cipher, client_certificate=certificate)
    lines = tls_field_lines(session, mutual_mode=mode, version_and_cipher=True, names=_NAMES)
    names = [name.encode() for name in TLS_FIELDS]
    for line in lines.split(b"\r\n") if lines else ():
        name, colon, value = line.partition(b": ")
        assert name in names
        assert colon
        assert re.fullmatch(rb"[ -~]*[!-~]", value)
