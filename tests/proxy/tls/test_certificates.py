from __future__ import annotations

import ssl
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from albkit.model.certificate import Certificate
from albkit.proxy.tls.certificates import CertificateError, LoadedCertificate, load, read_authorities, warnings_of
from tests.support.authority import Authority, Issued, KeyKind, key_pem_of, make_key, self_signed

_ROOT = Authority("Test Root")
_LOW = _ROOT.intermediate("Test Middle").intermediate("Test Low")
_ISSUED = _LOW.issue("a.example")
_OTHER = _LOW.issue("b.example")
_DAMAGED = b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"
_DAMAGED_KEY = b"-----BEGIN PRIVATE KEY-----\nbm9uZQ==\n-----END PRIVATE KEY-----\n"
_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
_NOW = time.time()
_DAY = 86400


def _load(certificate: str | bytes, key: str | bytes | None = None, **more: Any) -> LoadedCertificate:
    return load(Certificate(certificate, key, **more), _NOW)


def _load_issued(issued: Issued) -> LoadedCertificate:
    return _load(issued.pem, issued.key_pem)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _changed(issued: Issued, before: bytes, after: bytes) -> bytes:
    """The certificate with bytes of its own replaced by as many others; its signature does not hold any more."""
    der = issued.certificate.public_bytes(serialization.Encoding.DER)
    assert before in der
    assert len(before) == len(after)
    return ssl.DER_cert_to_PEM_cert(der.replace(before, after, 1)).encode()


def _in_old_form(issued: Issued, password: bytes | None) -> bytes:
    """The key in the form of its kind, as OpenSSL has written it in the past."""
    encryption = serialization.NoEncryption() if password is None else serialization.BestAvailableEncryption(password)
    return issued.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption)


_FORMS = [
    pytest.param((_ISSUED.pem, _ISSUED.key_pem), {}, id="bytes"),
    pytest.param((_ISSUED.pem + _ISSUED.key_pem,), {}, id="key behind the chain"),
    pytest.param((_ISSUED.key_pem + _ISSUED.pem,), {}, id="key before the chain"),
    pytest.param((_ISSUED.pem, _OTHER.pem + _ISSUED.key_pem), {}, id="other certificates beside the key"),
    pytest.param((_ISSUED.pem + _OTHER.key_pem, _ISSUED.key_pem), {}, id="another key beside the certificate"),
    pytest.param((b"# mine\r\n" + _ISSUED.pem.replace(b"\n", b"\r\n") + b"bye", _PARAMETERS + _ISSUED.key_pem), {}, id="other things"),
    pytest.param((_ISSUED.pem, _in_old_form(_ISSUED, None)), {}, id="key in the old form"),
    pytest.param((_ISSUED.pem, _in_old_form(_ISSUED, b"secret")), {"password": "secret"}, id="encrypted key in the old form"),
    pytest.param((_ISSUED.pem, _ISSUED.key_pem_encrypted("s\u00e9cret")), {"password": "s\u00e9cret"}, id="encrypted key"),
    pytest.param((_ISSUED.pem, _ISSUED.key_pem_encrypted(b"\xff")), {"password": b"\xff"}, id="encrypted key, password in bytes"),
    pytest.param((_ISSUED.pem, _ISSUED.key_pem), {"password": "secret"}, id="password without need"),
]


