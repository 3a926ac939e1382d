"""The table of ALB's security policies, and what is said of names that are not in it."""

from __future__ import annotations

import re

import pytest

from albkit.model.ssl_policy import SSL_POLICIES, SslPolicy, fault_of_ssl_policy

DEFAULT = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
by_policy = pytest.mark.parametrize("policy", SSL_POLICIES.values(), ids=SSL_POLICIES)


@by_policy
def test_name_is_known_and_has_no_fault(policy: SslPolicy) -> None:
    """Each goes by ALB's whole name."""
    assert policy.name.startswith("ELBSecurityPolicy-")
    assert SSL_POLICIES[policy.name] is policy
    assert fault_of_ssl_policy(policy.name) is None


@by_policy
def test_name_says_what_it_offers(policy: SslPolicy) -> None:
    """TLS13-1-2 is TLS 1.2 and 1.3; FS is forward secrecy alone; Res has authenticated encryption alone."""
    name = policy.name.removeprefix("ELBSecurityPolicy-")
    assert (policy.maximum == "TLSv1.3") == name.startswith("TLS13")
    said = re.match(r"(?:TLS13|TLS|FS)-1-([0-3])", name)
    if said is not None:
        assert policy.minimum == ("TLSv1" if said[1] == "0" else f"TLSv1.{said[1]}")
    if name.startswith("FS") or "Res" in name:
        assert all(cipher.startswith("ECDHE-") for cipher in policy.ciphers)
    if "Res-2021" in name or "Res-2020" in name:
        assert all("GCM" in cipher for cipher in policy.ciphers)


@by_policy
def test_ciphers_stand_once_and_forward_secrecy_first(policy: SslPolicy) -> None:
    """None that is broken, none without a key; ECDSA before RSA of the same strength."""
    assert len(set(policy.ciphers)) == len(policy.ciphers)
    forward = [cipher.startswith("ECDHE-") for cipher in policy.ciphers]
    assert forward == sorted(forward, reverse=True)
    assert not [cipher for cipher in policy.ciphers if re.search("RC4|NULL|MD5|EXP|anon|ADH|DSS|CCM|CHACHA", cipher)]
    for cipher in policy.ciphers:
        if "-ECDSA-" in cipher:
            assert policy.ciphers.index(cipher) + 1 == policy.ciphers.index(cipher.replace("-ECDSA-", "-RSA-"))


def test_ciphers_of_the_default_are_these_four() -> None:
    """Forward secrecy and authenticated encryption, TLS 1.2 and 1.3."""
    policy = SSL_POLICIES[DEFAULT]
    assert (policy.minimum, policy.maximum) == ("TLSv1.2", "TLSv1.3")
    assert policy.ciphers == (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("TLS13-1-2-Ext1-2021-06", "TLS13-1-2-2021-06"),
        ("TLS13-1-2-2021-06", "TLS13-1-2-Res-2021-06"),
        ("TLS13-1-2-Ext2-2021-06", "TLS13-1-2-Ext1-2021-06"),
        ("FS-1-2-2019-08", "FS-1-2-Res-2019-08"),
        ("TLS-1-0-2015-04", "2016-08"),
        ("TLS-1-2-Ext-2018-06", "TLS-1-2-2017-01"),
    ],
)
def test_wider_policy_has_all_of_the_narrower(older: str, newer: str) -> None:
    """And something more."""
    wide, narrow = (SSL_POLICIES[f"ELBSecurityPolicy-{name}"] for name in (older, newer))
    assert set(wide.ciphers) > set(narrow.ciphers)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TLS13-1-2-2021-06", "lacks the prefix; write 'ELBSecurityPolicy-TLS13-1-2-2021-06'"),
        ("ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04", "use the policy without FIPS in its name"),
        ("ELBSecurityPolicy-TLS13-1-2-PQ-2025-09", "OpenSSL 3.5 and later"),
        ("ELBSecurityPolicy-TLS13-1-2-Res-2021-6", "is not a supported security policy; use one of ELBSecurityPolicy-"),
        ("elbsecuritypolicy-2016-08", "is not a supported security policy"),
        ("", "'' is not a supported security policy"),
        (None, "None is not a supported security policy"),
        (2016, "2016 is not a supported security policy"),
        (["ELBSecurityPolicy-2016-08"], "is not a supported security policy"),
    ],
)
def test_other_name_is_a_fault_that_says_what_to_do(name: object, words: str) -> None:
    """In a sentence."""
    wrong = fault_of_ssl_policy(name)
    assert wrong is not None
    assert words in wrong
