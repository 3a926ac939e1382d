"""The protocol versions of clients and of target groups, and failures as gRPC clients see them."""

from __future__ import annotations

import pytest

import albkit as alb
from tests.support.balancing import balancing, group_of, listener, named
from tests.support.h2_client import H2Client
from tests.support.h2_frames import CANCEL, INTERNAL_ERROR, NO_ERROR, rst_stream
from tests.support.h2_target import H2Stream, h2_target

GRPC = ("content-type", "application/grpc")


@pytest.mark.parametrize("version", ["HTTP2", "GRPC"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_http1_request_to_a_group_of_http2_gets_464(version: str, method: str) -> None:
    """Before a target is chosen: no session, no connection. The client's connection goes on."""
    async with named("web") as (web,):
        group = alb.TargetGroup("group", web.address, protocol_version=version, stickiness=alb.LbCookie())
        plain = alb.TargetGroup("plain", web.address)
        async with balancing(listener(alb.Forward(group), alb.Rule(1, alb.PathPattern("/plain"), alb.Forward(plain)))) as it:
            client = await it.client()
            answer = await client.get("/", "Content-Type: application/grpc", method=method)
            assert (answer.status, answer.all(b"set-cookie")) == (464, [])
            assert web.conversations == []
            counted = it.counters
            assert (counted["Failure_ProtocolVersionMismatch"], counted["HTTPCode_ELB_4XX_Count"]) == (1, 1)
            assert not counted.keys() & {"RequestCount", "NonStickyRequestCount"}
            assert (await client.get("/plain")).body == b"web"


async def test_log_line_of_464_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """It names the group and the setting."""
    group = alb.TargetGroup("api", "127.0.0.1:9", protocol_version="HTTP2")
    with caplog.at_level("INFO", "albkit"):
        async with balancing(listener(alb.Forward(group))) as it:
            assert (await (await it.client()).get()).status == 464
    (line,) = [line for line in caplog.messages if line.startswith("ProtocolVersionMismatch: ")]
    assert "status=464" in line
    assert "group=api" in line
    assert "use HTTP/2, or set protocol_version='HTTP1'" in line.replace("\\", "")


async def test_changed_protocol_version_holds_for_the_next_request() -> None:
    """`apply` with another version: open connections to the target serve no further request, and clients keep theirs."""
    async with named("web") as (web,):

        def described(version: str) -> alb.Listener:
            return listener(alb.Forward(alb.TargetGroup("group", web.address, protocol_version=version)), name="main")

        async with balancing(described("HTTP1")) as it:
            client = await it.client()
            assert (await client.get()).body == b"web"
            assert it.runtime.connections.count == 1
            await it.load_balancer.apply(described("GRPC"))
            assert (await client.get()).status == 464
            assert it.runtime.connections.count == 0
            await it.load_balancer.apply(described("HTTP1"))
            assert (await client.get()).body == b"web"
            assert len(web.conversations) == 2


async def test_explanation_shows_the_clash_of_versions() -> None:
    """For HTTP/1.1, for HTTP/2, and for gRPC by its Content-Type."""
    groups = [alb.TargetGroup(version.lower(), "10.0.0.1:80", protocol_version=version) for version in ("HTTP1", "HTTP2", "GRPC")]
    rules = [alb.Rule(place, alb.PathPattern(f"/{group.name}"), alb.Forward(group)) for place, group in enumerate(groups, 1)]
    grpc = {"Content-Type": "application/grpc+proto"}
    async with balancing(listener(alb.FixedResponse(404), *rules)) as it:
        explain = it.load_balancer.explain
        assert str(explain("POST", "http://a/http1", headers=grpc).target) == "10.0.0.1:80"
        assert str(explain("GET", "http://a/http1", http2=True).target) == "10.0.0.1:80"
        assert str(explain("GET", "http://a/http2", http2=True).target) == "10.0.0.1:80"
        assert str(explain("POST", "http://a/grpc", headers=grpc, http2=True).target) == "10.0.0.1:80"
        clash = explain("POST", "http://a/http1", headers=grpc, http2=True)
        assert (clash.group, clash.target) == ("http1", None)
        assert clash.why[-1] == ("464: group http1: a gRPC request to a group with protocol_version='HTTP1'; set protocol_version='GRPC'")
        assert explain("GET", "http://a/http2").why[-1].startswith("464: group http2: an HTTP/1.1 request to a group with")
        assert explain("GET", "http://a/grpc", http2=True).why[-1].startswith("464: group grpc: a GET request to a group with")


async def test_http2_request_to_a_listener_without_it_cannot_be_explained() -> None:
    """The fault names the setting."""
    async with balancing(listener(alb.FixedResponse(404), http2=False, name="main")) as it:
        with pytest.raises(ValueError, match=r"listener main does not accept HTTP/2; .* Listener\(http2=True\)"):
            it.load_balancer.explain("GET", "http://a/", http2=True)
        assert it.load_balancer.explain("GET", "http://a/").target is None


async def test_grpc_request_to_a_group_of_http1_gets_464() -> None:
    """Before a target is chosen. Every other request of the connection is served."""
    async with named("web") as (web,), balancing(listener(group_of(web.address))) as it:
        client = await H2Client(await it.client()).start()
        clash = await client.get("/a.B/C", GRPC, ("te", "trailers"), method="POST")
        assert (clash.status, clash.get("grpc-status")) == (464, None)
        assert web.conversations == []
        assert (await client.get("/", ("content-type", "application/grpc-web"), method="POST")).body == b"web"
        assert (await client.get("/", GRPC)).body == b"web"
        counted = it.counters
        assert (counted["RequestCount"], counted["Failure_ProtocolVersionMismatch"], counted["Http2ConnectionCount"]) == (2, 1, 1)
        assert "GrpcRequestCount" not in counted


async def test_grpc_group_takes_post_only() -> None:
    """Of HTTP/2 clients."""
    async with balancing(listener(group_of("127.0.0.1:9", protocol_version="GRPC"))) as it:
        client = await H2Client(await it.client()).start()
        assert [(await client.get("/", method=method)).status for method in ("GET", "PUT")] == [464, 464]
        assert "RequestCount" not in it.counters


@pytest.mark.parametrize("version", ["HTTP2", "GRPC"])
async def test_failure_is_a_grpc_status_over_http2(version: str) -> None:
    """One header block ends the stream. Counters and records have the status that another client gets."""
    async with balancing(listener(group_of("127.0.0.1:9", protocol_version=version))) as it:
        client = await H2Client(await it.client()).start()
        answer = await client.get("/a.B/C", GRPC, ("te", "trailers"), method="POST")
        assert (answer.status, answer.get("grpc-status"), answer.get("grpc-message")) == (200, "14", "unavailable")
        assert answer.get("content-type") == "application/grpc"
        assert (len(answer.blocks), answer.body, answer.has_ended) == (1, b"", True)
        other = await client.get("/a.B/C", method="POST")
        assert (other.status, other.get("grpc-status")) == (502, None)
        counted = it.counters
        assert counted["HTTPCode_ELB_502_Count"] == 2
        assert (counted["RequestCount"], counted["GrpcRequestCount"]) == (2, 1)
        assert it.load_balancer.counters_of("group")["GrpcRequestCount"] == 1


@pytest.mark.parametrize("is_open", [False, True], ids=["half-closed", "open"])
async def test_grpc_response_that_its_target_cuts_ends_with_unavailable(is_open: bool) -> None:
    """In trailers: clients of gRPC read a reset as `internal`. A response that is not of gRPC is reset."""

    async def script(stream: H2Stream) -> None:
        stream.head(200, GRPC)
        await stream.write(b"\0\0\0\0\x05hal")
        stream.abort(INTERNAL_ERROR)

    async with h2_target(script) as origin, balancing(listener(group_of(origin.address, protocol_version="GRPC"))) as it:
        client = await H2Client(await it.client()).start()
        stream = client.request("POST", "/a.B/C", GRPC, ("te", "trailers"), end=not is_open)
        answer = await client.answer(stream)
        assert answer.trailers == [("grpc-status", "14"), ("grpc-message", "unavailable")]
        assert (answer.status, answer.body, answer.has_ended) == (200, b"\0\0\0\0\x05hal", True)
        if is_open:
            assert await client.reset(stream) == NO_ERROR
        other = await client.get("/a.B/C", method="POST")
        assert (other.has_ended, other.reset) == (False, INTERNAL_ERROR)
        await client.alive()
        assert it.counters["Failure_ResponseBodyTruncated"] == 2


async def test_stream_that_a_client_resets_is_counted() -> None:
    """The connection goes on."""
    async with named("web") as (web,), balancing(listener(group_of(web.address))) as it:
        client = await H2Client(await it.client()).start()
        stream = client.request("POST", "/", end=False)
        client.send(rst_stream(stream, CANCEL))
        assert (await client.get()).body == b"web"
        assert it.counters["Http2StreamResetCount"] == 1


async def test_changed_http2_holds_for_new_connections() -> None:
    """`apply` with `http2=False`: open connections go on, new ones are refused."""
    async with named("web") as (web,):

        def described(*, http2: bool) -> alb.Listener:
            return listener(group_of(web.address), name="main", http2=http2)

        async with balancing(described(http2=True)) as it:
            client = await H2Client(await it.client()).start()
            await it.load_balancer.apply(described(http2=False))
            assert (await client.get()).body == b"web"
            late = await it.client()
            late.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert (await late.response()).status == 505
            await it.load_balancer.apply(described(http2=True))
            assert (await (await H2Client(await it.client()).start()).get()).body == b"web"
