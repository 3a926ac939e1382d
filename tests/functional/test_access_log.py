"""Every field of the access log in ALB's format, for each kind of exchange, over real sockets."""

from __future__ import annotations

import asyncio
import re
import tempfile
from datetime import UTC, datetime
from typing import Any

import pytest

import albkit as alb
from albkit.report.names import certificate_arn, elb_name, group_arn
from tests.support.balancing import balancing, group_of, listener
from tests.support.clock import FakeClock
from tests.support.h2_targets import client_of
from tests.support.logs import Lines, alb_fields
from tests.support.peers import Conversation, Target, free_port, request, response, target
from tests.support.secure import client_context, https, securing
from tests.support.tunnels import UPGRADE, echo, gone, switching, upgraded

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_TRACE = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}")
_CONNECTION = re.compile(r"TID_[0-9a-f]{32}")

NOTHING = {
    "type": "http",
    "elb": elb_name("albkit"),
    "target:port": "-",
    "request_processing_time": "-1",
    "target_processing_time": "-1",
    "response_processing_time": "-1",
    "target_status_code": "-",
    "user_agent": "-",
    "ssl_cipher": "-",
    "ssl_protocol": "-",
    "target_group_arn": "-",
    "trace_id": "-",
    "domain_name": "-",
    "chosen_cert_arn": "-",
    "matched_rule_priority": "0",
    "actions_executed": "-",
    "redirect_url": "-",
    "error_reason": "-",
    "classification": "-",
    "classification_reason": "-",
    "transformed_host": "-",
    "transformed_uri": "-",
    "request_transform_status": "-",
    "ip_address": "127.0.0.1",
}
"""The fields of a request that came to nothing."""


def check(fields: dict[str, str], **expected: object) -> None:
    """Compare every field. Times and ids that cannot be known are compared by their form, the rest with `expected` or `NOTHING`."""
    fields = dict(fields)
    assert _TIME.fullmatch(fields.pop("time"))
    assert _TIME.fullmatch(fields.pop("request_creation_time"))
    assert _CONNECTION.fullmatch(fields.pop("conn_trace_id"))
    wanted = NOTHING | {name.replace("__", ":"): str(value) for name, value in expected.items()}
    wanted |= {"target:port_list": wanted["target:port"], "target_status_code_list": wanted["target_status_code"]}
    for name in ("request_processing_time", "target_processing_time", "response_processing_time"):
        if wanted[name] == "any":
            assert re.fullmatch(r"\d+\.\d{3}", fields[name])
            wanted[name] = fields[name]
    if wanted["trace_id"] == "any":
        assert _TRACE.fullmatch(fields["trace_id"])
        wanted["trace_id"] = fields["trace_id"]
    assert fields == wanted


def forwarded(origin: Target, group: str = "group", **more: object) -> dict[str, object]:
    """What a request has that a target answered with 200."""
    return {
        "target__port": origin.address,
        "request_processing_time": "any",
        "target_processing_time": "any",
        "response_processing_time": "any",
        "elb_status_code": 200,
        "target_status_code": 200,
        "target_group_arn": group_arn(group),
        "trace_id": "any",
        "actions_executed": "forward",
        **more,
    }


@pytest.fixture
def lines() -> Lines:
    return Lines()


def logged(lines: Lines, *listeners: alb.Listener, **settings: Any) -> Any:
    return balancing(*listeners, access_log=alb.AccessLog(lines), **settings)


async def test_forwarded_request(lines: Lines) -> None:
    """Client and target, both statuses, bytes with their heads, the URL as it was sent, and the user agent."""
    async with target() as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await it.client()
        await client.get("/a/b%20c?d=e&f", "User-Agent: curl/7.46.0")
        fields = await lines.alb()
        check(
            fields,
            client__port=f"127.0.0.1:{client.port}",
            received_bytes=client.sent,
            sent_bytes=len(client.received),
            request=f"GET http://example.com:{it.port}/a/b%20c?d=e&f HTTP/1.1",
            **forwarded(origin, user_agent="curl/7.46.0"),
        )
        assert fields["trace_id"].encode() in origin.heads[0]


