"""The other formats of the access log, over real sockets: JSON, combined, and NLB's for TCP and TLS listeners."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import albkit as alb
from albkit.report.access_log import FORMATS
from albkit.report.names import elb_name, group_arn
from tests.functional.test_access_log import logged
from tests.support.balancing import balancing, group_of, listener
from tests.support.h2_targets import client_of
from tests.support.logs import Lines, nlb_fields
from tests.support.peers import free_port, request, target
from tests.support.secure import certificate, client_context, https, securing
from tests.support.tunnels import UPGRADE, echo, gone, switching

JSON_FIELDS = (
    *("type", "time", "elb", "listener", "client_ip", "client_port", "target_ip", "target_port", "target_group_arn", "target_group"),
    *("request_processing_time", "target_processing_time", "response_processing_time", "total_time", "elb_status_code"),
    *("target_status_code", "received_bytes", "sent_bytes", "request_verb", "request_url", "request_proto", "user_agent", "trace_id"),
    *("matched_rule_priority", "request_creation_time", "actions_executed", "redirect_url", "error_reason", "attempts"),
    *("classification", "classification_reason", "transformed_host", "transformed_uri", "request_transform_status", "ssl_cipher"),
    *("ssl_protocol", "domain_name", "chosen_cert_arn", "conn_trace_id", "ip_address"),
)
STREAM_FIELDS = (
    *("type", "version", "elb", "listener", "listener_port", "time", "client_ip", "client_port", "target_ip", "target_port"),
    *("target_group_arn", "target_group", "connection_time", "tls_handshake_time", "received_bytes", "sent_bytes", "tls_cipher"),
    *("tls_protocol_version", "domain_name", "alpn_fe_protocol", "chosen_cert_arn", "tls_connection_creation_time", "conn_trace_id"),
    *("error_reason", "attempts"),
)
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"


@pytest.fixture
def lines() -> Lines:
    return Lines()


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


# JSON


def as_json(lines: Lines) -> alb.AccessLog:
    return alb.AccessLog(lines, "json")


async def test_json_of_a_forwarded_request(lines: Lines) -> None:
    """Every field: texts, numbers, and null for what did not happen."""
    async with target() as origin, balancing(listener(group_of(origin.address), name="door"), access_log=as_json(lines)) as it:
        client = await it.client()
        await client.get("/a?b", 'User-Agent: "\\a')
        (line,) = await lines.get()
        fields = json.loads(line)
        assert tuple(fields) == JSON_FIELDS
        for name in ("request_processing_time", "target_processing_time", "response_processing_time", "total_time"):
            assert 0 <= fields[name] < 5
        for name in ("time", "request_creation_time"):
            assert re.fullmatch(_TIME + r"\.\d{6}Z", fields[name])
        assert re.fullmatch(r"TID_[0-9a-f]{32}", fields["conn_trace_id"])
        times = ("time", "request_creation_time", "request_processing_time", "target_processing_time", "response_processing_time")
        known = _without(fields, *times, "total_time", "conn_trace_id")
        assert known == {
            **dict.fromkeys(known),
            "type": "http",
            "elb": elb_name("albkit"),
            "listener": "door",
            "client_ip": "127.0.0.1",
            "client_port": client.port,
            "target_ip": "127.0.0.1",
            "target_port": origin.port,
            "target_group_arn": group_arn("group"),
            "target_group": "group",
            "elb_status_code": 200,
            "target_status_code": 200,
            "received_bytes": client.sent,
            "sent_bytes": len(client.received),
            "request_verb": "GET",
            "request_url": f"http://example.com:{it.port}/a?b",
            "request_proto": "HTTP/1.1",
            "user_agent": '"\\a',
            "trace_id": origin.heads[0].partition(b"X-Amzn-Trace-Id: ")[2].partition(b"\r\n")[0].decode(),
            "matched_rule_priority": 0,
            "actions_executed": "forward",
            "redirect_url": None,
            "error_reason": None,
            "attempts": 1,
            "ip_address": "127.0.0.1",
        }


async def test_json_of_a_failure_names_its_reason(lines: Lines) -> None:
    """In albkit's words, which ALB has no code for."""
    dead = f"127.0.0.1:{free_port()}"
    async with balancing(listener(group_of(dead)), access_log=as_json(lines)) as it:
        await (await it.client()).get("/")
        (line,) = await lines.get()
        fields = json.loads(line)
        assert (fields["error_reason"], fields["elb_status_code"], fields["target_status_code"]) == ("TargetConnectionRefused", 502, None)
        assert (fields["target_processing_time"], fields["attempts"]) == (None, 3)


