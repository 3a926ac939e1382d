"""The tour: tests what the demo shows, each step with real clients from outside the load balancer."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
from attrs import frozen

from albkit.demo import http2_steps
from albkit.demo.expectations import Unexpected, expect, expect_that
from albkit.demo.gateway import TEAPOT
from albkit.demo.http2 import Http2Client, connect
from albkit.demo.targets import DemoTarget

__all__ = ("STEPS", "Outcome", "Step", "Tour")

_PATIENCE = 5.0
"""Seconds for one step; a load balancer that hangs fails it."""
_COOKIES = ("AWSALB", "AWSALBCORS")
_BODY_SIZE = 2**20


@frozen
class Outcome:
    """The result of one step."""

    title: str
    held: bool
    seen: str

    def line(self, width: int) -> str:
        """Format it for a terminal, with the title padded to `width`."""
        return f"  {'ok' if self.held else 'FAILED':<6}  {self.title:<{width}}  {self.seen}"


class Tour:
    """Tests one running load balancer step by step.

    Args:
        url: The URL of the load balancer.
        targets: Its targets; one step stops one of them.
        counters: Returns the load balancer's current counters.
        http2_url: The URL for HTTP/2, if it is another one.
        certificate: The certificate to trust at `http2_url`, as PEM.
        admin_url: The URL of the admin API.
    """

    def __init__(
        self,
        url: str,
        targets: Sequence[DemoTarget],
        counters: Callable[[], Mapping[str, int]],
        *,
        http2_url: str = "",
        certificate: bytes | None = None,
        admin_url: str = "",
    ) -> None:
        self.admin_url = admin_url
        self.url = url
        self.targets = targets
        self.counters = counters
        self._http2_url = http2_url or url
        self._certificate = certificate

    @property
    def names(self) -> list[str]:
        """The names of the running targets."""
        return sorted(target.name for target in self.targets if target.is_running)

    async def walk(self, tell: Callable[[str], object], steps: Sequence[Step] | None = None) -> list[Outcome]:
        """Run every step, even after a failed one, and report each outcome as soon as it is known."""
        steps = STEPS if steps is None else steps
        width = max(len(step.title) for step in steps)
        outcomes = []
        for step in steps:
            outcome = await self._take(step)
            outcomes.append(outcome)
            tell(outcome.line(width))
        return outcomes

    async def _take(self, step: Step) -> Outcome:
        try:
            async with asyncio.timeout(_PATIENCE):
                return Outcome(step.title, True, await step.walk(self))
        except Unexpected as unexpected:
            seen = str(unexpected)
        except TimeoutError:
            seen = f"expected the step to end within {_PATIENCE:g} seconds, but it did not"
        except Exception as error:  # noqa: BLE001 - any exception means that the step has failed
            seen = f"expected an answer, saw {type(error).__name__}: {error}"
        return Outcome(step.title, False, seen)

    @asynccontextmanager
    async def client(self, *, new_connections: bool = False) -> AsyncIterator[aiohttp.ClientSession]:
        """A client with its own cookie jar. With `new_connections`, it keeps no connection alive, so that only cookies can bind it to a
        target."""
        connector = aiohttp.TCPConnector(force_close=new_connections)
        jar = aiohttp.CookieJar(unsafe=True)  # "unsafe" accepts cookies from hosts that are IP addresses.
        async with aiohttp.ClientSession(self.url, connector=connector, cookie_jar=jar) as client:
            yield client

    @asynccontextmanager
    async def websocket(self, client: aiohttp.ClientSession) -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse, str]]:
        """A WebSocket, and the name of the target that greeted it."""
        async with client.ws_connect("/ws") as socket:
            hello = await socket.receive_json()
            expect("the first message's type", "hello", hello["type"])
            yield socket, hello["target"]

    def http2(self) -> AbstractAsyncContextManager[Http2Client]:
        """A client with one HTTP/2 connection."""
        return connect(self._http2_url, self._certificate)


@frozen
class Step:
    """One thing to test: its title, and a coroutine that tests it and returns what it saw."""

    title: str
    walk: Callable[[Tour], Awaitable[str]]


async def _text(client: aiohttp.ClientSession, path: str, host: str | None = None) -> str:
    async with client.get(path, headers={"Host": host} if host else None) as answer:
        text = await answer.text()
        expect(f"the status of GET {path}", 200, answer.status)
        return text.strip()


async def _page(tour: Tour) -> str:
    async with tour.client() as client, client.get("/") as answer:
        text = await answer.text()
        expect("the status", 200, answer.status)
        expect("the content type", "text/html", answer.content_type)
        expect_that("<title>albkit demo</title>" in text, "the demo's page", text[:60])
        names = [name for name in tour.names if f'<html lang="en" data-target="{name}">' in text]
        expect_that(len(names) == 1, "the name of one target in it", names)
        return f"{len(text)} characters from {names[0]}"


async def _spread(tour: Tour) -> str:
    async with tour.client() as client:
        seen = Counter([await _text(client, "/api/name") for _ in range(12)])
    expect("answers per target", dict.fromkeys(tour.names, 4), dict(sorted(seen.items())))
    return "12 requests, " + ", ".join(f"{count} to {name}" for name, count in seen.items())


async def _forwarded(tour: Tour) -> str:
    async with tour.client() as client, client.get("/api/whoami", headers={"X-Forwarded-For": "203.0.113.7"}) as answer:
        lines = (await answer.json())["headers"]
    arrived = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    expect("X-Forwarded-For at the target", "203.0.113.7, 127.0.0.1", arrived.get("X-Forwarded-For"))
    expect("X-Forwarded-Proto at the target", "http", arrived.get("X-Forwarded-Proto"))
    trace = arrived.get("X-Amzn-Trace-Id", "")
    expect_that(trace.startswith("Root=1-"), "a trace id at the target", trace)
    return f"{arrived['X-Forwarded-For']}; {trace}"


async def _cookies(tour: Tour) -> str:
    async with tour.client() as client:
        async with client.get("/") as answer:
            values = {name: cookie.value for name, cookie in answer.cookies.items()}
            lines = answer.headers.getall("Set-Cookie", [])
        async with client.get("/api/name") as answer:
            unasked = answer.headers.getall("Set-Cookie", [])
    expect("the cookies of the page", sorted(_COOKIES), sorted(values))
    expect_that(len(set(values.values())) == 1, "the same value in both", values)
    expect_that(all("; Expires=" in line and "; Path=/" in line for line in lines), "an expiry and a path in both", lines)
    expect("the cookies of the API, whose group is not sticky", [], unasked)
    return f"{' and '.join(values)}, and none from the API"


async def _session(tour: Tour) -> str:
    async with (
        tour.client(new_connections=True) as first,
        tour.client(new_connections=True) as second,
        tour.client(new_connections=True) as third,
    ):
        sessions = (first, second, third)
        targets = [await _text(session, "/name") for session in sessions]
        # One session after the other: alternating requests would look the same as round robin over three targets.
        seen = [Counter([await _text(session, "/name") for _ in range(19)]) for session in sessions]
    expect("the targets of three sessions", tour.names, sorted(targets))
    for number, (target, stayed) in enumerate(zip(targets, seen, strict=True), 1):
        expect(f"the targets of 19 further requests of session {number}", {target: 19}, dict(stayed))
    return "3 sessions of 20 requests, each connection new: " + ", ".join(f"20 to {name}" for name in targets)


async def _echo(tour: Tour) -> str:
    binary = os.urandom(70_000)
    async with tour.client() as client, tour.websocket(client) as (socket, name):
        await socket.send_str("hällo")
        expect("the echo of a text", "hällo", await socket.receive_str())
        await socket.send_bytes(binary)
        expect_that(await socket.receive_bytes() == binary, f"{len(binary)} bytes back as they were sent", "others")
    return f"a text and {len(binary)} bytes, by {name}"


async def _pinned(tour: Tour) -> str:
    async with tour.client(new_connections=True) as client:
        async with tour.websocket(client) as (_, name):
            expect("the cookies of the 101", sorted(_COOKIES), sorted(cookie.key for cookie in client.cookie_jar))
        expect("the page's target behind a WebSocket", name, await _text(client, "/name"))
        for _ in range(6):
            async with tour.websocket(client) as (_, again):
                expect("the target of a further WebSocket", name, again)
    return f"the page and 7 WebSockets with {name}, bound by the cookie of the first 101"


async def _chat(tour: Tour) -> str:
    async with (
        tour.client() as one,
        tour.client() as other,
        tour.websocket(one) as (speaker, speakers),
        tour.websocket(other) as (listener, listeners),
    ):
        await speaker.send_json({"say": "good morning"})
        for socket in (listener, speaker):
            message = await socket.receive_json()
            expect("the message", ("chat", speakers, "good morning"), (message["type"], message["target"], message["text"]))
    return f"said at {speakers}, read at {listeners}"


async def _body(tour: Tour) -> str:
    body = os.urandom(_BODY_SIZE)

    async def in_chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 50_000):
            yield body[start : start + 50_000]

    async with tour.client() as client:
        for form, data in (("with its length", body), ("chunked", in_chunks())):
            async with client.post("/api/echo", data=data) as answer:
                back = await answer.read()
            expect(f"the status of a body sent {form}", 200, answer.status)
            expect_that(back == body, f"{len(body)} bytes back as they were sent {form}", f"{len(back)} bytes")
    return f"{len(body)} bytes with their length, the same chunked"


async def _stream(tour: Tour) -> str:
    sent, received = [], []
    async with tour.client() as client, client.get("/api/stream?events=4&interval=0.15") as answer:
        expect("the content type", "text/event-stream", answer.content_type)
        async for line in answer.content:
            if line.startswith(b"data: "):
                received.append(time.time())
                sent.append(json.loads(line[6:])["sent"])
    expect("the number of events", 4, len(sent))
    for number in range(3):
        expect_that(received[number] < sent[number + 1], f"event {number + 1} before event {number + 2} was sent", "it later")
    late = max(arrival - start for start, arrival in zip(sent, received, strict=True))
    return f"4 events, each before the next was sent, at most {late * 1000:.1f} ms in transit"


async def _slow(tour: Tour) -> str:
    async with tour.client() as client:
        started = time.monotonic()
        answers = await asyncio.gather(*(client.get("/api/slow?seconds=0.3") for _ in range(10)))
        took = time.monotonic() - started
        bodies = [await answer.json() for answer in answers]
    expect("the seconds slept", [0.3] * 10, [body["slept"] for body in bodies])
    expect_that(took < 2, "10 answers of 0.3 seconds side by side in less than 2", f"{took:.1f} seconds")
    return f"10 answers of 0.3 seconds in {took:.2f} seconds"


async def _fixed(tour: Tour) -> str:
    async with tour.client() as client, client.get("/teapot") as answer:
        text = await answer.text()
        expect("the status", 418, answer.status)
        expect("the content type", "text/plain", answer.content_type)
        expect("the text", TEAPOT, text)
        return f"418, {text.strip()!r}"


async def _host(tour: Tour) -> str:
    wanted = tour.targets[-1].name
    async with tour.client() as client:
        inside = [await _text(client, "/api/name", "any.demo.localhost") for _ in range(6)]
        outside = [await _text(client, "/api/name", "demo.localhost") for _ in range(6)]
    expect("the targets of any.demo.localhost", {wanted}, set(inside))
    expect("the targets of demo.localhost, to which the rule does not apply", tour.names, sorted(set(outside)))
    return f"any.demo.localhost always to {wanted}, demo.localhost to all"


async def _lost_target(tour: Tour) -> str:
    async with tour.client(new_connections=True) as client:
        name = await _text(client, "/name")
        lost = next(target for target in tour.targets if target.name == name)
        retries = tour.counters()["RetryCount"]
        await lost.stop()
        moved = [await _text(client, "/name") for _ in range(6)]
        spread = Counter([await _text(client, "/api/name") for _ in range(12)])
    retries = tour.counters()["RetryCount"] - retries
    expect_that(len(set(moved)) == 1 and moved[0] in tour.names, f"one of {tour.names} to take the session over", dict(Counter(moved)))
    expect("the targets that answer", tour.names, sorted(spread))
    expect_that(retries > 0, "some retries", retries)
    return f"{name} stopped: 18 of 18 GETs answered, {retries} of them by a retry; the session moved to {moved[0]}"


async def _counters(tour: Tour) -> str:
    before = dict(tour.counters())
    async with tour.client() as client:
        for _ in range(10):
            await _text(client, "/api/name")
        async with client.get("/teapot") as answer:
            await answer.read()
        async with tour.websocket(client):
            open_tunnels = tour.counters()["ActiveTunnelCount"]
    expected = {"HTTPCode_Target_2XX_Count": 10, "HTTP_Fixed_Response_Count": 1, "TunnelCount": 1, "RequestCount": 11}
    counted: dict[str, int] = {}
    for _ in range(100):
        # An exchange is counted when it is over, which the client may know a moment earlier.
        after = tour.counters()
        counted = {name: after[name] - before[name] for name in expected}
        if counted == expected and not after["ActiveTunnelCount"]:
            break
        await asyncio.sleep(0.01)
    expect("what was counted", expected, counted)
    expect("the tunnels open meanwhile", 1, open_tunnels)
    expect("the tunnels open at the end", 0, tour.counters()["ActiveTunnelCount"])
    expect("answers of 5xx by the gateway in the whole tour", 0, tour.counters()["HTTPCode_ELB_5XX_Count"])
    return ", ".join(f"{name} +{count}" for name, count in expected.items()) + ", no 5xx in the whole tour"


async def _admin(tour: Tour) -> str:
    seen = []
    async with aiohttp.ClientSession(tour.admin_url) as client:
        for path, content_type, part in _ADMIN_PAGES:
            async with client.get(path) as answer:
                text = await answer.text()
                expect(f"the status of {path}", 200, answer.status)
                expect(f"the content type of {path}", content_type, answer.content_type)
                expect_that(part in text, f"{part} in {path}", text[:60])
                seen.append(f"{path} {len(text)}")
    return f"bytes: {', '.join(seen)}"


_ADMIN_PAGES = (
    ("/", "text/html", "<title>albkit"),
    ("/health", "application/json", '"ok"'),
    ("/ready", "application/json", '"ready"'),
    ("/metrics", "text/plain", "# TYPE "),
    ("/api/targets", "application/json", '"requests"'),
)

STEPS = (
    Step("the page is served", _page),
    Step("the API is balanced over all targets", _spread),
    Step("targets get the client's address", _forwarded),
    Step("both stickiness cookies are set", _cookies),
    Step("a cookie keeps a session on its target", _session),
    Step("a WebSocket echoes", _echo),
    Step("a WebSocket reaches its session's target", _pinned),
    Step("a chat message reaches the other member", _chat),
    Step("a body of 1 MiB comes back whole", _body),
    Step("server-sent events arrive one by one", _stream),
    Step("slow responses do not delay each other", _slow),
    Step("a fixed response needs no target", _fixed),
    Step("a rule routes by host", _host),
    Step("HTTP/2 serves the page", http2_steps.page),
    Step("HTTP/2 requests share one connection", http2_steps.slow),
    Step("eight event streams leave room for a request", http2_steps.streams),
    Step("a WebSocket opens on an HTTP/2 stream", http2_steps.websocket),
    Step("gRPC calls are balanced one by one", http2_steps.grpc),
    Step("a stopped target costs no failed GET", _lost_target),
    Step("the counters are right", _counters),
    Step("the admin API and its page answer", _admin),
)