async def test_times_are_those_of_the_steps(lines: Lines) -> None:
    """Received, sent, answered, and responded, each in seconds with three decimals; times of day in UTC."""
    clock = FakeClock()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        clock.now += 1.25
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await conversation.drain()
        await conversation.read()

    async def slow(_: alb.Request) -> None:
        clock.now += 0.0631

    async with (
        target(script) as origin,
        logged(lines, listener([slow, alb.Forward(alb.TargetGroup("group", origin.address))]), clock=clock) as it,
    ):
        client = await it.client()
        client.send(request("GET", "/"))
        await client.read_until(b"\r\n\r\n")
        clock.now += 3.5
        (conversation,) = origin.conversations
        conversation.send(b"ok")
        await client.read_until(b"ok")
        fields = await lines.alb()
        times = [fields[f"{name}_processing_time"] for name in ("request", "target", "response")]
        assert times == ["0.063", "1.250", "0.000"]
        assert _seconds(fields["time"]) == pytest.approx(clock.wall, abs=1e-5)
        assert _seconds(fields["request_creation_time"]) == pytest.approx(clock.wall - 0.0631 - 1.25 - 3.5, abs=0.001)
        assert fields["request_creation_time"].endswith("000Z")


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


async def test_redirect(lines: Lines) -> None:
    """Its URL, its rule, and no target."""
    rule = alb.Rule(50000, alb.PathPattern("/old"), alb.Redirect(path="/new", status_code=301))
    async with logged(lines, listener(alb.FixedResponse(404), rule)) as it:
        client = await it.client()
        answer = await client.get("/old?a=b")
        check(
            await lines.alb(),
            client__port=f"127.0.0.1:{client.port}",
            elb_status_code=301,
            received_bytes=client.sent,
            sent_bytes=len(client.received),
            request=f"GET http://example.com:{it.port}/old?a=b HTTP/1.1",
            matched_rule_priority=50000,
            actions_executed="redirect",
            redirect_url=(answer.get(b"location") or b"").decode(),
        )


async def test_fixed_response_and_hook(lines: Lines) -> None:
    """The action that answered."""

    async def hook(request: alb.Request) -> alb.Response | None:
        return alb.Response(418) if request.path == "/tea" else None

    async with logged(lines, listener([hook, alb.FixedResponse(200, "x")])) as it:
        client = await it.client()
        common = {"client__port": f"127.0.0.1:{client.port}", "received_bytes": len(request("GET", "/tea"))}
        for path, status, action in (("/tea", 418, "hook"), ("/cup", 200, "fixed-response")):
            before = len(client.received)
            await client.get(path)
            check(
                await lines.alb(1 if path == "/tea" else 2),
                elb_status_code=status,
                sent_bytes=len(client.received) - before,
                request=f"GET http://example.com:{it.port}{path} HTTP/1.1",
                actions_executed=action,
                **common,
            )


async def test_trace_id_of_a_client(lines: Lines) -> None:
    """The one that the target got; for an answer without a target, the client's own."""
    rule = alb.Rule(1, alb.PathPattern("/fixed"), alb.FixedResponse(200))
    async with target() as origin, logged(lines, listener(group_of(origin.address), rule)) as it:
        client = await it.client()
        await client.get("/", "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793")
        fields = await lines.alb()
        assert re.fullmatch(r"Self=1-[0-9a-f]{8}-[0-9a-f]{24};Root=1-5759e988-bd862e3fe1be46a994272793", fields["trace_id"])
        # As long as an id of the load balancer, which needs no escaping.
        forged = 'Root="' + "x" * 34
        assert len(forged) == 40
        await client.get("/fixed", f"X-Amzn-Trace-Id: {forged}")
        assert (await lines.alb(2))["trace_id"] == "Root=\\x22" + "x" * 34
        await client.get("/", f"X-Amzn-Trace-Id: {forged}")
        assert (await lines.alb(3))["trace_id"].endswith(";Root=\\x22" + "x" * 34)


