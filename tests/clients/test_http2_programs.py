"""curl, nghttp, h2load and httpx over HTTP/2, in the clear by prior knowledge and over TLS by ALPN."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import albkit as alb
from tests.support.balancing import Balancing, balancing, group_of, listener
from tests.support.peers import Conversation, Target, response, target
from tests.support.programs import output_of, program
from tests.support.secure import AUTHORITY, issued

pytestmark = pytest.mark.timeout(60)

LARGE = bytes(range(256)) * 12_000
"""Three megabytes: more than any window."""


async def echo(conversation: Conversation) -> None:
    """Answers each request with its own body, or with much; asks for the body if a client waits to be asked."""
    while True:
        head, body = await conversation.request()
        if head.startswith(b"HEAD "):
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3072000\r\n\r\n")
        else:
            conversation.send(response(200, LARGE if b" /large " in head else body or b"ok", b"X-Method: " + head.split(b" ")[0]))
        await conversation.drain()


@dataclass
class Doors:
    """A load balancer with a listener in the clear and one over TLS, both for HTTP/1.1 and HTTP/2."""

    it: Balancing
    origin: Target
    authority: str
    """The path of the root certificate."""

    @property
    def clear(self) -> str:
        return f"http://127.0.0.1:{self.it.load_balancer.listeners[0].port}"

    @property
    def secure(self) -> str:
        return f"https://127.0.0.1:{self.it.load_balancer.listeners[1].port}"


@contextlib.asynccontextmanager
async def doors(folder: Path, **settings: Any) -> AsyncIterator[Doors]:
    async with target(echo) as origin:
        group = group_of(origin.address, **settings)
        own = issued()
        over_tls = listener(group, protocol="HTTPS", certificates=alb.Certificate(own.pem, own.key_pem))
        async with balancing(listener(group), over_tls, stop_timeout=2) as it:
            yield Doors(it, origin, AUTHORITY.write(folder, "authority"))


# curl.


async def curl(*arguments: str, fed: bytes | None = None) -> str:
    """What curl writes; it must succeed."""
    status, said, complaints = await output_of(
        program("curl"), "-q", "-sS", "--noproxy", "*", "--max-time", "15", *arguments, within=20, fed=fed
    )
    assert status == 0, complaints
    return said


BRIEF = ("-o", "/dev/null", "-w", "%{http_version} %{response_code} %{size_download} %{num_connects}\n")


async def test_curl_uses_http2_by_prior_knowledge_and_http1_on_the_same_port(tmp_path: Path) -> None:
    """In the clear. Once: curl 7.88 cannot use such a connection again, whatever the server."""
    async with doors(tmp_path) as it:
        assert await curl("--http2-prior-knowledge", *BRIEF, it.clear) == "2 200 2 1\n"
        assert await curl("--http1.1", *BRIEF, it.clear) == "1.1 200 2 1\n"
        assert it.it.counters["Http2ConnectionCount"] == 1


async def test_curl_agrees_on_http2_or_http1_over_tls(tmp_path: Path) -> None:
    """By ALPN, as curl offers it; our certificate is verified."""
    async with doors(tmp_path) as it:
        said = await curl("--cacert", it.authority, "--http2", *BRIEF, it.secure, "-o", "/dev/null", it.secure)
        assert said == "2 200 2 1\n2 200 2 0\n"
        assert await curl("--cacert", it.authority, "--http1.1", *BRIEF, it.secure) == "1.1 200 2 1\n"
        assert await curl("--cacert", it.authority, "--no-alpn", *BRIEF, it.secure) == "1.1 200 2 1\n"


@pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "TLS"])
async def test_curl_sends_much_and_gets_it_back(is_secure: bool, tmp_path: Path) -> None:
    """An upload that is larger than every window, and a download as large."""
    sent, got = tmp_path / "sent", tmp_path / "got"
    await asyncio.to_thread(sent.write_bytes, LARGE)
    async with doors(tmp_path) as it:
        how = ("--cacert", it.authority, it.secure) if is_secure else ("--http2-prior-knowledge", it.clear)
        await curl(*how, "-o", str(got), "--data-binary", f"@{sent}")
        assert await asyncio.to_thread(got.read_bytes) == LARGE
        assert b"\r\ncontent-length: 3072000\r\n" in it.origin.conversations[0].received[:2000].lower()


async def test_curl_uploads_without_a_length(tmp_path: Path) -> None:
    """From a pipe: DATA until END_STREAM, which becomes chunks."""
    async with doors(tmp_path) as it:
        said = await curl("--http2-prior-knowledge", "-T", "-", *BRIEF, it.clear, fed=LARGE)
        assert said.startswith("2 200 ")
        assert b"\r\ntransfer-encoding: chunked\r\n" in it.origin.conversations[0].received[:2000].lower()


async def test_curl_asks_for_a_head_alone(tmp_path: Path) -> None:
    """HEAD: the length of the body, and no body."""
    async with doors(tmp_path) as it:
        said = await curl("--http2-prior-knowledge", "-I", it.clear)
        assert said.startswith("HTTP/2 200")
        assert "content-length: 3072000\r\n" in said


async def test_curl_waits_to_be_asked_for_its_body(tmp_path: Path) -> None:
    """`Expect: 100-continue`: 100 comes before the final answer."""
    sent, got = tmp_path / "sent", tmp_path / "got"
    await asyncio.to_thread(sent.write_bytes, LARGE)
    async with doors(tmp_path) as it:
        expecting = ("-i", "-H", "Expect: 100-continue", "--data-binary", f"@{sent}", "-o", str(got))
        await curl("--http2-prior-knowledge", *expecting, it.clear)
        said = await asyncio.to_thread(got.read_bytes)
        assert said.endswith(LARGE)
        assert re.findall(rb"(?m)^HTTP/2 (\d+)", said[:1000]) == [b"100", b"200"]


async def test_curl_gets_eight_answers_at_once_over_one_connection(tmp_path: Path) -> None:
    """`--parallel`: eight streams with three megabytes each."""
    async with doors(tmp_path) as it:
        many = [argument for _ in range(8) for argument in ("-o", "/dev/null", f"{it.secure}/large")]
        said = await curl("--cacert", it.authority, "--parallel", "--parallel-max", "8", "-w", "%{http_version} %{size_download}\n", *many)
        assert said == "2 3072000\n" * 8
        assert it.it.counters["Http2ConnectionCount"] == 1


# nghttp and h2load.

NGHTTP2 = "nghttp2-client"


async def nghttp(*arguments: str) -> str:
    """What nghttp writes; it must succeed."""
    status, said, complaints = await output_of(program("nghttp", NGHTTP2), "--no-dep", *arguments, within=20)
    assert status == 0, complaints
    assert "ERROR" not in complaints
    return said


async def test_nghttp_gets_ten_answers_over_one_connection(tmp_path: Path) -> None:
    """All at once, with its preface of several SETTINGS."""
    async with doors(tmp_path) as it:
        assert await nghttp("-m", "10", it.clear) == "ok" * 10
        assert it.it.counters["Http2ConnectionCount"] == 1
        assert it.it.counters["RequestCount"] == 10


async def test_nghttp_builds_a_tree_of_priorities_and_is_served(tmp_path: Path) -> None:
    """PRIORITY frames for idle streams, as Firefox once sent them; padding on top."""
    async with doors(tmp_path) as it:
        _, said, complaints = await output_of(program("nghttp", NGHTTP2), "--padding=200", "-w", "16", it.clear)
        assert said == "ok", complaints


async def test_nghttp_uploads_with_trailers(tmp_path: Path) -> None:
    """More than any window; the trailers reach the target behind the last chunk."""
    async with doors(tmp_path) as it:
        trailing = ("-d", "-", "--no-content-length", "--trailer", "x-sum: 5", "-H", "te: trailers")
        status, said, complaints = await output_of(program("nghttp", NGHTTP2), "--no-dep", *trailing, it.clear, within=20, fed=LARGE)
        assert status == 0, complaints
        assert said
        assert it.origin.conversations[0].received.lower().endswith(b"\r\n0\r\nx-sum: 5\r\n\r\n")


async def test_nghttp_reads_trailers(tmp_path: Path) -> None:
    """Of an answer in chunks."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 5\r\n\r\n")
        await conversation.read_to_end()

    async with target(script) as origin, balancing(listener(group_of(origin.address))) as it:
        said = await nghttp("-v", "-H", "te: trailers", f"http://127.0.0.1:{it.load_balancer.listeners[0].port}/")
        assert "x-sum: 5" in said


@pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "TLS"])
async def test_h2load_succeeds_with_every_request(is_secure: bool, tmp_path: Path) -> None:
    """2,000 requests over four connections with 20 streams each."""
    async with doors(tmp_path) as it:
        url = it.secure if is_secure else it.clear
        status, said, complaints = await output_of(program("h2load", NGHTTP2), "-n", "2000", "-c", "4", "-m", "20", url, within=40)
        assert status == 0, complaints
        assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in said, said
        assert "status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx" in said
        assert it.it.counters["RequestCount"] == 2000
        assert not [name for name in it.it.counters if name.startswith("Failure_")]


async def test_h2load_uploads(tmp_path: Path) -> None:
    """100 uploads of 100 KiB in ten streams at a time, and as much back."""
    sent = tmp_path / "sent"
    await asyncio.to_thread(sent.write_bytes, LARGE[:100_000])
    async with doors(tmp_path) as it:
        many = ("-n", "100", "-c", "2", "-m", "10", "-d", str(sent))
        status, said, complaints = await output_of(program("h2load", NGHTTP2), *many, it.clear, within=40)
        assert status == 0, complaints
        assert "100 succeeded, 0 failed, 0 errored, 0 timeout" in said, said


async def test_h2load_outlives_answers_before_the_body(tmp_path: Path) -> None:
    """Each upload is answered before it has come: RST_STREAM with NO_ERROR, and the DATA on the way is no mistake."""
    sent = tmp_path / "sent"
    await asyncio.to_thread(sent.write_bytes, LARGE[:200_000])
    fixed = listener(alb.FixedResponse(200, "early"))
    async with balancing(fixed) as it:
        url = f"http://127.0.0.1:{it.load_balancer.listeners[0].port}/"
        _, said, _ = await output_of(program("h2load", NGHTTP2), "-n", "100", "-c", "1", "-m", "10", "-d", str(sent), url, within=40)
        assert "status codes: 100 2xx" in said, said


