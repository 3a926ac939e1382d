"""Pages of other sites, other hosts, wrong tokens and clients that mean harm."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest

import albkit as alb
from albkit.admin import api, connection
from albkit.admin.viewers import MOST_VIEWERS
from tests.support.admin import JSON, operated, wait_for
from tests.support.gateway import running
from tests.support.peers import RawClient

TOKEN = "correct-horse-battery-staple"
DRAIN = "/api/groups/group/targets/10.0.0.1:80/drain"
BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Authorization: Bearer",),
        ("Authorization: Bearer wrong-wrong-wrong-wrong",),
        (f"Authorization: Bearer {TOKEN}x",),
        (f"Authorization: Bearer {TOKEN[:-1]}",),
        (f"Authorization: Basic {TOKEN}",),
        (f"Authorization: {TOKEN}",),
        (BEARER, BEARER),
        (BEARER, "Authorization: Bearer x"),
        ("Authorization: Bearer \xff\xfe",),
    ],
    ids=range(10),
)
async def test_wrong_token_is_401_counted_and_logged(fields: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    """For reading and for writing; the log says nothing about the token."""
    async with operated("10.0.0.1:80", token=TOKEN) as it:
        for method, path, more in (
            ("GET", "/api/state", ()),
            ("POST", DRAIN, (JSON,)),
            ("GET", "/metrics", ()),
            ("GET", "/api/stream", ()),
        ):
            answer = await it.raw(method, path, *fields, *more)
            assert (answer.status, answer.get(b"WWW-Authenticate")) == (401, b'Bearer realm="albkit"')
            assert answer.get(b"Connection") == b"close"
        assert it.admin.counters["unauthorized"] == 4
        (line,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "answered 401" in line.getMessage()
        assert TOKEN not in caplog.text
        assert it.gateway.runtime.choices["group"].group.members["10.0.0.1:80"].state == "unavailable"


async def test_right_token_opens_everything_and_page_and_probes_need_none() -> None:
    """The page asks for the token itself, and probes cannot send one."""
    async with operated("10.0.0.1:80", token=TOKEN) as it:
        for scheme in ("Bearer", "bearer"):
            status, _ = await it.ask("GET", "/api/state", headers={"Authorization": f"{scheme} {TOKEN}"})
            assert status == 200
        for path in ("/", "/health", "/ready"):
            assert (await it.raw("GET", path)).status == 200
        assert (await it.raw("GET", "/api/nothing")).status == 401
        assert TOKEN not in repr(it.admin)


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8404", True),
        ("localhost:9000", True),
        ("LOCALHOST", True),
        ("[::1]:80", True),
        ("127.8.9.1", True),
        ("lb.internal", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:80", False),
        ("evil@127.0.0.1", False),
        ("127.0.0.1@evil.example", False),
        ("evil.example/127.0.0.1", False),
        ("0.0.0.0", False),
        ("192.0.2.1", False),
        ("[::1", False),
        ("127.0.0.1:x", False),
        ("", False),
        ("2130706433", False),
        ("0x7f.1", False),
    ],
)
async def test_host_of_another_name_is_refused(host: str, good: bool) -> None:
    """DNS rebinding: the browser of somebody on this machine reaches us under the name of a hostile page."""
    async with operated("10.0.0.1:80", hosts=["LB.internal"]) as it:
        for method, path in (("GET", "/api/state"), ("POST", DRAIN), ("GET", "/")):
            answer = await it.raw(method, path, JSON, host=host)
            assert (answer.status == 200) is good, answer
            assert answer.status in (200, 400, 403)
        assert (await it.raw("GET", "/ready", host=host or "x")).status in (200, 400)


async def test_two_hosts_are_refused() -> None:
    """One to be checked and one to be used."""
    async with operated() as it:
        assert (await it.raw("GET", "/api/state", "Host: evil.example")).status in (400, 403)
        assert (await it.raw("GET", "/api/state", host=None)).status in (400, 403)


@pytest.mark.parametrize(
    ("fields", "good"),
    [
        (("Origin: http://127.0.0.1",), True),
        (("Origin: https://127.0.0.1",), True),
        (("Sec-Fetch-Site: same-origin",), True),
        (("Sec-Fetch-Site: none",), True),
        (("Origin: http://evil.example",), False),
        (("Origin: http://127.0.0.1:8080",), False),
        (("Origin: http://localhost",), False),
        (("Origin: null",), False),
        (("Origin: ",), False),
        (("Origin: file://127.0.0.1",), False),
        (("Origin: http://127.0.0.1.evil.example",), False),
        (("Origin: http://127.0.0.1", "Origin: http://evil.example"), False),
        (("Sec-Fetch-Site: cross-site",), False),
        (("Sec-Fetch-Site: same-site",), False),
        (("Origin: http://[",), False),
    ],
    ids=range(15),
)
async def test_page_of_another_site_cannot_drive_it(fields: tuple[str, ...], good: bool) -> None:
    """Nor read it, nor take the places of viewers."""
    async with operated("10.0.0.1:80") as it:
        answer = await it.raw("POST", DRAIN, JSON, *fields)
        assert answer.status == (200 if good else 403)
        assert (await it.raw("GET", "/api/state", *fields)).status == (200 if good else 403)
        assert it.admin.counters["refused"] == (0 if good else 2)
        assert b"access-control" not in answer.head.lower()


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "", "application/jsonp"]
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", DRAIN), ("DELETE", DRAIN.removesuffix("/drain")), ("PATCH", DRAIN.removesuffix("/drain"))]
)
async def test_form_of_another_page_is_415(method: str, path: str, kind: str) -> None:
    """No form can send application/json, and a script of another site must ask first, which nobody answers."""
    async with operated("10.0.0.1:80") as it:
        fields = [f"Content-Type: {kind}"] if kind else []
        assert (await it.raw(method, path, *fields, body=b"{}")).status == 415
        preflight = await it.raw("OPTIONS", path, "Origin: http://127.0.0.1", "Access-Control-Request-Method: POST")
        assert preflight.status == 405
        assert b"access-control" not in preflight.head.lower()
        assert it.gateway.runtime.choices["group"].group.members["10.0.0.1:80"].state == "unavailable"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"  ", 200),
        (b"{}", 200),
        (b"[]", 422),
        (b"null", 422),
        (b'{"a": 1}', 422),
        (b"{", 400),
        (b"nonsense", 400),
        (b'{"a": NaN}', 400),
        (b'{"a": Infinity}', 400),
        (b'{"a": ' + b"9" * 5000 + b"}", 400),
        (b"\xff\xfe{\x00}\x00", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 400),
        (b" " * (api.LARGEST_BODY + 1), 413),
        (b'{"a": "' + b"x" * 100_000 + b'"}', 422),
    ],
    ids=range(16),
)
async def test_bodies_that_are_nonsense_are_answered_with_words(body: bytes, status: int) -> None:
    """400, 413 or 422, and nothing is done."""
    async with operated("10.0.0.1:80") as it:
        answer = await it.raw("POST", DRAIN, JSON, body=body)
        assert answer.status == status
        if status != 200:
            error = json.loads(answer.body)
            assert error["error"]
            assert len(answer.body) < 2000
            assert it.gateway.runtime.choices["group"].group.members["10.0.0.1:80"].state == "unavailable"


async def test_compressed_body_is_refused() -> None:
    """A megabyte of zeros is a kilobyte, compressed."""
    async with operated("10.0.0.1:80") as it:
        answer = await it.raw("POST", DRAIN, JSON, "Content-Encoding: gzip", body=b"\x1f\x8b" + b"x" * 100)
        assert answer.status == 415


@pytest.mark.parametrize(
    "path",
    [
        "/api/groups/group/targets/10.0.0.1:80/../../../../state",
        "/api/groups/group/targets/..%2f..%2fstate",
        "/api/groups/group/targets/unix:%2f..%2f..%2fetc%2fpasswd",
        "/api/groups/group/targets/unix:/run/x",
        "/api/groups/group/targets/%00",
        "/api/groups/group/targets/%ff%fe",
        "/api/groups/group/targets/10.0.0.1:80%2fdrain",
        "/api/groups/group/targets/",
        "/api/groups//targets/10.0.0.1:80",
        "/api/groups/group%2fx/targets/10.0.0.1:80",
        "/api/groups/%E2%80%AEgroup/targets/10.0.0.1:80",
        "/api/groups/group/targets/" + "a" * 5000,
        "//evil.example/api/state",
        "/api/groups/group/targets/10.0.0.1:80%0d%0aX:%201",
    ],
    ids=range(14),
)
async def test_tricks_in_a_path_meet_no_target(path: str) -> None:
    """What is no target of a group is 404, whatever it looks like."""
    async with operated("10.0.0.1:80") as it:
        answer = await it.raw("DELETE", path, JSON)
        assert answer.status in (400, 404, 405)
        assert it.gateway.runtime.choices["group"].group.members["10.0.0.1:80"].state == "unavailable"


async def test_thousand_viewers_get_64_places() -> None:
    """The others get 503, and traffic is served."""
    async with operated("10.0.0.1:80") as it:
        streams = [asyncio.create_task(_stream(it)) for _ in range(1000)]
        try:
            await wait_for(lambda: _are_answered(streams, 1000 - MOST_VIEWERS))
            assert it.admin.counters["viewers"] == MOST_VIEWERS
            assert it.admin.counters["rejected_viewers"] + it.admin.counters["rejected_connections"] == 1000 - MOST_VIEWERS
            assert (await it.ask("GET", "/ready"))[0] == 200
        finally:
            for stream in streams:
                stream.cancel()
            answers = await asyncio.gather(*streams, return_exceptions=True)
        assert {answer for answer in answers if isinstance(answer, int)} <= {0, 503}
        assert 503 in answers

        async def nobody_looks() -> bool:
            return it.admin.counters["viewers"] == 0

        await wait_for(nobody_looks)


async def _stream(it: Any) -> int:
    """The status of a stream that is refused; 0 if the connection was. One that is accepted stays open until it is cancelled."""
    client = await RawClient.connect(it.admin.port)
    try:
        client.send(b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        line = await client.read_until(b"\r\n")
        if b" 200 " in line:
            while await client.read():
                pass
        return int(line.split()[1])
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0
    finally:
        await client.close()


async def _are_answered(tasks: list[asyncio.Task[int]], count: int) -> bool:
    return sum(task.done() for task in tasks) >= count


async def test_connections_that_ask_nothing_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head, no head, half a body, and a kept connection; one that asks again meanwhile stays."""
    monkeypatch.setattr(connection, "HEAD_TIMEOUT", 0.3)
    monkeypatch.setattr(connection, "_INTERVAL", 0.05)
    monkeypatch.setattr(api, "_BODY_TIMEOUT", 0.3)
    async with operated("10.0.0.1:80") as it:
        clients = [await RawClient.connect(it.admin.port) for _ in range(4)]
        clients[1].send(b"GET / HT")
        clients[2].send(f"POST {DRAIN} HTTP/1.1\r\nHost: 127.0.0.1\r\n{JSON}\r\nContent-Length: 5\r\n\r\n{{".encode())
        clients[3].send(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert (await clients[3].response()).status == 200
        assert (await clients[2].response()).status == 408
        for client in clients:
            assert await client.is_closed()
            await client.close()
        assert it.gateway.runtime.choices["group"].group.members["10.0.0.1:80"].state == "unavailable"


async def test_too_many_connections_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors are for traffic."""
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 3)
    async with operated() as it:
        clients = [await RawClient.connect(it.admin.port) for _ in range(5)]
        ended = [asyncio.create_task(client.is_closed(1)) for client in clients]
        await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)

        async def two_are_cut() -> bool:
            return it.admin.counters["rejected_connections"] == 2

        await wait_for(two_are_cut)
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for client in clients:
            await client.close()


async def test_garbage_is_answered_400_and_closes(caplog: pytest.LogCaptureFixture) -> None:
    """TLS, another protocol, endless heads; the log has one line of them, without a traceback."""
    async with operated() as it:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        ):
            client = await RawClient.connect(it.admin.port)
            client.send(garbage)
            received = await client.read_to_end()
            assert received == b"" or received.startswith(b"HTTP/1.")
            assert b" 400 " in received.split(b"\r\n")[0] or not received
            assert b"aiohttp" not in received
            await client.close()
        (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert line.getMessage().startswith("admin API: a request could not be read: 400")
        assert line.exc_info is None
        assert "\n" not in line.getMessage()
        assert (await it.ask("GET", "/health"))[0] == 200


async def test_registration_of_many_targets_takes_no_long_turn() -> None:
    """A large body is checked in a thread."""
    async with operated("10.0.0.1:80") as it:
        body = {"targets": [{"target": f"10.1.{n // 250}.{n % 250}:80", "weight": 1} for n in range(1000)]}
        started = time.thread_time()
        status, answer = await it.ask("POST", "/api/groups/group/targets", body)
        assert (status, len(answer["targets"])) == (200, 1000)
        assert time.thread_time() - started < 5


async def test_host_of_an_address_that_was_connected_to_is_right() -> None:
    """The admin API on all addresses knows which of them a client has reached."""
    async with running("10.0.0.1:80") as gateway:
        admin = await gateway.load_balancer.admin(host=None, token=TOKEN)
        client = await RawClient.connect(admin.port)
        answer = await client.get("/api/state", BEARER, host=f"127.0.0.1:{admin.port}")
        assert answer.status == 200
        assert (await client.get("/api/state", BEARER, host="0.0.0.0")).status == 403
        await client.close()
        await admin.stop()


async def test_handler_that_fails_costs_its_request_only(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """500 with words, the traceback in the log, and nothing of it in the answer."""
    async with operated() as it:
        monkeypatch.setattr(alb.LoadBalancer, "counters", property(lambda _: 1 / 0))
        status, answer = await it.ask("GET", "/api/counters")
        assert (status, answer) == (500, {"error": "the admin API failed; its log says why", "faults": []})
        assert "ZeroDivisionError" in caplog.text
        monkeypatch.undo()
        assert (await it.ask("GET", "/api/counters"))[0] == 200