async def test_request_that_is_not_http(lines: Lines) -> None:
    """ALB's placeholder for the request, and no rule."""
    async with logged(lines, listener(alb.FixedResponse(200))) as it:
        client = await it.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
        assert (await client.response()).status == 400
        check(
            await lines.alb(),
            client__port=f"127.0.0.1:{client.port}",
            elb_status_code=400,
            received_bytes=client.sent,
            sent_bytes=len(client.received),
            request=f"- http://albkit:{it.port}- ",
            matched_rule_priority="-",
            classification="Ambiguous",
            classification_reason="MissingHeaderColon",
        )


async def test_classification_of_desync_mitigation(lines: Lines) -> None:
    """Class and reason, whether the request passes or not."""
    bad = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with target() as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await it.client()
        client.send(request("GET", "/", "Content-Length: 0"))
        assert (await client.response()).status == 200
        fields = await lines.alb()
        assert (fields["classification"], fields["classification_reason"]) == ("Acceptable", "GetHeadZeroContentLength")
        await client.close()
        client = await it.client()
        client.send(bad)
        assert (await client.response()).status == 400
        fields = await lines.alb(2)
        assert (fields["elb_status_code"], fields["request"]) == ("400", f"- http://albkit:{it.port}- ")
        assert (fields["classification"], fields["classification_reason"]) == ("Ambiguous", "BothTeClPresent")


async def test_target_that_refuses(lines: Lines) -> None:
    """502: the target that was tried, no status of it, and -1 for all times."""
    dead = f"127.0.0.1:{free_port()}"
    async with logged(lines, listener(group_of(dead))) as it:
        client = await it.client()
        assert (await client.get("/")).status == 502
        check(
            await lines.alb(),
            client__port=f"127.0.0.1:{client.port}",
            target__port=dead,
            elb_status_code=502,
            received_bytes=client.sent,
            sent_bytes=len(client.received),
            request=f"GET http://example.com:{it.port}/ HTTP/1.1",
            target_group_arn=group_arn("group"),
            trace_id="any",
            actions_executed="forward",
        )


async def test_no_target(lines: Lines) -> None:
    """503: a group and no target."""
    async with logged(lines, listener(group_of())) as it:
        client = await it.client()
        assert (await client.get("/")).status == 503
        check(
            await lines.alb(),
            client__port=f"127.0.0.1:{client.port}",
            elb_status_code=503,
            received_bytes=client.sent,
            sent_bytes=len(client.received),
            request=f"GET http://example.com:{it.port}/ HTTP/1.1",
            target_group_arn=group_arn("group"),
            actions_executed="forward",
        )


async def test_failed_attempt_and_then_an_answer(lines: Lines) -> None:
    """The target and the times of the attempt that was answered."""
    dead = f"127.0.0.1:{free_port()}"
    async with target() as origin, logged(lines, listener(group_of(dead, origin.address))) as it:
        for number in (1, 2):
            client = await it.client()
            assert (await client.get("/")).status == 200
            fields = await lines.alb(number)
            assert (fields["target:port"], fields["target_status_code"], fields["elb_status_code"]) == (origin.address, "200", "200")
            assert fields["target_processing_time"] != "-1"


async def test_client_that_leaves(lines: Lines) -> None:
    """460: a request that was sent, and not answered."""

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.read()

    async with target(script) as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await it.client()
        client.send(request("GET", "/"))
        await origin.arrived()
        client.reset()
        fields = await lines.alb()
        assert (fields["elb_status_code"], fields["target_status_code"], fields["target:port"]) == ("460", "-", origin.address)
        assert (fields["request_processing_time"], fields["target_processing_time"]) == ("-1", "-1")


async def test_protocol_that_does_not_fit_the_group(lines: Lines) -> None:
    """464: a group, an action, no target."""
    async with target() as origin, logged(lines, listener(group_of(origin.address, protocol_version="GRPC"))) as it:
        client = await it.client()
        assert (await client.get("/")).status == 464
        fields = await lines.alb()
        assert (fields["elb_status_code"], fields["target:port"], fields["target_group_arn"]) == ("464", "-", group_arn("group"))


