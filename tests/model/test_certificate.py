from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from albkit.errors import ConfigurationError
from albkit.model.certificate import Certificate

_PEM = b"-----BEGIN CERTIFICATE-----\nnobody reads this here\n-----END CERTIFICATE-----\n"

_BAD = [
    pytest.param("", "is empty", id="empty"),
    pytest.param(b"", "not PEM", id="no bytes"),
    pytest.param(b"\x30\x82secret", "not PEM", id="DER"),
    pytest.param(_PEM.decode() + "secret", "would be taken for a path", id="PEM as text"),
    pytest.param("a\0b", "NUL", id="NUL in the path"),
    pytest.param(5, "int is neither text nor bytes", id="number"),
    pytest.param(["cert.pem"], "list is neither text nor bytes", id="list"),
    pytest.param(bytearray(_PEM), "bytearray is neither text nor bytes", id="bytearray"),
]


@pytest.mark.parametrize(
    ("given", "files"),
    [
        pytest.param(Certificate("cert.pem", "key.pem"), ("cert.pem", "key.pem"), id="two files"),
        pytest.param(Certificate("cert.pem"), ("cert.pem",), id="one file"),
        pytest.param(Certificate("cert.pem", "cert.pem"), ("cert.pem",), id="the same file twice"),
        pytest.param(Certificate(_PEM, "key.pem"), ("key.pem",), id="bytes and a file"),
        pytest.param(Certificate("cert.pem", _PEM), ("cert.pem",), id="a file and bytes"),
        pytest.param(Certificate(_PEM), (), id="bytes"),
    ],
)
def test_certificate_tells_its_files(given: Certificate, files: tuple[str, ...]) -> None:
    """Every path that it is read from, each once."""
    assert given.files == files


def test_certificate_of_paths_is_that_of_their_texts() -> None:
    """A `pathlib.Path` is taken as its text, and the two are the same setting."""
    given = Certificate(Path("a/cert.pem"), Path("a/key.pem"))  # type: ignore[arg-type]
    assert given == Certificate("a/cert.pem", "a/key.pem")
    assert given.files == ("a/cert.pem", "a/key.pem")


@pytest.mark.parametrize(("value", "said"), _BAD)
@pytest.mark.parametrize("path", ["certificate", "key"])
def test_certificate_refuses_what_is_neither_path_nor_pem(path: str, value: Any, said: str) -> None:
    """The fault names the setting and says what would be right; no bytes stand in it, for they may be a key."""
    with pytest.raises(ConfigurationError) as raised:
        Certificate(**{"certificate": "cert.pem", path: value})
    (fault,) = raised.value.faults
    assert fault.startswith(f"{path}: ")
    assert said in fault
    assert "secret" not in fault


def test_certificate_cannot_be_none() -> None:
    """Only the key may be left out."""
    with pytest.raises(ConfigurationError, match="certificate: NoneType is neither text nor bytes"):
        Certificate(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("password", ["", b"", 5, ["secret"]], ids=repr)
def test_certificate_refuses_what_is_no_password(password: Any) -> None:
    """And does not show it."""
    with pytest.raises(ConfigurationError) as raised:
        Certificate("cert.pem", password=password)
    (fault,) = raised.value.faults
    assert fault.startswith("password: is empty, or neither text nor bytes")
    assert "secret" not in fault


def test_certificate_lists_every_fault() -> None:
    """A person corrects them in one go."""
    with pytest.raises(ConfigurationError) as raised:
        Certificate("", b"", password="")
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["certificate", "key", "password"]


def test_certificate_shows_paths_and_neither_bytes_nor_password() -> None:
    """What is logged gives no key away."""
    shown = repr(Certificate("cert.pem", b"-----BEGIN secret", password="secret"))
    assert "'cert.pem'" in shown
    assert "<PEM, 17 bytes>" in shown
    assert "secret" not in shown


def test_certificate_cannot_be_changed_and_can_be_a_key() -> None:
    """A setting is a value."""
    certificate = Certificate("cert.pem", "key.pem", password=b"a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        certificate.key = None  # type: ignore[misc]
    assert {certificate, Certificate("cert.pem", "key.pem", password=b"a")} == {certificate}
    assert certificate != Certificate("cert.pem", "key.pem", password=b"b")
