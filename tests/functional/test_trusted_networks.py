"""A proxy in front that has ended TLS or hidden the client, and says so in X-Forwarded-*: who is believed, and what follows from it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

import albkit as alb
from tests.support.balancing import Balancing, balancing, listener
from tests.support.peers import Target, request, response, target
from tests.support.tunnels import UPGRADE, echo, gone, switching

HERE = "127.0.0.0/8"
ELSEWHERE = "203.0.113.0/24"
SECURE = ("X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Forwarded-For: 198.51.100.7")


def fronted(origin: Target, *rules: alb.Rule, networks: Any = HERE, group: dict[str, Any] | None = None, **settings: Any) -> alb.Listener:
    """A listener that believes `networks`, in front of one target."""
    return listener(alb.Forward(alb.TargetGroup("group", origin.address, **(group or {}))), *rules, trusted_networks=networks, **settings)


async def told(it: Balancing, origin: Target, *fields: str, host: str = "www.example.com") -> dict[bytes, bytes]:
    """The fields that the target gets."""
    client = await it.client()
    assert (await client.get("/", *fields, host=host)).status == 200
    lines = origin.heads[-1].split(b"\r\n")[1:-2]
    names = [line.partition(b":")[0] for line in lines]
    assert len(names) == len(set(names)), names
    return {name: value.strip() for name, _, value in (line.partition(b":") for line in lines)}


async def test_target_is_told_what_a_trusted_proxy_says_of_the_client() -> None:
    """Django redirects no more: it sees https, and a Host without our port."""
    async with target() as origin, balancing(fronted(origin)) as it:
        fields = await told(it, origin, *SECURE, "X-Forwarded-Host: shop.example.com")
        assert fields[b"X-Forwarded-Proto"] == b"https"
        assert fields[b"X-Forwarded-Port"] == b"443"
        assert fields[b"X-Forwarded-For"] == b"198.51.100.7, 127.0.0.1"
        assert fields[b"X-Forwarded-Host"] == b"shop.example.com"
        assert fields[b"Host"] == b"www.example.com"


@pytest.mark.parametrize("networks", [(), ELSEWHERE], ids=["nobody", "others"])
async def test_nobody_else_is_believed(networks: Any) -> None:
    """What is ours to write is written over; where somebody is believed, nobody else brings an X-Forwarded-Host."""
    async with target() as origin, balancing(fronted(origin, networks=networks)) as it:
        fields = await told(it, origin, *SECURE, "X-Forwarded-Host: evil.example")
        assert fields[b"X-Forwarded-Proto"] == b"http"
        assert fields[b"X-Forwarded-Port"] == b"%d" % it.port
        assert fields[b"Host"] == b"www.example.com:%d" % it.port
        assert fields.get(b"X-Forwarded-Host") == (None if networks else b"evil.example")


@pytest.mark.parametrize(
    ("fields", "proto", "port", "host"),
    [
        (("X-Forwarded-Proto: https",), b"https", b"443", b"www.example.com"),
        (("X-Forwarded-Proto: HTTPS",), b"https", b"443", b"www.example.com"),
        (("X-Forwarded-Proto: http, https",), b"https", b"443", b"www.example.com"),
        (("X-Forwarded-Proto: https", "X-Forwarded-Port: 8443"), b"https", b"8443", b"www.example.com:8443"),
        (("X-Forwarded-Port: 80",), b"http", b"80", b"www.example.com"),
        (("X-Forwarded-Proto: gopher", "X-Forwarded-Port: 99999"), b"http", b"PORT", b"www.example.com:PORT"),
        (("X-Forwarded-Port: -1",), b"http", b"PORT", b"www.example.com:PORT"),
        ((), b"http", b"PORT", b"www.example.com:PORT"),
    ],
)
async def test_what_is_not_told_or_cannot_be_read_is_the_listeners(fields: tuple[str, ...], proto: bytes, port: bytes, host: bytes) -> None:
    """The last item of a list is the peer's own word; a protocol has its port."""
    async with target() as origin, balancing(fronted(origin)) as it:
        got = await told(it, origin, *fields)
        ours = b"%d" % it.port
        assert (got[b"X-Forwarded-Proto"], got[b"X-Forwarded-Port"]) == (proto, port.replace(b"PORT", ours))
        assert got[b"Host"] == host.replace(b"PORT", ours)


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("10.9.9.9, 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 10.0.0.1, 10.0.0.2", "198.51.100.7"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:DB8::1]:4711", "2001:db8::1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("198.51.100.7, unknown", "127.0.0.1"),
        ("198.51.100.7, , 10.0.0.2", "10.0.0.2"),
        ("1.2.3", "127.0.0.1"),
        ("198.51.100.7:65535", "198.51.100.7"),
        ("198.51.100.7:65536", "127.0.0.1"),
        ("[2001:db8::1]:99999", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
async def test_client_is_the_right_most_address_that_is_not_trusted(forwarded_for: str, client: str) -> None:
    """Whatever stands left of it may be made up."""
    seen: list[str] = []

    async def look(asked: alb.Request) -> None:
        seen.append(asked.client.host)

    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        front = listener([look, alb.Forward(group)], trusted_networks=[HERE, "10.0.0.0/8"])
        async with balancing(front) as it:
            client_of = await it.client()
            await client_of.get("/", f"X-Forwarded-For: {forwarded_for}")
    assert seen == [client]


async def test_rules_hashes_and_logs_see_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """Each request of one connection has a client of its own."""
    caplog.set_level(logging.INFO, "albkit")
    async with target(None, response(body=b"a")) as one, target(None, response(body=b"b")) as other:
        group = alb.TargetGroup("group", [one.address, other.address], algorithm="ip_hash")
        rule = alb.Rule(1, alb.SourceIp("192.0.2.0/24"), alb.FixedResponse(403))
        async with balancing(listener(alb.Forward(group), rule, trusted_networks=HERE)) as it:
            client = await it.client()
            assert (await client.get("/", "X-Forwarded-For: 192.0.2.9")).status == 403
            assert (await client.get("/", "X-Forwarded-For: 198.51.100.7")).status == 200
            answers = {number: (await client.get("/", f"X-Forwarded-For: 198.51.100.{number}")).body for number in range(40)}
            assert set(answers.values()) == {b"a", b"b"}
            again = {number: (await client.get("/", f"X-Forwarded-For: 198.51.100.{number}")).body for number in range(40)}
            assert again == answers
            client.send(request("TRACE", "/", "X-Forwarded-For: 198.51.100.7"))
            await client.response()
            client = await it.client()
            client.send(request("GET", "/", "X-Forwarded-For: 198.51.100.7", host="a b"))
            await client.response()


async def test_failure_of_a_request_is_told_of_its_client(caplog: pytest.LogCaptureFixture) -> None:
    """Not of the proxy that has sent it."""
    caplog.set_level(logging.INFO, "albkit")
    group = alb.TargetGroup("group", [])
    async with balancing(listener(alb.Forward(group), trusted_networks=HERE)) as it:
        client = await it.client()
        assert (await client.get("/", "X-Forwarded-For: 198.51.100.7")).status == 503
    assert "client=198.51.100.7 " in caplog.text


async def test_redirect_goes_by_what_the_client_has_asked_for() -> None:
    """Its protocol, its host, its port: no redirect loop behind a proxy that has ended TLS."""
    redirect = alb.Redirect(path="/new/#{path}", status_code=301)
    async with target() as origin, balancing(fronted(origin, alb.Rule(1, alb.PathPattern("/*"), redirect))) as it:
        client = await it.client()
        answer = await client.get("/a", *SECURE, "X-Forwarded-Host: shop.example.com")
        assert answer.get(b"location") == b"https://shop.example.com:443/new/a"


async def test_rules_see_the_host_that_a_trusted_proxy_tells() -> None:
    """Where it has put its own name for us into Host; one that is none is a 400."""
    rule = alb.Rule(1, alb.HostHeader("shop.example.com"), alb.FixedResponse(200, "shop"))
    async with target() as origin, balancing(fronted(origin, rule)) as it:
        client = await it.client()
        assert (await client.get("/", "X-Forwarded-Host: Shop.example.com:8443", host="internal")).body == b"shop"
        assert (await client.get("/", "X-Forwarded-Host: other, shop.example.com", host="internal")).body == b"shop"
        assert (await client.get("/", "X-Forwarded-Host: a b", host="internal")).status == 400


async def test_cookie_of_a_client_that_came_over_tls_is_secure() -> None:
    """To the proxy, that is."""
    async with target() as origin, balancing(fronted(origin, group={"stickiness": alb.LbCookie()})) as it:
        client = await it.client()
        assert all(b"Secure" in cookie for cookie in (await client.get("/", *SECURE)).all(b"set-cookie") if b"AWSALBCORS" in cookie)
        plain = (await client.get("/", "X-Forwarded-Proto: http")).all(b"set-cookie")
        assert not [cookie for cookie in plain if b"Secure" in cookie]


async def test_trusted_proxy_may_have_more_connections_than_one_client() -> None:
    """It comes for many."""
    async with target() as origin, balancing(fronted(origin, max_connections_per_client=1)) as it:
        clients = [await it.client() for _ in range(3)]
        for client in clients:
            assert (await client.get("/", "X-Forwarded-For: 198.51.100.7")).status == 200


async def test_tunnel_knows_its_client_and_leaves_nothing() -> None:
    """The address that was told, and the connection that was counted."""
    async with target(switching(then=echo)) as origin, balancing(fronted(origin)) as it:
        client = await it.client()
        client.send(request("GET", "/", *UPGRADE, "X-Forwarded-For: 198.51.100.7"))
        assert (await client.response()).status == 101
        (tunnel,) = it.load_balancer.tunnels
        assert tunnel.client.host == "198.51.100.7"
        await client.close()
        await gone(it)


async def test_proxy_protocol_tells_targets_of_each_request_s_client() -> None:
    """A connection to the target serves the client that it was told of, and no other."""
    heads: list[bytes] = []

    async def script(conversation: Any) -> None:
        heads.append(await conversation.read_until(b"\r\n"))
        while True:
            await conversation.request()
            conversation.send(response())

    async with target(script) as origin, balancing(fronted(origin, group={"proxy_protocol": "v1"})) as it:
        client = await it.client()
        for number in (7, 8, 7):
            assert (await client.get("/", f"X-Forwarded-For: 198.51.100.{number}")).status == 200
        assert [head.split(b" ")[2] for head in heads] == [b"198.51.100.7", b"198.51.100.8", b"198.51.100.7"]


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_port_that_is_none_reaches_no_proxy_header(version: str) -> None:
    """Nor does it end the request."""
    heads: list[bytes] = []

    async def script(conversation: Any) -> None:
        heads.append(await conversation.read_until(b"\r\n") if version == "v1" else await conversation.read_exactly(28))
        await conversation.request()
        conversation.send(response())

    async with target(script) as origin, balancing(fronted(origin, group={"proxy_protocol": version})) as it:
        client = await it.client()
        assert (await client.get("/", "X-Forwarded-For: 198.51.100.7:99999")).status == 200
        assert (b"127.0.0.1" if version == "v1" else bytes((127, 0, 0, 1, 127, 0, 0, 1))) in heads[0]


async def test_request_of_a_trusted_proxy_that_comes_again_is_answered() -> None:
    """Its fields are known; that they tell nothing of the client is read anew."""
    async with target() as origin, balancing(fronted(origin)) as it:
        client = await it.client()
        for body in (b"a", b"bc", b"bc"):
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert (await client.response()).status == 200


async def test_trust_that_is_taken_back_holds_for_open_connections() -> None:
    """apply() decides from the next request on."""
    async with target() as origin, balancing(fronted(origin, name="front")) as it:
        client = await it.client()
        await client.get("/", *SECURE)
        assert b"X-Forwarded-Proto: https" in origin.heads[-1]
        await it.load_balancer.apply(fronted(origin, networks=ELSEWHERE, name="front"))
        await client.get("/", *SECURE)
        assert b"X-Forwarded-Proto: http\r\n" in origin.heads[-1]


@pytest.mark.parametrize("protocol", ["TCP"])
def test_listener_without_fields_has_nothing_to_believe(protocol: str) -> None:
    """It says what to write."""
    with pytest.raises(alb.ConfigurationError, match="proxy_protocol='required'"):
        alb.Listener(0, alb.Forward(alb.TargetGroup("group")), protocol=protocol, trusted_networks=HERE)