async def test_condition_that_fails(lines: Lines) -> None:
    """-1 is an error while rules were evaluated (docs/alb.md 7.1)."""

    def broken(_: alb.Request) -> bool:
        raise ValueError

    async with logged(lines, listener(alb.FixedResponse(200), alb.Rule(1, broken, alb.FixedResponse(200)))) as it:
        assert (await (await it.client()).get("/")).status == 500
        fields = await lines.alb()
        assert (fields["matched_rule_priority"], fields["actions_executed"], fields["elb_status_code"]) == ("-1", "-", "500")


async def test_transforms(lines: Lines) -> None:
    """What became of host and URL, and why a result could not be used. The request itself is shown as it came."""
    async with target() as origin:
        rules = [
            alb.Rule(
                1, alb.PathPattern("/both"), group_of(origin.address), transforms=[alb.UrlRewrite("^/both", "/a b".replace(" ", "%20"))]
            ),
            alb.Rule(2, alb.PathPattern("/host"), group_of(origin.address), transforms=[alb.HostHeaderRewrite("^.*$", "inner")]),
            alb.Rule(3, alb.PathPattern("/none"), group_of(origin.address), transforms=[alb.UrlRewrite("^/other", "/a")]),
            alb.Rule(4, alb.PathPattern("/bad1"), group_of(origin.address), transforms=[alb.UrlRewrite("^/", "")]),
            alb.Rule(5, alb.PathPattern("/bad2"), group_of(origin.address), transforms=[alb.HostHeaderRewrite("^.*$", "a/b")]),
        ]
        async with logged(lines, listener(alb.FixedResponse(404), *rules)) as it:
            client = await it.client()
            expected = {
                "/both": ("-", "/a%20b", "TransformSuccess"),
                "/host": (f"inner:{it.port}", "-", "TransformSuccess"),
                "/none": ("-", "-", "TransformSuccess"),
                "/bad1": ("-", "-", "TransformInvalidPath"),
                "/bad2": ("-", "-", "TransformInvalidHost"),
            }
            for number, (path, outcome) in enumerate(expected.items(), 1):
                await client.get(path)
                fields = await lines.alb(number)
                assert fields["request"] == f"GET http://example.com:{it.port}{path} HTTP/1.1"
                assert tuple(fields[name] for name in ("transformed_host", "transformed_uri", "request_transform_status")) == outcome


async def test_tunnel_at_its_end(lines: Lines) -> None:
    """One line with the bytes of both directions; the times are those of the handshake."""
    async with target(switching(then=echo)) as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await upgraded(it)
        client.send(b"\x81\x80abcd" * 3)
        await client.read_exactly(18)
        await asyncio.sleep(0)
        assert lines.all == []
        client.send_fin()
        await client.read_to_end()
        await gone(it)
        check(
            await lines.alb(),
            client__port=f"127.0.0.1:{client.port}",
            received_bytes=client.sent,
            sent_bytes=len(client.received),
            request=f"GET http://example.com:{it.port}/ws HTTP/1.1",
            **forwarded(origin, type="ws", elb_status_code=101, target_status_code=101),
        )
        assert float(lines.all[0].split()[7]) < 5


async def test_upgrade_that_is_refused_is_no_tunnel(lines: Lines) -> None:
    """Its type is that of any other request."""
    async with target(None, response(403)) as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await it.client()
        await client.get("/", *UPGRADE)
        fields = await lines.alb()
        assert (fields["type"], fields["elb_status_code"]) == ("http", "403")


async def test_https(lines: Lines) -> None:
    """Cipher, protocol, server name and certificate of the connection."""
    async with target() as origin, securing(https(group_of(origin.address)), access_log=alb.AccessLog(lines)) as it:
        client = await it.secure(client_context())
        await client.get("/")
        fields = await lines.alb()
        tls = client.tls
        assert (fields["type"], fields["ssl_cipher"], fields["ssl_protocol"]) == ("https", tls.cipher()[0], tls.version())  # type: ignore[index]
        assert fields["domain_name"] == "example.com"
        assert fields["chosen_cert_arn"].startswith(certificate_arn("x")[:-1])
        assert fields["request"] == f"GET https://example.com:{it.port}/ HTTP/1.1"


