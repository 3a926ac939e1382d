"""PROXY protocol headers, written: byte by byte, and as the reader understands them."""

from __future__ import annotations

import string
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from albkit.model.tls import ClientCertificate, TlsSession
from albkit.wire.proxy_protocol.reader import LARGEST, read_proxy_header
from albkit.wire.proxy_protocol.writer import LOCAL_V1, LOCAL_V2, write_v1, write_v2

_V4 = ("192.0.2.1", 56506)
_V4_TO = ("198.51.100.2", 443)
_V6 = ("2001:db8::1", 56506)
_V6_TO = ("2001:db8::2", 443)
_UNIX = ("", 0)
_SIGNATURE = "0d0a0d0a000d0a515549540a"

_Address = tuple[str, int] | None


def _session(subject: str | None = None, verify_status: str = "", **known: str) -> TlsSession:
    shown = None if subject is None else ClientCertificate(subject, "CN=ca", "01", "", "", ("PEM",))
    return TlsSession("TLSv1.3", "AES", client_certificate=shown, verify_status=verify_status, **known)


@pytest.mark.parametrize(
    ("source", "destination", "line"),
    [
        (_V4, _V4_TO, b"PROXY TCP4 192.0.2.1 198.51.100.2 56506 443\r\n"),
        (_V6, _V6_TO, b"PROXY TCP6 2001:db8::1 2001:db8::2 56506 443\r\n"),
        (_V4, _V6_TO, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 56506 443\r\n"),
        (_V6, _V4_TO, b"PROXY TCP6 2001:db8::1 ::ffff:198.51.100.2 56506 443\r\n"),
        (("::ffff:192.0.2.1", 56506), _V4_TO, b"PROXY TCP4 192.0.2.1 198.51.100.2 56506 443\r\n"),
        (("fe80::1%eth0", 1), _V6_TO, b"PROXY TCP6 fe80::1 2001:db8::2 1 443\r\n"),
        (("0.0.0.0", 0), ("255.255.255.255", 65535), b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
        (None, _V4_TO, LOCAL_V1),
        (_V4, None, LOCAL_V1),
        (None, None, LOCAL_V1),
        (_UNIX, _UNIX, LOCAL_V1),
        (_UNIX, _V4_TO, LOCAL_V1),
        (_V4, _UNIX, LOCAL_V1),
    ],
)
def test_line_says_both_ends_in_one_family_or_that_they_are_unknown(source: _Address, destination: _Address, line: bytes) -> None:
    """Version 1."""
    assert write_v1(source, destination) == line


@pytest.mark.parametrize(
    ("source", "destination", "written"),
    [
        (_V4, _V4_TO, "21 11 000c c0000201 c6336402 dcba 01bb"),
        (_V6, _V6_TO, "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 dcba 01bb"),
        (_V4, _V6_TO, "21 21 0024 00000000000000000000ffffc0000201 20010db8000000000000000000000002 dcba 01bb"),
        (_V6, _V4_TO, "21 21 0024 20010db8000000000000000000000001 00000000000000000000ffffc6336402 dcba 01bb"),
        (("::ffff:192.0.2.1", 56506), ("::ffff:198.51.100.2", 443), "21 11 000c c0000201 c6336402 dcba 01bb"),
        (("fe80::1%2", 1), _V6_TO, "21 21 0024 fe800000000000000000000000000001 20010db8000000000000000000000002 0001 01bb"),
        (_UNIX, _UNIX, "21 00 0000"),
        (_UNIX, None, "21 00 0000"),
        (_V4, None, "21 00 0000"),
        (_V4, _UNIX, "21 00 0000"),
        (None, None, "20 00 0000"),
        (None, _V4_TO, "20 00 0000"),
    ],
)
def test_header_says_both_ends_in_one_family_or_that_they_are_unknown(source: _Address, destination: _Address, written: str) -> None:
    """Version 2."""
    assert write_v2(source, destination) == bytes.fromhex(_SIGNATURE + written)


def test_health_checks_headers_name_nobody() -> None:
    """Their bytes are known beforehand."""
    assert LOCAL_V1 == b"PROXY UNKNOWN\r\n"
    assert bytes.fromhex(_SIGNATURE + "20 00 0000") == LOCAL_V2
    assert write_v2(None, None, _session("CN=a", "Success")) == LOCAL_V2


@pytest.mark.parametrize("host", ["localhost", "192.0.2", "::1::", "é"])
def test_host_that_is_no_address_raises(host: str) -> None:
    """Names are no part of the protocol."""
    for write in (write_v1, write_v2):
        with pytest.raises(ValueError, match="does not appear to be"):
            write((host, 1), _V4_TO)


def test_session_is_written_byte_by_byte() -> None:
    """All that is known of it."""
    tls = _session("OU=x,CN=client,O=y", "Success", server_name="a.example", alpn="h2")
    assert write_v2(_UNIX, None, tls) == bytes.fromhex(
        _SIGNATURE
        + "21 00 0032"
        + "01 0002 6832"
        + "02 0009 612e6578616d706c65"
        + "20 001e 07 00000000 21 0007 544c5376312e33 23 0003 414553 22 0006 636c69656e74"
    )


@pytest.mark.parametrize(
    ("subject", "status", "written"),
    [
        (None, "", "01 00000001"),
        ("CN=a", "", "07 00000001"),
        ("CN=a", "Success", "07 00000000"),
        ("CN=a", "Failed:NotTrusted", "07 00000001"),
        (None, "Success", "07 00000000"),
        (None, "Failed:NotTrusted", "01 00000001"),
    ],
)
def test_verified_is_only_what_was_shown_and_verified(subject: str | None, status: str, written: str) -> None:
    """Zero says verified, so that no certificate is not zero (section 2.2.6)."""
    raw = write_v2(_V4, _V4_TO, _session(subject, status))
    assert raw[28] == 0x20
    assert raw[31:36] == bytes.fromhex(written)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("CN=a", "a"),
        ("cn=a", "a"),
        ("2.5.4.3=a", "a"),
        ("OU=b+CN=a,O=c", "a"),
        ("OU=b, CN=a, O=c", "a"),
        ("CN=first,CN=second", "first"),
        ("O=x\\,CN=forged,CN=a", "a"),
        ("O=x\\+CN=forged,CN=a", "a"),
        ("O=x\\\\,CN=a", "a"),
        (r"CN=a\, b\+c\"\\\<\>\;", 'a, b+c"\\<>;'),
        (r"CN=\ a\ ", " a "),
        (r"CN=\#a", "#a"),
        (r"CN=\C4\8Dic", "čic"),
        (r"CN=Lu\C4\8Di\c4\87", "Lučić"),
        ("CN=čić", "čić"),
        ("CN=\\č", "č"),
        ("CN=a=b", "a=b"),
        ("CN=" + "č" * 128, "č" * 128),
        ("", None),
        ("O=a", None),
        ("CN=", None),
        ("CN=#0c0161", None),
        ("CN=a\\", None),
        ("CN", None),
        (",CN=a", None),
        ("XCN=a", None),
        ("O=CN=a", None),
        (r"CN=a\0D\0AX: y", None),
        ("CN=a\nb", None),
        (r"CN=\FF", None),
        ("CN=\ud800", None),
        ("CN=" + "č" * 128 + "a", None),
    ],
)
def test_common_name_is_taken_out_of_the_subject(subject: str, name: str | None) -> None:
    """Unescaped, the most specific where there are several; left out where a reader would refuse it."""
    raw = write_v2(_V4, _V4_TO, _session(subject))
    inner = raw[31 + 5 + 10 + 6 :]
    assert inner == (b"" if name is None else b"\x22" + len(name.encode()).to_bytes(2, "big") + name.encode())
    assert read_proxy_header(raw) is not None


