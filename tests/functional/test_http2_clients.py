"""HTTP/2 clients through a whole load balancer with HTTP/1.1 targets: choice of the protocol, requests and responses."""

from __future__ import annotations

import asyncio

import pytest

import albkit as alb
from tests.functional.test_mutual_authentication import asking, ca, told, verifying
from tests.support.balancing import balancing, group_of, listener, named
from tests.support.gateway import Running, running
from tests.support.h2_client import H2Answer, H2Client
from tests.support.h2_frames import NO_ERROR, PREFACE, Field, data, headers, settings
from tests.support.peers import Conversation, RawClient, Target, request, response, target
from tests.support.proxy_headers import v2
from tests.support.secure import client_context, https, securing

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def h2(it: Running, *pairs: tuple[int, int], generous: bool = True) -> H2Client:
    """A client with prior knowledge."""
    return await H2Client(await it.client(), settings=pairs, generous=generous).start()


async def asked(it: Running, *fields: Field, method: str = "GET", path: str = "/") -> H2Answer:
    """The answer to one request of a new client."""
    return await (await h2(it)).get(path, *fields, method=method)


def head_of(origin: Target) -> list[str]:
    """The lines of the last head that a target has read, without what the load balancer adds."""
    lines = origin.heads[-1].decode("latin-1").strip().split("\r\n")
    return [line for line in lines if not line.lower().startswith(("x-forwarded", "x-amzn"))]


# Which protocol.


async def test_both_versions_are_served_on_one_port_without_tls() -> None:
    """By what the client begins with (RFC 9113 section 3.3)."""
    async with target() as origin, running(origin.address) as it:
        old = await it.client()
        assert (await old.get()).body == b"ok"
        answer = await asked(it)
        assert (answer.status, answer.body) == (200, b"ok")
        assert (await old.get()).body == b"ok"
        assert it.counters["RequestCount"] == 3


async def test_preface_byte_by_byte_is_recognised() -> None:
    """Whatever the network does with it."""
    async with target() as origin, running(origin.address) as it:
        client = H2Client(await it.client())
        for byte in PREFACE + settings() + headers(1, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]):
            client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await client.answer(1)).body == b"ok"


async def test_listener_without_http2_answers_505() -> None:
    """To the preface, which no server of HTTP/1.1 knows."""
    async with target() as origin, balancing(listener(group_of(origin.address), http2=False)) as it:
        client = await it.client()
        client.send(PREFACE + settings())
        assert (await client.response()).status == 505
        assert (await (await it.client()).get()).status == 200


@pytest.mark.parametrize(
    ("offer", "http2", "agreed"),
    [
        (("h2", "http/1.1"), True, "h2"),
        (("http/1.1", "h2"), True, "h2"),
        (("http/1.1",), True, "http/1.1"),
        (("h2", "http/1.1"), False, "http/1.1"),
        ((), True, None),
    ],
    ids=["both", "both-reversed", "old", "off", "none"],
)
async def test_alpn_chooses_the_version(offer: tuple[str, ...], http2: bool, agreed: str | None) -> None:
    """`h2` if the client knows it and the listener has it switched on; clients without ALPN get HTTP/1.1."""
    async with target() as origin, securing(https(group_of(origin.address), http2=http2)) as it:
        client = await it.secure(client_context(alpn=offer))
        assert client.tls.selected_alpn_protocol() == agreed
        if agreed == "h2":
            answer = await (await H2Client(client).start()).get()
            assert (answer.status, answer.body) == (200, b"ok")
            assert b"X-Forwarded-Proto: https" in origin.heads[0]
        else:
            client.send(request("GET", "/"))
            assert (await client.response()).status == 200


@pytest.mark.parametrize(("version", "code"), [("TLSv1", 12), ("TLSv1.1", 12), ("TLSv1.2", None)])
async def test_tls_that_is_too_old_is_refused(version: str, code: int | None) -> None:
    """RFC 9113 section 9.2: GOAWAY with INADEQUATE_SECURITY below TLS 1.2, even if the security policy of the listener allows it."""
    policy = "ELBSecurityPolicy-TLS13-1-0-2021-06"
    async with target() as origin, securing(https(group_of(origin.address), ssl_policy=policy)) as it:
        client = await it.secure(client_context(version, alpn=("h2", "http/1.1")))
        peer = H2Client(client)
        if code is None:
            assert (await (await peer.start()).get()).status == 200
        else:
            client.send(PREFACE + settings())
            assert await peer.goaway() == code
            assert it.counters["Failure_Http2ProtocolError"] == 1
            assert not origin.heads


async def test_client_address_of_a_proxy_header_is_that_of_every_stream() -> None:
    """PROXY protocol comes first, then the preface."""
    async with target() as origin, balancing(listener(group_of(origin.address), proxy_protocol="required")) as it:
        peer = await it.client()
        peer.send(v2("192.0.2.7", 4711))
        client = await H2Client(peer).start()
        for _ in range(2):
            await client.get()
            assert b"X-Forwarded-For: 192.0.2.7\r\n" in origin.heads[-1]