async def test_requests_of_a_connection_have_its_id(lines: Lines) -> None:
    """Two connections have two ids."""
    async with logged(lines, listener(alb.FixedResponse(200))) as it:
        first, second = await it.client(), await it.client()
        for client in (first, first, second):
            await client.get("/")
        await lines.get(3)
        ids = [alb_fields(line)["conn_trace_id"] for line in lines.all]
        assert ids[0] == ids[1] != ids[2]


async def test_http2(lines: Lines) -> None:
    """Its version, and an id for all streams of a connection."""
    async with target() as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await client_of(it)
        for number in (1, 2):
            await client.get("/a?b", ("user-agent", "h2"))
            fields = await lines.alb(number)
            assert fields["request"].startswith("GET http://")
            assert fields["request"].endswith(f":{it.port}/a?b HTTP/2.0")
            assert (fields["type"], fields["user_agent"], fields["target:port"]) == ("h2", "h2", origin.address)
        await client.close()
        assert len({alb_fields(line)["conn_trace_id"] for line in lines.all}) == 1


async def test_grpc(lines: Lines) -> None:
    """A type of its own; a `grpc-status` in place of an error page is logged as the status of the page."""
    async with logged(lines, listener(group_of(f"127.0.0.1:{free_port()}", protocol_version="GRPC"))) as it:
        client = await client_of(it)
        await client.get("/a.B/c", ("content-type", "application/grpc"), method="POST")
        fields = await lines.alb()
        await client.close()
        assert (fields["type"], fields["elb_status_code"]) == ("grpc", "502")


async def test_client_behind_a_trusted_proxy(lines: Lines) -> None:
    """The client that the proxy names, with its protocol; the id of the proxy's connection."""
    door = listener(alb.FixedResponse(200), trusted_networks="127.0.0.0/8")
    async with logged(lines, door) as it:
        client = await it.client()
        await client.get("/", "X-Forwarded-For: 2001:db8::1", "X-Forwarded-Proto: https", "X-Forwarded-Port: 8443")
        await client.get("/", "X-Forwarded-For: 203.0.113.9:4711")
        await lines.get(2)
        first, second = map(alb_fields, lines.all)
        assert (first["client:port"], first["type"]) == ("[2001:db8::1]:0", "https")
        assert first["request"] == "GET https://example.com:8443/ HTTP/1.1"
        assert (second["client:port"], second["type"]) == ("203.0.113.9:4711", "http")
        assert first["conn_trace_id"] == second["conn_trace_id"]
        assert _CONNECTION.fullmatch(first["conn_trace_id"])


async def test_client_and_target_on_unix_sockets(lines: Lines) -> None:
    """No address, and a path without spaces."""
    with tempfile.TemporaryDirectory() as folder:
        path, behind = f"{folder}/a.sock", f"{folder}/a b.sock"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_unix_server(answer, behind)
        door = alb.Listener(0, group_of(f"unix:{behind}"), host=f"unix:{path}")
        async with server, logged(lines, door):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(request("GET", "/"))
            await reader.readuntil(b"ok")
            writer.close()
            await writer.wait_closed()
            fields = await lines.alb()
        assert (fields["client:port"], fields["ip_address"]) == ("-", "-")
        assert fields["target:port"] == f"unix:{behind}:0".replace(" ", "\\x20")