@pytest.mark.parametrize(("given", "more"), _FORMS)
def test_certificate_in_any_form_is_loaded_as_chain_and_decrypted_key(given: tuple[bytes, ...], more: dict[str, Any]) -> None:
    """What comes out is the same in all forms: nothing but the chain, nothing but the key."""
    loaded = _load(*given, **more)
    assert loaded.chain == _ISSUED.pem
    assert loaded.key == _ISSUED.key_pem
    assert loaded.fingerprint == sha256(_ISSUED.certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
    assert loaded.label == f"sha256:{loaded.fingerprint}"
    assert loaded.loaded_at == _NOW


def test_certificate_of_files_is_called_by_its_path(tmp_path: Path) -> None:
    """Its label is that of the certificate's file; the key is not in its `repr`."""
    certificate, key = _ISSUED.write(tmp_path, "mine")
    loaded = _load(certificate, key)
    assert (loaded.chain, loaded.key, loaded.label) == (_ISSUED.pem, _ISSUED.key_pem, certificate)
    assert loaded.source.files == (certificate, key)
    assert repr(loaded) == f"<LoadedCertificate {certificate}>"


@pytest.mark.parametrize(
    ("kind", "key_type", "size"),
    [
        ("ec256", "ECDSA", 256),
        ("ec384", "ECDSA", 384),
        ("ec521", "ECDSA", 521),
        ("rsa2048", "RSA", 2048),
        ("rsa3072", "RSA", 3072),
        ("rsa4096", "RSA", 4096),
    ],
)
def test_key_of_a_kind_that_alb_has_is_taken_and_served(kind: KeyKind, key_type: str, size: int, tmp_path: Path) -> None:
    """ALB's kinds (docs/alb.md 1.10); OpenSSL takes what was loaded."""
    loaded = _load_issued(_LOW.issue("a.example", key=kind))
    assert (loaded.facts.key_type, loaded.facts.key_size) == (key_type, size)
    (tmp_path / "both.pem").write_bytes(loaded.chain + loaded.key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "both.pem")


@pytest.mark.parametrize(("kind", "strength"), [("sha1", 160), ("sha256", 256), ("sha384", 384), ("sha512", 512)])
@pytest.mark.parametrize("signer", ["ec256", "rsa2048"])
def test_strength_of_the_hash_is_its_length(signer: KeyKind, kind: Any, strength: int) -> None:
    """In bits, whoever has signed."""
    assert _load_issued(Authority("Signer", key=signer).issue("a.example", hash=kind)).facts.hash_strength == strength


def test_signature_of_ed25519_is_as_strong_as_its_own_hash() -> None:
    """Its hash is SHA-512 (RFC 8032); only a server's own key may not be of that kind."""
    assert _load_issued(Authority("Signer", key="ed25519").issue("a.example")).facts.hash_strength == 512


def test_signature_of_an_unknown_kind_counts_for_nothing() -> None:
    """It is loaded, and any other is better."""
    ecdsa_with_sha256, nothing = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")
    issued = _ROOT.issue("a.example")
    der = issued.certificate.public_bytes(serialization.Encoding.DER).replace(ecdsa_with_sha256, nothing)
    assert _load(ssl.DER_cert_to_PEM_cert(der).encode(), issued.key_pem).facts.hash_strength == 0


@pytest.mark.parametrize(
    ("names", "common_name", "expected"),
    [
        pytest.param(("a.example", "*.b.example"), "c.example", ("a.example", "*.b.example"), id="SAN and not the common name"),
        pytest.param(("A.Example", "a.example.", "B.example"), None, ("a.example", "b.example"), id="lower case, no dot, each once"),
        pytest.param(("127.0.0.1", "::1"), "c.example", (), id="SAN with addresses only"),
        pytest.param((), "C.example.", ("c.example",), id="no SAN"),
    ],
)
def test_names_are_those_of_the_san_or_else_the_common_name(names: tuple[str, ...], common_name: str | None, expected: Any) -> None:
    """The common name counts only where there is no SAN at all; addresses are nothing that clients ask for."""
    assert _load_issued(_ROOT.issue(*names, common_name=common_name)).facts.names == expected


def test_dates_are_seconds_since_1970() -> None:
    """Those of the certificate, and those of its whole chain."""
    begin, end = datetime(2026, 1, 31, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC)
    loaded = _load_issued(_LOW.issue("a.example", not_before=begin, not_after=end))
    assert (loaded.facts.not_before, loaded.facts.not_after) == (begin.timestamp(), end.timestamp())
    assert [validity.subject for validity in loaded.validities] == ["CN=a.example", "CN=Test Low", "CN=Test Middle"]
    assert loaded.validities[0][1:] == (begin.timestamp(), end.timestamp())


@pytest.mark.parametrize("authority", [False, True])
def test_certificate_signed_by_itself_is_taken(authority: bool) -> None:
    """With CA:TRUE as well, as laboratories have them."""
    assert _load_issued(self_signed("a.example", authority=authority)).facts.names == ("a.example",)


def test_chain_that_ends_with_its_root_is_taken() -> None:
    """The root is of no use to clients, and does no harm."""
    chain = _ISSUED.pem + _ROOT.pem()
    assert _load(chain, _ISSUED.key_pem).chain == chain


def test_issuer_written_in_other_case_is_the_same_name() -> None:
    """Names are compared as OpenSSL does it (RFC 5280, section 7.1)."""
    issued = _ROOT.intermediate("Odd  Big Name").issue("a.example")
    changed = _changed(issued, b"Odd  Big Name", b"oDD Big  Name")
    assert _load(changed + _pem(issued.intermediates[0]), issued.key_pem).facts.names == ("a.example",)


def _key_of_another_kind(kind: KeyKind) -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example", key=kind)
    return issued.pem, issued.key_pem


def _on_no_known_curve() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example")
    return _changed(issued, bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f")), issued.key_pem


def _with_a_key_for_pss() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example", key="rsa2048")
    rsa, pss = bytes.fromhex("300d06092a864886f70d0101010500"), bytes.fromhex("300d06092a864886f70d01010a3000")
    return _changed(issued, rsa, pss), issued.key_pem


def _with_a_subject_that_is_no_utf8() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example", common_name="broken")
    return _changed(issued, b"broken", b"\xff" * 6), issued.key_pem


def _with_a_damaged_extension() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example")
    return _changed(issued, b"\x82\x09a.example", b"\x82\x7fa.example"), issued.key_pem


def _with_an_extension_twice() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example")
    return _changed(issued, bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")), issued.key_pem


def _with_an_address_of_x400() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example")
    return _changed(issued, b"\x82\x09a.example", b"\xa3\x09\x04\x07example"), issued.key_pem


def _of_no_known_version() -> tuple[bytes, bytes]:
    issued = _ROOT.issue("a.example")
    return _changed(issued, bytes.fromhex("a003020102"), bytes.fromhex("a003020107")), issued.key_pem


_MIDDLE = [_pem(one) for one in _ISSUED.intermediates]
_KINDS = "give one of RSA with 2048 bits or more, or of ECDSA with P-256, P-384 or P-521"
_FIRST = "put the server's own certificate first, then that of its issuer, and so on"
_WRONG: list[Any] = [
    pytest.param(
        (_DAMAGED_KEY,),
        {},
        "the data given as certificate contains a private key, but no certificate; give the file of the",
        id="no certificate",
    ),
    pytest.param(
        (_ISSUED.pem[:300], _ISSUED.key_pem), {}, "the data given as certificate contains no certificate", id="certificate cut off"
    ),
    pytest.param(
        (_ISSUED.leaf_pem + _DAMAGED, _ISSUED.key_pem),
        {},
        "certificate 2 of 2 in the data given as certificate is damaged; get it from its issuer again",
        id="damaged certificate",
    ),
    pytest.param(
        (_ISSUED.pem,),
        {},
        "the data given as certificate contains no private key; give the path of the key file as 'key'",
        id="no key beside the certificate",
    ),
    pytest.param(
        (_ISSUED.pem, _ISSUED.pem),
        {},
        "the data given as key contains no private key; give the file that contains '-----BEGIN PRIVATE KEY-----'",
        id="certificate for a key",
    ),
    pytest.param(
        (_ISSUED.pem, _ISSUED.key_pem + _OTHER.key_pem),
        {},
        "the data given as key contains 2 private keys; keep only the one that belongs to the certificate",
        id="two keys",
    ),
    pytest.param(
        (_ISSUED.pem, _DAMAGED_KEY), {}, "the private key in the data given as key is damaged or of an unknown type", id="damaged key"
    ),
    pytest.param(
        (_ISSUED.pem, _ISSUED.key_pem_encrypted("secret")),
        {},
        "the private key in the data given as key is encrypted; give its password, or decrypt it with 'openssl pkey -in FILE'",
        id="no password",
    ),
    pytest.param(
        (_ISSUED.pem, _in_old_form(_ISSUED, b"secret")), {}, "the private key in the data given as key is encrypted;", id="none, old form"
    ),
    pytest.param(
        (_ISSUED.pem, _ISSUED.key_pem_encrypted("secret")),
        {"password": "wrong"},
        "the private key in the data given as key cannot be decrypted with the password given; correct it, or decrypt",
        id="wrong password",
    ),
    pytest.param(
        (_ISSUED.pem, _in_old_form(_ISSUED, b"secret")),
        {"password": "wrong"},
        "cannot be decrypted with the password",
        id="wrong, old form",
    ),
    pytest.param(
        (_ISSUED.pem, _OTHER.key_pem),
        {},
        "the key in the data given as key does not belong to the certificate in the data given as certificate; give the key with",
        id="another key",
    ),
    pytest.param(
        (_ISSUED.pem, key_pem_of(make_key("rsa2048"))), {}, "the key in the data given as key does not belong", id="key of another kind"
    ),
    pytest.param(
        (b"".join([*reversed(_MIDDLE), _ISSUED.leaf_pem]), _ISSUED.key_pem),
        {},
        "the key in the data given as key belongs to a later certificate in the data given as certificate, not to the first; " + _FIRST,
        id="chain upside down",
    ),
    pytest.param(
        (b"".join([_ISSUED.leaf_pem, *reversed(_MIDDLE)]), _ISSUED.key_pem),
        {},
        "is out of order: certificate 1 was issued by 'CN=Test Low', but the next one is that of 'CN=Test Middle'; " + _FIRST,
        id="intermediates upside down",
    ),
    pytest.param(
        (_ISSUED.pem + _OTHER.leaf_pem, _ISSUED.key_pem),
        {},
        "certificate 3 was issued by 'CN=Test Root', but the next one is that of 'CN=b.example'",
        id="stranger behind the chain",
    ),
    pytest.param((_ISSUED.leaf_pem + _ISSUED.pem, _ISSUED.key_pem), {}, "the next one is that of 'CN=a.example'", id="own one twice"),
    pytest.param(_key_of_another_kind("rsa1024"), {}, f"has an RSA key of 1024 bits, too few; {_KINDS}", id="short RSA key"),
    pytest.param(_key_of_another_kind("ed25519"), {}, f"has a key of Ed25519, which is not supported; {_KINDS}", id="Ed25519"),
    pytest.param(_key_of_another_kind("dsa2048"), {}, f"has a key of DSA, which is not supported; {_KINDS}", id="DSA"),
    pytest.param(_with_a_key_for_pss(), {}, f"has a key of RSASSA-PSS, which is not supported; {_KINDS}", id="key for PSS only"),
    pytest.param(_key_of_another_kind("ec256k1"), {}, f"on the curve secp256k1, which clients reject; {_KINDS}", id="curve of coins"),
    pytest.param(_on_no_known_curve(), {}, f"has a key of an unknown type; {_KINDS}", id="unknown curve"),
    pytest.param(_with_a_subject_that_is_no_utf8(), {}, "a name or an extension of a certificate in", id="subject is no UTF-8"),
    pytest.param(_with_a_damaged_extension(), {}, "cannot be parsed; have it issued again", id="damaged extension"),
    pytest.param(_with_an_extension_twice(), {}, "cannot be parsed; have it issued again", id="extension twice"),
    pytest.param(_with_an_address_of_x400(), {}, "cannot be parsed; have it issued again", id="name of an unknown kind"),
    pytest.param(_of_no_known_version(), {}, "certificate 1 of 1 in the data given as certificate is damaged", id="unknown version"),
]


@pytest.mark.parametrize(("given", "more", "said"), _WRONG)
def test_certificate_that_cannot_be_used_is_refused_with_a_remedy(given: tuple[bytes, ...], more: dict[str, Any], said: str) -> None:
    """The sentence says what is wrong, and what to do behind a semicolon."""
    with pytest.raises(CertificateError) as raised:
        _load(*given, **more)
    assert said in str(raised.value)
    assert "; " in str(raised.value)
    assert "secret" not in str(raised.value)


def _nothing(path: Path) -> None:
    assert not path.exists()


def _write(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


_FILES = [
    pytest.param(_nothing, "cannot be read: No such file or directory; check that the file exists and is readable", id="no file"),
    pytest.param(Path.mkdir, "cannot be read: Is a directory; check that the file exists and is readable", id="folder"),
    pytest.param(_write(b" \n"), "is empty; write PEM to it", id="blank"),
    pytest.param(_write(b"0\x82" + b"\0" * 50), "is not PEM: it contains no '-----BEGIN'; convert it with 'openssl x509", id="DER"),
    pytest.param(
        _write(_ISSUED.pem + b" " * 2**20), "is larger than 1 MiB; check that it is a PEM file with certificates or a key", id="large"
    ),
]


@pytest.mark.parametrize(("make", "said"), _FILES)
@pytest.mark.parametrize("wrong", ["certificate", "key"])
def test_file_that_cannot_be_used_is_named(make: Callable[[Path], Any], said: str, wrong: str, tmp_path: Path) -> None:
    """Certificate or key: the sentence begins with the path that was given."""
    certificate, key = _ISSUED.write(tmp_path, "mine")
    path = tmp_path / "wrong.pem"
    make(path)
    with pytest.raises(CertificateError) as raised:
        _load(**{"certificate": certificate, "key": key, wrong: str(path)})
    assert str(raised.value).startswith(f"{str(path)!r} {said}")


def test_key_of_another_certificate_is_named_with_both_files(tmp_path: Path) -> None:
    """A person sees at once which two do not go together."""
    certificate, _ = _ISSUED.write(tmp_path, "c")
    _, key = _OTHER.write(tmp_path, "k")
    with pytest.raises(CertificateError) as raised:
        _load(certificate, key)
    assert str(raised.value).startswith(f"the key in {key!r} does not belong to the certificate in {certificate!r}; ")


def test_bytes_without_end_are_refused_at_once() -> None:
    """A megabyte of beginnings is searched once, not once for each."""
    started = time.process_time()
    with pytest.raises(CertificateError, match="contains no certificate"):
        _load(b"-----BEGIN A-----" * 60_000)
    assert time.process_time() - started < 5


def _without_a_warning(certificate: bytes, key: bytes) -> LoadedCertificate:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        loaded = _load(certificate, key)
        assert warnings.filters == before
    assert told == []
    return loaded


def test_certificate_with_a_negative_serial_is_taken_without_a_warning() -> None:
    """cryptography warns of it; clients do not mind, and nobody who runs a load balancer can act on it."""
    issued = _ROOT.issue("a.example", serial_number=1)
    odd = _changed(issued, bytes.fromhex("a003020102020101"), bytes.fromhex("a003020102020180"))
    with pytest.warns(UserWarning, match="serial number"):
        x509.load_pem_x509_certificate(odd)
    assert _without_a_warning(odd, issued.key_pem).facts.names == ("a.example",)


def test_certificate_with_too_long_a_name_is_taken_without_a_warning() -> None:
    """cryptography warns of it; clients look at the SAN."""
    with warnings.catch_warnings(action="ignore"):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a" * 70, _validate=False)])
        issued = _ROOT.issue("a.example", subject=subject)
    with pytest.warns(UserWarning, match="length"):
        assert issued.certificate.subject
    assert _without_a_warning(issued.pem, issued.key_pem).validities[0].subject == "CN=" + "a" * 70


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(_NOW) + seconds, UTC)


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        pytest.param(-_DAY, 30 * _DAY, None, id="valid for long"),
        pytest.param(-_DAY, 7 * _DAY + 1, None, id="expires a second after 7 days"),
        pytest.param(-_DAY, 7 * _DAY, "expires at END; renew it and REPLACE", id="expires in 7 days"),
        pytest.param(-_DAY, 1, "expires at END; renew it and REPLACE", id="expires in a second"),
        pytest.param(-_DAY, 0, "expired at END; renew it and REPLACE", id="expires now"),
        pytest.param(-_DAY, -1, "expired at END; renew it and REPLACE", id="has expired"),
        pytest.param(0, 30 * _DAY, None, id="valid from now on"),
        pytest.param(
            1, 5 * _DAY, "is not valid before BEGIN, and clients reject it until then; check the system clock", id="not valid yet"
        ),
    ],
)
@pytest.mark.parametrize("kept", ["file", "bytes"])
def test_dates_to_be_minded_are_told_with_a_remedy(begin: int, end: int, said: str | None, kept: str, tmp_path: Path) -> None:
    """A file is taken up by itself; who gives bytes has to apply new ones."""
    issued = _LOW.issue("a.example", not_before=_at(begin), not_after=_at(end))
    loaded = _load_issued(issued) if kept == "bytes" else _load(*issued.write(tmp_path, "mine"))
    replace = "apply a configuration with the new one" if kept == "bytes" else "replace the file; no restart is needed"
    expected = []
    if said is not None:
        for word, text in (("BEGIN", f"{_at(begin):%Y-%m-%dT%H:%M:%SZ}"), ("END", f"{_at(end):%Y-%m-%dT%H:%M:%SZ}"), ("REPLACE", replace)):
            said = said.replace(word, text)
        expected = [f"the certificate in {loaded.label!r} {said}"]
    assert warnings_of(loaded, int(_NOW)) == expected


def test_dates_of_intermediates_are_minded_too() -> None:
    """Clients refuse the whole chain for one of them; the server's own comes first."""
    middle = _ROOT.intermediate("Old Middle", not_after=_at(-_DAY))
    low = middle.intermediate("New Low", not_before=_at(_DAY))
    loaded = _load_issued(low.issue("a.example", not_after=_at(_DAY)))
    told = warnings_of(loaded, int(_NOW))
    assert [sentence.partition(" in the chain of ")[0] for sentence in told[1:]] == [
        "the certificate of 'CN=New Low'",
        "the certificate of 'CN=Old Middle'",
    ]
    assert [word in sentence for word, sentence in zip(("expires at", "is not valid before", "expired at"), told, strict=True)] == [
        True
    ] * 3


def test_authorities_are_those_of_the_bundle_each_once(tmp_path: Path) -> None:
    """From a file or from bytes, in their order, with comments between them."""
    other = Authority("Other Root")
    bundle = b"# first\n" + _ROOT.pem() + b"# second\n" + other.pem() + _ROOT.pem()
    (tmp_path / "ca.pem").write_bytes(bundle)
    assert read_authorities(bundle, "trust store") == [_ROOT.certificate, other.certificate]
    assert read_authorities(str(tmp_path / "ca.pem"), "trust store") == [_ROOT.certificate, other.certificate]


def test_bundle_that_cannot_be_read_is_called_what_it_is(tmp_path: Path) -> None:
    """The sentence names the setting's meaning, and the path if there is one."""
    path = str(tmp_path / "ca.pem")
    for source, said in (
        (path, f"the trust store {path!r} cannot be read: No such file or directory; "),
        (_DAMAGED_KEY, "the trust store contains a private key, but no certificate; "),
        (_ROOT.pem() + _DAMAGED, "certificate 2 of 2 in the trust store is damaged; "),
        (b"", "the trust store is empty; "),
    ):
        with pytest.raises(CertificateError) as raised:
            read_authorities(source, "trust store")
        assert str(raised.value).startswith(said)