async def test_client_certificate_is_passed_on_with_every_stream() -> None:
    """The same fields as over HTTP/1.1."""
    shown = ca().issue("client", common_name="a client", client=True)
    async with target() as origin, asking(verifying(), origin.address) as it:
        client = await H2Client(await it.come(shown)).start()
        for _ in range(2):
            assert (await client.get("/", ("x-amzn-mtls-clientcert-subject", "forged"))).status == 200
            assert told(origin.heads[-1])[b"X-Amzn-Mtls-Clientcert-Subject"] == b"CN=a client"
            assert b"forged" not in origin.heads[-1]


async def test_trusted_proxy_names_its_client() -> None:
    """Per request, as over HTTP/1.1."""
    async with target() as origin, balancing(listener(group_of(origin.address), trusted_networks=["127.0.0.0/8"])) as it:
        client = await h2(it)
        for host in ("192.0.2.7", "192.0.2.8"):
            await client.get("/", ("x-forwarded-for", host), ("x-forwarded-proto", "https"))
            assert b"X-Forwarded-Proto: https\r\n" in origin.heads[-1]
            assert f"X-Forwarded-For: {host}, 127.0.0.1".encode() in origin.heads[-1]


# Requests.


async def test_request_becomes_one_of_http_1_1() -> None:
    """Names in lower case, Host first, and nothing of HTTP/2."""
    async with target() as origin, running(origin.address) as it:
        await asked(it, ("accept", "*/*"), ("te", "trailers"), path="/path?query=1")
        assert head_of(origin)[:3] == ["GET /path?query=1 HTTP/1.1", f"Host: example.com:{it.port}", "accept: */*"]