async def test_http_1_0_and_absolute_form(lines: Lines) -> None:
    """The version that the client used, and the URL once."""
    async with logged(lines, listener(alb.FixedResponse(200))) as it:
        client = await it.client()
        client.send(b"GET http://other.example/a?b HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await client.response()
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await client.response()
        client.send(b"GET /x? HTTP/1.0\r\n\r\n")
        await client.response()
        await lines.get(3)
        assert [alb_fields(line)["request"] for line in lines.all] == [
            f"GET http://other.example:{it.port}/a?b HTTP/1.1",
            f"OPTIONS http://example.com:{it.port}* HTTP/1.1",
            f"GET http://albkit:{it.port}/x? HTTP/1.0",
        ]


async def test_connection_that_sends_nothing_has_no_line(lines: Lines) -> None:
    """Not in the access log: a connection that never sent a request, closed between requests, or over a limit."""
    async with logged(lines, listener(alb.FixedResponse(200), max_connections=1)) as it:
        client = await it.client()
        other = await it.client()
        assert await other.is_closed()
        await client.get("/")
        await client.close()
    await lines.get(1)


# Attacks


async def test_every_byte_in_every_text_of_a_client_is_escaped(lines: Lines) -> None:
    """Each byte that the load balancer lets through, in the path, the query, the user agent and the trace id: a line stays a line."""
    async with target() as origin, logged(lines, listener(group_of(origin.address))) as it:
        count = 0
        for code in range(256):
            byte = bytes((code,))
            for head in (
                b"GET /%b HTTP/1.1\r\nHost: example.com\r\n\r\n" % byte,
                b"GET /?%b HTTP/1.1\r\nHost: example.com\r\n\r\n" % byte,
                b"GET / HTTP/1.1\r\nHost: example.com\r\nUser-Agent: a%bb\r\n\r\n" % byte,
                b"GET / HTTP/1.1\r\nHost: example.com\r\nX-Amzn-Trace-Id: a%bb\r\n\r\n" % byte,
                b"GET / HTTP/1.1\r\nHost: exa%bmple.com\r\n\r\n" % byte,
                b"G%bT / HTTP/1.1\r\nHost: example.com\r\n\r\n" % byte,
            ):
                if byte == b"\n":
                    continue  # An incomplete head: the client would wait.
                client = await it.client()
                client.send(head)
                client.send_fin()
                await client.read_to_end()
                await client.close()
                count += b"HTTP/1.1 " in client.received
    # Some clients had left before the answer; those have a line too.
    assert len(lines.all) >= count > 300
    for line in lines.all:
        alb_fields(line)
    agents = {alb_fields(line)["user_agent"] for line in lines.all}
    assert {"a\\x22b", "a\\x5Cb", "a\\xFFb", "a b", "a~b"} <= agents


async def test_lines_cannot_be_forged(lines: Lines) -> None:
    """CR and LF in whatever form: an exchange has one line, and what follows it is in its fields."""
    forged = "%0d%0ahttp 2018-07-02T22:23:00.186641Z app/x"
    async with target() as origin, logged(lines, listener(group_of(origin.address))) as it:
        client = await it.client()
        await client.get(f"/{forged}".replace(" ", "%20"), f'User-Agent: \\r\\n" "{forged}')
        fields = await lines.alb()
        assert fields["user_agent"] == f"\\x5Cr\\x5Cn\\x22 \\x22{forged}"


async def test_user_agent_is_cut(lines: Lines) -> None:
    """At 8 KiB, as in ALB."""
    async with logged(lines, listener(alb.FixedResponse(200))) as it:
        await (await it.client()).get("/", "User-Agent: " + "a" * 9000)
        assert (await lines.alb())["user_agent"] == "a" * 8192


async def test_user_agent_of_another_request_on_the_connection(lines: Lines) -> None:
    """What is kept of a connection must not answer for a request with other fields; nor the line of one for another."""
    async with logged(lines, listener(alb.FixedResponse(200))) as it:
        client = await it.client()
        sent = [("/a", "one"), ("/a", "two"), ("/b", "two"), ("/a", "one"), ("/a", None)]
        for path, agent in sent:
            await client.get(path, *([f"user-AGENT: {agent}"] if agent else []))
        await client.get("/a", host="other.example")
        await lines.get(6)
        seen = [alb_fields(line) for line in lines.all]
        assert [fields["user_agent"] for fields in seen] == ["one", "two", "two", "one", "-", "-"]
        assert [fields["request"].split("/", 3)[3] for fields in seen] == ["a HTTP/1.1", "a HTTP/1.1", "b HTTP/1.1", *["a HTTP/1.1"] * 3]
        assert [fields["request"].split("/")[2].partition(":")[0] for fields in seen] == ["example.com"] * 5 + ["other.example"]