@pytest.mark.parametrize("text", ["a" * 256, "a\r\n", "\0", "č", "\udcff"])
def test_text_that_a_reader_would_refuse_is_left_out(text: str) -> None:
    """All else is still told."""
    header = read_proxy_header(write_v2(_V4, _V4_TO, TlsSession(text, text, server_name=text, alpn=text)))
    assert header is not None
    assert header.tls is not None
    assert (header.tls.version, header.tls.cipher, header.tls.server_name, header.tls.alpn) == ("", "", "", "")


def test_largest_header_that_is_written_is_bounded() -> None:
    """Far below what is read."""
    long = "a" * 255
    certificate = ClientCertificate("CN=" + "b" * 256, "", "", "", "", ())
    raw = write_v2(_V6, _V6_TO, TlsSession(long, long, server_name=long, alpn=long, client_certificate=certificate))
    assert len(raw) == 52 + 2 * 258 + 8 + 2 * 258 + 259
    assert len(raw) < LARGEST
    assert read_proxy_header(raw) is not None


@pytest.mark.parametrize("character", ["a", "\\", ",", '"'])
def test_long_subject_takes_no_longer_than_its_length(character: str) -> None:
    """Without an end, or without the name that is looked for; ended by the time limit of the tests if it were not so."""
    for subject in (
        "CN=" + character * 200_001,
        "CN=" + character * 200_000 + "\\",
        character * 200_000,
        "O=a," * 50_000 + "=",
        "a" * 200_000,
        " " * 200_000,
    ):
        assert read_proxy_header(write_v2(_V4, _V4_TO, _session(subject))) is not None