async def test_crumbs_of_a_cookie_are_joined() -> None:
    """RFC 9113 section 8.2.3."""
    async with target() as origin, running(origin.address) as it:
        await asked(it, ("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "c=3"))
        assert [line for line in head_of(origin) if line.startswith("cookie")] == ["cookie: a=1; b=2; c=3"]


async def test_authority_and_host_may_both_be_there_if_they_agree() -> None:
    """Otherwise the load balancer and a target could disagree about the host."""
    async with target() as origin, running(origin.address) as it:
        assert (await asked(it, ("host", "EXAMPLE.com"))).status == 200
        assert [line.lower() for line in head_of(origin) if line.lower().startswith("host")] == [f"host: example.com:{it.port}"]
        assert (await asked(it, ("host", "other.example"))).reset is not None
        assert len(origin.heads) == 1


async def test_rules_see_the_authority() -> None:
    """As the host."""
    rule = alb.Rule(1, [alb.HostHeader("api.example")], alb.FixedResponse(202))
    async with balancing(listener(alb.FixedResponse(200), rule)) as it:
        client = await h2(it)
        assert (await client.answer(client.request(authority="api.example"))).status == 202
        assert (await client.answer(client.request(authority="www.example"))).status == 200


async def test_body_without_a_length_goes_to_the_target_in_chunks_with_its_trailers() -> None:
    """Trailers of the client become trailers of the chunked body."""
    got: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        got.append(await conversation.read_until(b"0\r\nx-sum: 7\r\n\r\n"))
        conversation.send(SHORT)
        await conversation.read_to_end()

    async with target(script) as origin, running(origin.address) as it:
        client = await h2(it)
        stream = client.request("POST", end=False)
        client.send(data(stream, b"body"))
        await origin.arrived()
        client.send(headers(stream, [("x-sum", "7")]))
        assert (await client.answer(stream)).status == 200
        assert got == [b"4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n"]


async def test_body_with_a_length_keeps_it() -> None:
    """So the target needs no chunks. Trailers have no place then."""
    async with target() as origin, running(origin.address) as it:
        client = await h2(it)
        stream = client.request("POST", "/", ("content-length", "4"), end=False)
        client.send(data(stream, b"body"), headers(stream, [("x-sum", "7")]))
        assert (await client.answer(stream)).status == 200
        assert "content-length: 4" in head_of(origin)
        assert origin.conversations[0].received.endswith(b"\r\n\r\nbody")


async def test_expect_is_answered_before_the_body() -> None:
    """With 100, once."""
    async with target() as origin, running(origin.address) as it:
        client = await h2(it)
        stream = client.request("POST", "/", ("expect", "100-continue"), end=False)
        assert (await client.head(stream)).status == 100
        client.send(data(stream, b"body", end=True))
        answer = await client.answer(stream)
        assert [dict(head)[":status"] for head in answer.heads] == ["100", "200"]
        assert len(origin.heads) == 1


# Responses.


async def test_interim_responses_of_the_target_are_passed_on() -> None:
    """103, and then the response."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with target(None, early + SHORT) as origin, running(origin.address) as it:
        answer = await asked(it)
        assert [head[0] for head in answer.heads] == [(":status", "103"), (":status", "200")]
        assert answer.heads[0][1] == ("link", "</style.css>")
        assert answer.body == b"ok"


async def test_trailers_of_the_target_are_passed_on() -> None:
    """In a header block behind the data."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
    async with target(None, chunked) as origin, running(origin.address) as it:
        answer = await asked(it)
        assert answer.get("transfer-encoding") is None
        assert (answer.body, answer.trailers, answer.has_ended) == (b"ok", [("x-sum", "7")], True)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 5\r\n\r\n'),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["HEAD", "204", "304", "empty"],
)
async def test_response_without_a_body_ends_with_its_head(method: str, head: bytes) -> None:
    """END_STREAM is on HEADERS, and the connections go on."""
    async with target(None, head) as origin, running(origin.address) as it:
        client = await h2(it)
        for _ in range(2):
            answer = await client.get(method=method)
            assert (answer.body, answer.has_ended) == (b"", True)
            assert answer.get("content-length") in (None, "5", "0")
        assert not [frame for frame in client.frames if type(frame).__name__ == "DataFrame"]
        assert len(origin.conversations) == 1


async def test_fields_of_the_connection_to_the_target_are_left_out() -> None:
    """They must not be in HTTP/2 (RFC 9113 section 8.2.2)."""
    fields = b"Connection: keep-alive, X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5", b"X-End: 1"
    async with target(None, response(200, b"ok", *fields)) as origin, running(origin.address) as it:
        names = {name for name, _ in (await asked(it)).fields}
        assert names == {"content-length", "x-end", "date"}


async def test_response_that_ends_with_the_connection_ends_the_stream() -> None:
    """The target has no other way to show the end."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")

    async with target(script) as origin, running(origin.address) as it:
        answer = await asked(it)
        assert (answer.body, answer.has_ended) == (b"all of it", True)


async def test_cut_response_is_reset() -> None:
    """So that the client cannot take it for complete. Other streams go on."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.head()
        if b"/cut" in head:
            conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
            return
        conversation.send(SHORT)
        await conversation.read_to_end()

    async with target(script) as origin, running(origin.address) as it:
        client = await h2(it)
        answer = await client.get("/cut")
        assert (answer.body, answer.has_ended) == (b"short", False)
        assert answer.reset not in (None, NO_ERROR)
        assert (await client.get()).status == 200


async def test_local_responses_and_error_pages_are_sent() -> None:
    """Fixed responses, redirects, and failures of targets."""
    rules = [
        alb.Rule(1, [alb.PathPattern("/fixed")], alb.FixedResponse(418, "tea", content_type="text/plain")),
        alb.Rule(2, [alb.PathPattern("/redirect")], alb.Redirect(path="/elsewhere")),
    ]
    async with balancing(listener(alb.Forward(alb.TargetGroup("empty", [])), *rules)) as it:
        client = await h2(it)
        fixed = await client.get("/fixed")
        assert (fixed.status, fixed.body, fixed.get("content-type")) == (418, b"tea", "text/plain; charset=utf-8")
        moved = await client.get("/redirect")
        assert moved.status == 302
        assert (moved.get("location") or "").endswith("/elsewhere")
        assert (await client.get()).status == 503
        assert (await client.get(method="HEAD")).body == b""
        counted = it.counters
        assert counted["HTTP_Fixed_Response_Count"] == counted["HTTP_Redirect_Count"] == 1
        assert counted["HTTPCode_ELB_503_Count"] == counted["Failure_NoTargets"] == 2


async def test_sticky_session_stays_on_its_target() -> None:
    """By its cookie, sent in crumbs."""
    sticky = alb.LbCookie(duration=60)
    async with named("one", "two") as (one, two), running(one.address, two.address, stickiness=sticky) as it:
        client = await h2(it)
        first = await client.get()
        cookies = [value.partition(";")[0] for name, value in first.fields if name == "set-cookie"]
        assert cookies
        for _ in range(4):
            answer = await client.get("/", *[("cookie", cookie) for cookie in cookies])
            assert answer.body == first.body


async def test_exchange_is_counted_once_with_its_bytes() -> None:
    """The head in the form of HTTP/1.1, as the target gets it, and what was sent."""
    async with target() as origin, running(origin.address) as it:
        client = await h2(it)
        await client.get()
        await client.get(method="HEAD")
        counted = it.counters
        assert counted["RequestCount"] == counted["HTTPCode_Target_2XX_Count"] == 2
        assert counted["NewConnectionCount"] == 2  # One of the client, one to the target.
        assert not [name for name in counted if name.startswith("Failure")]


async def test_streams_of_a_connection_are_served_at_the_same_time() -> None:
    """The second is answered while the first waits."""
    release = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        while True:
            if b"/slow" in await conversation.head():
                await release.wait()
            conversation.send(SHORT)

    async with target(script) as origin, running(origin.address) as it:
        client = await h2(it)
        slow = client.request("GET", "/slow")
        for _ in range(3):
            assert (await client.get()).status == 200
        assert slow not in client.answers
        release.set()
        assert (await client.answer(slow)).status == 200


async def test_old_client_next_to_a_new_one_keeps_its_target_connection() -> None:
    """Both share the pool of connections to targets."""
    async with target() as origin, running(origin.address) as it:
        raw = await it.client()
        assert isinstance(raw, RawClient)
        for _ in range(3):
            assert (await raw.get()).status == 200
            assert (await asked(it)).status == 200
        assert len(origin.conversations) == 1