# httpx.


def client(it: Doors, *, http1: bool = False) -> httpx.AsyncClient:
    context = ssl.create_default_context(cadata=AUTHORITY.pem().decode())
    return httpx.AsyncClient(http1=http1, http2=True, verify=context, trust_env=False, timeout=10)


@pytest.mark.parametrize("is_secure", [False, True], ids=["clear", "TLS"])
async def test_httpx_gets_many_answers_at_once(is_secure: bool, tmp_path: Path) -> None:
    """40 streams over one connection, and three megabytes both ways."""
    async with doors(tmp_path) as it, client(it, http1=is_secure) as session:
        url = it.secure if is_secure else it.clear
        answers = [await session.get(url), *await asyncio.gather(*(session.get(f"{url}/{number}") for number in range(40)))]
        assert {(answer.status_code, answer.http_version, answer.content) for answer in answers} == {(200, "HTTP/2", b"ok")}
        assert it.it.counters["Http2ConnectionCount"] == 1
        answer = await session.post(url, content=LARGE)
        assert answer.content == LARGE


async def test_httpx_uploads_without_a_length_and_reads_as_it_comes(tmp_path: Path) -> None:
    """The second piece of the answer is sent when the first one has been read."""
    is_read = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        _, body = await conversation.request()
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + body)
        await is_read.wait()
        conversation.send(b"two")
        await conversation.read_to_end()

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"o", b"n", b"e"):
            yield piece

    async with (
        target(script) as origin,
        balancing(listener(group_of(origin.address))) as it,
        httpx.AsyncClient(http1=False, http2=True, trust_env=False, timeout=10) as session,
        session.stream("POST", f"http://127.0.0.1:{it.load_balancer.listeners[0].port}/", content=pieces()) as answer,
    ):
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        got = []
        async for piece in answer.aiter_bytes():
            got.append(piece)
            is_read.set()
    assert got == [b"one", b"two"]