async def test_json_of_a_request_that_is_not_http(lines: Lines) -> None:
    """All about the request is null."""
    async with balancing(listener(alb.FixedResponse(200)), access_log=as_json(lines)) as it:
        client = await it.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n")
        await client.response()
        (line,) = await lines.get()
        fields = json.loads(line)
        assert tuple(fields) == JSON_FIELDS
        assert (fields["request_verb"], fields["matched_rule_priority"], fields["error_reason"]) == (None, None, "RequestMalformed")
        assert (fields["classification"], fields["classification_reason"]) == ("Ambiguous", "MissingHeaderColon")


async def test_json_of_https_and_http2(lines: Lines) -> None:
    """The session of the connection, and the version of the request."""
    async with target() as origin, securing(https(group_of(origin.address)), access_log=as_json(lines)) as it:
        client = await it.secure(client_context())
        await client.get("/")
        (line,) = await lines.get()
        fields = json.loads(line)
        tls = client.tls
        assert (fields["type"], fields["ssl_protocol"], fields["domain_name"]) == ("https", tls.version(), "example.com")
        assert fields["ssl_cipher"] == tls.cipher()[0]  # type: ignore[index]
    async with balancing(listener(alb.FixedResponse(200)), access_log=as_json(lines)) as it:
        other = await client_of(it)
        await other.get("/")
        fields = json.loads((await lines.get(2))[1])
        await other.close()
        assert (fields["type"], fields["request_proto"]) == ("h2", "HTTP/2.0")


async def test_json_of_every_byte(lines: Lines) -> None:
    """Each line is one object of ASCII, with UTF-8 decoded and other bytes named."""
    agents = []
    async with balancing(listener(alb.FixedResponse(200)), access_log=as_json(lines)) as it:
        client = await it.client()
        for code in (*range(0x20, 0x7F), *range(0x80, 0x100)):
            client.send(
                b"GET /?%b HTTP/1.1\r\nHost: a\r\nUser-Agent: a%bb\r\n\r\n" % (b"x" if code < 0x80 else bytes((code,)), bytes((code,)))
            )
            await client.response()
            agents.append(f"a{chr(code)}b" if code < 0x80 else f"a\\x{code:02x}b")
        await lines.get(len(agents))
        assert [json.loads(line)["user_agent"] for line in lines.all] == agents
        assert all(line.isascii() for line in lines.all)


# Combined


