from __future__ import annotations

from typing import Any

import attrs
import pytest

from albkit.errors import ConfigurationError
from albkit.model.mutual_authentication import MutualAuthentication


@pytest.mark.parametrize("mode", ["passthrough", "off"])
def test_mutual_authentication_that_verifies_nothing_needs_nothing(mode: Any) -> None:
    """The mode alone; all else has ALB's defaults (docs/alb.md 1.11)."""
    mutual = MutualAuthentication(mode)
    assert (mutual.mode, mutual.trust_store, mutual.revocations, mutual.files) == (mode, None, (), ())
    assert (mutual.ignore_client_certificate_expiry, mutual.advertise_trust_store_ca_names) == (False, False)


@pytest.mark.parametrize(
    ("trust_store", "revocations", "kept", "files"),
    [
        ("ca.pem", (), (), ("ca.pem",)),
        ("ca.pem", "a.crl", ("a.crl",), ("ca.pem", "a.crl")),
        ("ca.pem", b"CRL", (b"CRL",), ("ca.pem",)),
        (b"PEM", ["a.crl", b"CRL", "b.crl"], ("a.crl", b"CRL", "b.crl"), ("a.crl", "b.crl")),
        (b"PEM", None, (), ()),
    ],
)
def test_mutual_authentication_tells_its_files(trust_store: Any, revocations: Any, kept: Any, files: Any) -> None:
    """One list or several; the paths are told, in their order, and the bytes are none."""
    mutual = MutualAuthentication("verify", trust_store=trust_store, revocations=revocations)
    assert (mutual.revocations, mutual.files) == (kept, files)


@pytest.mark.parametrize(
    ("mode", "settings", "paths"),
    [
        ("verify", {}, ["trust_store"]),
        ("verify", {"trust_store": None}, ["trust_store"]),
        ("verify", {"trust_store": ""}, ["trust_store"]),
        ("verify", {"trust_store": b""}, ["trust_store"]),
        ("verify", {"trust_store": "a\0b"}, ["trust_store"]),
        ("verify", {"trust_store": 7}, ["trust_store"]),
        ("verify", {"trust_store": ["ca.pem"]}, ["trust_store"]),
        ("verify", {"trust_store": "a", "revocations": ["a", "", 7, b""]}, ["revocations[1]", "revocations[2]", "revocations[3]"]),
        ("verify", {"trust_store": "a", "ignore_client_certificate_expiry": 1}, ["ignore_client_certificate_expiry"]),
        ("verify", {"trust_store": "a", "advertise_trust_store_ca_names": "on"}, ["advertise_trust_store_ca_names"]),
        ("passthrough", {"trust_store": "a"}, ["trust_store"]),
        ("off", {"trust_store": "a"}, ["trust_store"]),
        (
            "passthrough",
            {"revocations": "a", "ignore_client_certificate_expiry": True, "advertise_trust_store_ca_names": True},
            ["revocations", "ignore_client_certificate_expiry", "advertise_trust_store_ca_names"],
        ),
        ("Verify", {"trust_store": "a"}, ["mode"]),
        (None, {}, ["mode"]),
        (True, {}, ["mode"]),
        (["verify"], {"trust_store": ""}, ["mode", "trust_store"]),
    ],
)
def test_mutual_authentication_with_faults_tells_them_all(mode: Any, settings: dict[str, Any], paths: list[str]) -> None:
    """All faults come at once, each with the setting it is in."""
    with pytest.raises(ConfigurationError) as raised:
        MutualAuthentication(mode, **settings)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == paths


def test_mutual_authentication_is_a_value() -> None:
    """It cannot be changed, and equal ones are one key."""
    mutual = MutualAuthentication("verify", trust_store="a", revocations="b")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        mutual.mode = "off"  # type: ignore[misc]
    assert {mutual, MutualAuthentication("verify", trust_store="a", revocations=["b"])} == {mutual}
    assert mutual != MutualAuthentication("verify", trust_store="a")


def test_mutual_authentication_shows_no_bytes_of_a_file_in_a_fault() -> None:
    """What is told of a wrong setting stays short."""
    with pytest.raises(ConfigurationError) as raised:
        MutualAuthentication("passthrough", trust_store=b"x" * 10_000)
    assert len(str(raised.value)) < 300