_ports = st.integers(0, 65535)
_hosts = st.one_of(
    st.builds(str, st.builds(IPv4Address, st.integers(0, 2**32 - 1))),
    st.builds(str, st.builds(IPv6Address, st.integers(0, 2**128 - 1)).filter(lambda address: address.ipv4_mapped is None)),
)
_addresses = st.tuples(_hosts, _ports)
_texts = st.text(string.ascii_lowercase + string.digits + " .-_!~", max_size=255)
_names = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029"), min_size=1, max_size=64)
_behind = st.binary(max_size=40)


@given(_addresses, _addresses, _behind)
def test_what_is_written_is_read_again(source: tuple[str, int], destination: tuple[str, int], behind: bytes) -> None:
    """In both versions, whatever stands behind it."""
    for written in (write_v1(source, destination), write_v2(source, destination)):
        header = read_proxy_header(written + behind)
        assert header is not None
        assert (header.source, header.destination, header.tls, header.size) == (source, destination, None, len(written))


@given(_texts, _texts, _texts, _texts, st.none() | _names, st.booleans(), st.sampled_from([_V4, _V6, _UNIX]), _behind)
def test_session_that_is_written_is_read_again(
    version: str, cipher: str, server_name: str, alpn: str, name: str | None, verified: bool, source: tuple[str, int], behind: bytes
) -> None:
    """Of the certificate only the name; and what was read is written again as the same bytes."""
    certificate = None
    if name is not None:
        escaped = "".join(f"\\{byte:02X}" for byte in name.encode())
        certificate = ClientCertificate(f"O=x,CN={escaped},C=y", "CN=ca", "01", "", "", ("PEM",))
    status = "Success" if verified else ""
    tls = TlsSession(version, cipher, server_name=server_name, alpn=alpn, client_certificate=certificate, verify_status=status)
    written = write_v2(source, _V4_TO, tls)
    header = read_proxy_header(written + behind)
    assert header is not None
    assert header.size == len(written)
    read = header.tls
    assert read is not None
    assert (read.version, read.cipher, read.server_name, read.alpn, read.verify_status) == (version, cipher, server_name, alpn, status)
    assert (read.client_certificate is None) is (name is None)
    assert write_v2(source, _V4_TO, read) == written


@given(_names.filter(lambda name: len(name.encode()) <= 64))
def test_subject_that_is_read_is_one_common_name_alone(name: str) -> None:
    """Nothing in a name can begin another attribute, for a reader of RFC 4514 other than ours."""
    header = read_proxy_header(write_v2(_V4, _V4_TO, _session("CN=" + "".join(f"\\{byte:02x}" for byte in name.encode()))))
    assert header is not None
    assert header.tls is not None
    assert header.tls.client_certificate is not None
    subject = header.tls.client_certificate.subject
    x509 = pytest.importorskip("cryptography.x509")
    attributes = list(x509.Name.from_rfc4514_string(subject))
    assert [(attribute.oid.dotted_string, attribute.value) for attribute in attributes] == [("2.5.4.3", name)]
