"""OpenSSL's own client and curl at an HTTPS listener that asks for a certificate."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import albkit as alb
from tests.functional.test_mutual_authentication import Doors, asking, ca, verifying
from tests.support.authority import Authority
from tests.support.peers import response, target


def program(name: str) -> str:
    """Where it is; without it the test is skipped, but not in CI."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


async def run(*command: str, said: bytes = b"") -> tuple[int, str]:
    """Run a program to its end: how it ended, and all that it wrote."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(20):
            out, _ = await process.communicate(said)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode("utf-8", "replace")


async def s_client(it: Doors, *options: str) -> tuple[int, str]:
    """What `openssl s_client` says: it asks for a page and reads to the end."""
    asked = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
    return await run(
        program("openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{it.port}",
        "-servername",
        "example.com",
        "-ign_eof",
        *options,
        said=asked,
    )


async def curl(it: Doors, *options: str) -> tuple[int, str]:
    """What curl says of a page."""
    connect = f"example.com:443:127.0.0.1:{it.port}"
    return await run(program("curl"), "-sS", "-k", "--http1.1", "--connect-to", connect, *options, "https://example.com/")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_with_a_good_certificate_is_served_and_told_the_names(version: str, tmp_path: Path) -> None:
    """It is shown whom we trust, where that is wished, and speaks to the target."""
    certificate, key = ca().issue("openssl", client=True).write(tmp_path, "client")
    async with target() as origin:
        for advertised in (True, False):
            async with asking(verifying(advertise_trust_store_ca_names=advertised), origin.address) as it:
                status, out = await s_client(it, "-cert", certificate, "-key", key, version, "-alpn", "http/1.1")
                assert status == 0, out
                assert "HTTP/1.1 200 Reason" in out
                assert "ALPN protocol: http/1.1" in out
                assert ("Acceptable client certificate CA names\nCN = Client CA\n" in out) is advertised
                assert "New, " in out
        assert b"X-Amzn-Mtls-Clientcert-Subject: CN=openssl\r\n" in origin.heads[0]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_that_is_refused_prints_the_alert(version: str, tmp_path: Path) -> None:
    """Without a certificate, and with somebody else's."""
    certificate, key = Authority("Nobody").issue("openssl", client=True).write(tmp_path, "client")
    async with target() as origin, asking(verifying(), origin.address) as it:
        status, out = await s_client(it, version)
        assert status != 0
        assert ("alert certificate required" if version == "-tls1_3" else "alert handshake failure") in out
        status, out = await s_client(it, "-cert", certificate, "-key", key, version)
        assert status != 0
        assert "alert unknown ca" in out
        assert it.counters["ClientTLSNegotiationErrorCount"] == 2
        assert origin.conversations == []


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_that_would_resume_shakes_hands_anew(version: str, tmp_path: Path) -> None:
    """It keeps what it is given for the next time, comes back with it, and shows its certificate again."""
    certificate, key = ca().issue("openssl", client=True).write(tmp_path, "client")
    session = str(tmp_path / "session")
    async with target() as origin, asking(verifying(), origin.address) as it:
        shown = ("-cert", certificate, "-key", key, version)
        status, out = await s_client(it, *shown, "-sess_out", session)
        assert status == 0, out
        given = await asyncio.to_thread(Path(session).exists)
        assert given is (version == "-tls1_3")
        if not given:
            return  # TLS 1.2 gave it nothing to come back with.
        status, out = await s_client(it, *shown, "-sess_in", session)
        assert status == 0, out
        assert "Reused, " not in out
        assert "New, " in out
        status, out = await s_client(it, version, "-sess_in", session)
        assert status != 0
        assert len(origin.heads) == 2


async def test_curl_with_a_certificate_sends_much_and_gets_much(tmp_path: Path) -> None:
    """`--cert` and `--key`, megabytes both ways; the server's certificate is verified as a client would."""
    certificate, key = ca().issue("curl", client=True).write(tmp_path, "client")
    sent, got = tmp_path / "sent", tmp_path / "got"
    body = bytes(range(256)) * 12_000
    await asyncio.to_thread(sent.write_bytes, body)
    async with target(None, response(200, body)) as origin, asking(verifying(), origin.address) as it:
        status, out = await curl(it, "--cert", certificate, "--key", key, "-o", str(got), "--data-binary", f"@{sent}")
        assert status == 0, out
        assert await asyncio.to_thread(got.read_bytes) == body
        assert b"X-Amzn-Mtls-Clientcert-Subject: CN=curl\r\n" in origin.heads[0]
        assert b"Content-Length: 3072000\r\n" in origin.heads[0]


async def test_curl_without_a_certificate_is_refused_or_passed_through(tmp_path: Path) -> None:
    """`verify` ends its handshake, `passthrough` does not, and hands on what it shows where it shows something."""
    issued = Authority("Nobody").issue("curl", client=True)
    certificate, key = issued.write(tmp_path, "client")
    async with target() as origin:
        async with asking(verifying(), origin.address) as it:
            status, out = await curl(it)
            assert status in (35, 56), out
            assert "alert certificate required" in out
        async with asking(alb.MutualAuthentication("passthrough"), origin.address) as it:
            for options in ((), ("--cert", certificate, "--key", key)):
                assert await curl(it, *options) == (0, "ok")
        assert b"Clientcert" not in origin.heads[0]
        encoded = origin.heads[1].partition(b"X-Amzn-Mtls-Clientcert: ")[2].partition(b"\r\n")[0]
        assert unquote(encoded.decode()).encode() == issued.pem


async def test_curl_behind_a_proxy_header_is_told_by_both(tmp_path: Path) -> None:
    """The PROXY header comes first, in the clear, and the handshake behind it."""
    certificate, key = ca().issue("curl", client=True).write(tmp_path, "client")
    settings: dict[str, Any] = {"proxy_protocol": "required"}
    async with target() as origin, asking(verifying(), origin.address, **settings) as it:
        assert await curl(it, "--haproxy-protocol", "--cert", certificate, "--key", key) == (0, "ok")
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in origin.heads[0]
        assert b"X-Amzn-Mtls-Clientcert-Subject: CN=curl\r\n" in origin.heads[0]
