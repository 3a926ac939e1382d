"""Each security policy through a real listener, as another program sees it: `openssl s_client`, once per version."""

from __future__ import annotations

import asyncio

import pytest

import albkit as alb
from albkit.model.ssl_policy import SSL_POLICIES, SslPolicy
from tests.support.secure import Secured, certificate, https, program, securing, until

OPTIONS = {"TLSv1": "-tls1", "TLSv1.1": "-tls1_1", "TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


async def seen_by_openssl(it: Secured, *options: str) -> str:
    """What `openssl s_client` says of a connection on which it asks for nothing."""
    process = await asyncio.create_subprocess_exec(
        program("openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{it.port}",
        "-servername",
        "example.com",
        "-cipher",
        "ALL:@SECLEVEL=0",
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(10):
        said, _ = await process.communicate()
    return said.decode(errors="replace")


@pytest.mark.parametrize("policy", SSL_POLICIES.values(), ids=SSL_POLICIES)
async def test_openssl_agrees_on_the_versions_of_the_policy(policy: SslPolicy) -> None:
    """On those between its oldest and its newest, and on no other; each refusal is counted."""
    refused = 0
    async with securing(https(alb.FixedResponse(200), ssl_policy=policy.name, certificates=certificate(key="rsa2048"))) as it:
        for version, option in OPTIONS.items():
            said = await seen_by_openssl(it, option)
            agreed = f"New, {version}" in said or f"Protocol  : {version}\n" in said
            has_cipher = "Cipher is (NONE)" not in said
            expected = policy.minimum <= version <= policy.maximum
            assert (has_cipher and agreed) == expected, said
            refused += not expected
        await until(lambda: not it.runtime.clients)
        assert it.failures == ({"TlsHandshakeFailed": refused} if refused else {})


@pytest.mark.parametrize(("algorithm", "key"), [("rsa_pss_rsae_sha256", "rsa"), ("ecdsa_secp256r1_sha256", "ec"), (None, "ec")])
async def test_tls_1_3_client_is_shown_what_it_can_verify(algorithm: str | None, key: str) -> None:
    """Of two certificates for one name: ECDSA unless its signature algorithms leave RSA alone."""
    rsa, ec = certificate("example.com", key="rsa2048"), certificate("example.com")
    async with securing(https(alb.FixedResponse(200), certificates=[certificate("default.example"), rsa, ec])) as it:
        options = ["-tls1_3"] if algorithm is None else ["-tls1_3", "-sigalgs", algorithm]
        said = await seen_by_openssl(it, *options)
        assert ("rsaEncryption" in said or "RSA" in said.split("Peer signature type")[1][:10]) == (key == "rsa"), said