_COMBINED = re.compile(r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"')


async def test_combined(lines: Lines) -> None:
    """As Apache and nginx write it."""
    async with target() as origin, balancing(listener(group_of(origin.address)), access_log=alb.AccessLog(lines, "combined")) as it:
        client = await it.client()
        await client.get("/a?b", 'Referer: http://x/"y', "User-Agent: curl/7")
        found = _COMBINED.fullmatch((await lines.get())[0])
        assert found is not None
        assert (found[1], *found.groups()[2:]) == (
            *("127.0.0.1", "GET /a?b HTTP/1.1", "200", str(len(client.received)), "http://x/\\x22y", "curl/7"),
        )
        client.send(b"bad\r\n\r\n")
        await client.response()
        found = _COMBINED.fullmatch((await lines.get(2))[1])
        assert found is not None
        assert found.groups()[2:4] == ("-", "400")
        other = await client_of(it)
        await other.get("/x")
        await other.close()
        assert '"GET /x HTTP/2.0"' in (await lines.get(3))[2]


# NLB


def stream(*targets: str, **settings: Any) -> alb.Listener:
    settings.setdefault("protocol", "TCP")
    return alb.Listener(0, alb.Forward(alb.TargetGroup("group", targets)), host="127.0.0.1", **settings)


async def test_nlb_of_a_tcp_connection(lines: Lines) -> None:
    """One line at its end; no field about TLS."""
    async with target(echo) as origin, logged(lines, stream(origin.address)) as it:
        client = await it.client()
        client.send(b"hello")
        await client.read_exactly(5)
        client.send_fin()
        await client.read_to_end()
        await gone(it)
        fields = nlb_fields((await lines.get())[0])
        for name in ("time", "tls_connection_creation_time"):
            assert re.fullmatch(_TIME, fields[name])
        assert re.fullmatch(r"[0-9a-f]{16}", fields["listener"])
        assert 0 <= int(fields["connection_time"]) < 10_000
        known = _without(fields, "time", "tls_connection_creation_time", "listener", "connection_time")
        assert known == {
            **dict.fromkeys(known, "-"),
            "type": "tcp",
            "version": "2.0",
            "elb": elb_name("albkit", "net"),
            "client:port": f"127.0.0.1:{client.port}",
            "destination:port": origin.address,
            "received_bytes": "5",
            "sent_bytes": "5",
        }


async def test_nlb_of_a_tls_connection(lines: Lines) -> None:
    """Cipher, version, server name and protocol as NLB writes them."""
    async with target(echo) as origin:
        door = stream(origin.address, protocol="TLS", certificates=certificate(), alpn_policy="HTTP2Preferred")
        async with securing(door, access_log=alb.AccessLog(lines)) as it:
            context = client_context()
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = await it.secure(context)
            client.send(b"hello")
            await client.read_exactly(5)
            tls = client.tls
            await client.close()
            await gone(it)
            fields = nlb_fields((await lines.get())[0])
            assert (fields["type"], fields["destination:port"]) == ("tls", origin.address)
            assert (fields["tls_cipher"], fields["tls_protocol_version"]) == (tls.cipher()[0], "tlsv13")  # type: ignore[index]
            assert (fields["domain_name"], fields["alpn_fe_protocol"]) == ("example.com", "h2")
            assert (fields["received_bytes"], fields["sent_bytes"]) == ("5", "5")
            assert 0 <= int(fields["tls_handshake_time"]) <= int(fields["connection_time"])


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


async def test_nlb_of_connections_that_fail(lines: Lines) -> None:
    """A target that refuses, and a handshake that fails."""
    dead = free_address()
    async with logged(lines, stream(dead), stream(dead, protocol="TLS", certificates=certificate())) as it:
        client = await it.client_of(0)
        await client.is_closed()
        fields = nlb_fields((await lines.get())[0])
        assert (fields["destination:port"], fields["received_bytes"], fields["sent_bytes"]) == (dead, "0", "0")
        other = await it.client_of(1)
        other.send(b"no handshake")
        await other.is_closed()
        fields = nlb_fields((await lines.get(2))[1])
        assert (fields["type"], fields["destination:port"], fields["tls_handshake_time"], fields["tls_cipher"]) == ("tls", "-", "-", "-")


@pytest.mark.parametrize("protocol", ["TCP", "TLS"])
async def test_json_of_a_stream(lines: Lines, protocol: str) -> None:
    """NLB's names, and the reason of a failure."""
    more = {"certificates": certificate()} if protocol == "TLS" else {}
    async with target(echo) as origin, securing(stream(origin.address, protocol=protocol, **more), access_log=as_json(lines)) as it:
        client = await (it.secure(client_context()) if protocol == "TLS" else it.client_of(0))
        client.send(b"hello")
        await client.read_exactly(5)
        await client.close()
        await gone(it)
        fields = json.loads((await lines.get())[0])
        assert tuple(fields) == STREAM_FIELDS
        assert (fields["type"], fields["target_port"], fields["target_group"]) == (protocol.lower(), origin.port, "group")
        assert (fields["received_bytes"], fields["sent_bytes"], fields["listener_port"]) == (5, 5, it.port)
        assert (fields["tls_handshake_time"] is None) == (fields["tls_cipher"] is None) == (protocol == "TCP")


async def test_combined_of_a_stream_in_the_log_of_all_listeners(lines: Lines) -> None:
    """A line without a request, with nginx's status for none."""
    async with target(echo) as origin, balancing(stream(origin.address), access_log=alb.AccessLog(lines, "combined")) as it:
        client = await it.client()
        client.send(b"x")
        await client.read_exactly(1)
        await client.close()
        await gone(it)
        found = _COMBINED.fullmatch((await lines.get())[0])
        assert found is not None
        assert found.groups()[2:] == ("-", "000", "1", "-", "-")


@pytest.mark.parametrize("name", FORMATS)
async def test_every_format_has_a_line_for_every_end(lines: Lines, name: str) -> None:
    """An answer, an error, a tunnel, a failure before a request, and HTTP/2, all with the same log."""
    async with target(switching(then=echo)) as origin:
        rules = [alb.Rule(1, alb.PathPattern("/ws"), group_of(origin.address))]
        async with balancing(listener(alb.FixedResponse(200), *rules), access_log=alb.AccessLog(lines, name)) as it:
            client = await it.client()
            await client.get("/")
            client.send(request("GET", "/ws", *UPGRADE))
            await client.response()
            await client.close()
            await gone(it)
            other = await it.client()
            other.send(b"bad\r\n\r\n")
            await other.read_to_end()
            third = await client_of(it)
            await third.get("/")
            await third.close()
            await lines.get(4)
            assert all(line.isascii() and line.isprintable() for line in lines.all)
