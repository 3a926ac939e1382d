"""What a name stands for, as a name server says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import dns.name
import pytest

import albkit as alb
from albkit.model.target import Target
from albkit.proxy.target.resolver import NameAnswer, Resolver, UnresolvedError
from tests.support.name_server import FORGED, NameServer, name_server

pytestmark = pytest.mark.usefixtures("loop_guard")

NAME = "api.test"
SERVICE = "_http._tcp.api.test"
NOBODY = ""
"""In a table: no targets."""


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as running:
        yield running


async def look_up(server: NameServer, name: str = NAME, record_type: str = "A/AAAA", timeout: float = 2) -> NameAnswer:
    port = None if record_type == "SRV" else 80
    asked = alb.DnsName(name, port, record_type=record_type, nameservers=server.address, timeout=timeout)
    async with asyncio.timeout(10):
        return await Resolver().look_up(asked)


def addresses(answer: NameAnswer) -> str:
    return " ".join(str(target) for target in answer.targets)


@pytest.mark.parametrize(
    ("zone", "record_type", "expected"),
    [
        ("A 127.0.0.1", "A/AAAA", "127.0.0.1:80"),
        ("A 127.0.0.1", "A", "127.0.0.1:80"),
        ("A 127.0.0.1", "AAAA", NOBODY),
        ("A 127.0.0.3; A 127.0.0.1; A 127.0.0.2", "A/AAAA", "127.0.0.1:80 127.0.0.2:80 127.0.0.3:80"),
        ("AAAA ::1", "A/AAAA", "[::1]:80"),
        ("AAAA ::1", "AAAA", "[::1]:80"),
        ("AAAA ::1", "A", NOBODY),
        ("A 127.0.0.1; AAAA ::1", "A", "127.0.0.1:80"),
        ("A 127.0.0.1; AAAA ::1", "AAAA", "[::1]:80"),
        ("A 127.0.0.1; AAAA ::1", "A/AAAA", "127.0.0.1:80 [::1]:80"),
        ("TXT text", "A/AAAA", NOBODY),
        (NOBODY, "A/AAAA", NOBODY),
    ],
)
async def test_addresses_are_targets(server: NameServer, zone: str, record_type: str, expected: str) -> None:
    """Each address once, in an order of its own whatever that of the answer; of the kinds that are asked for."""
    records: dict[str, list[str]] = {}
    for record in filter(None, zone.split("; ")):
        kind, _, value = record.partition(" ")
        records.setdefault(kind, []).append(value)
    for kind, values in records.items():
        server.put(NAME, kind, *values)
    assert addresses(await look_up(server, record_type=record_type)) == expected
    assert {kind for _, kind, _ in server.asked} == set(record_type.split("/"))


async def test_target_takes_what_the_name_says(server: NameServer) -> None:
    """Weight, limit and protocol of the name; its certificate is verified for the name, not for the address."""
    server.put(NAME, "A", "127.0.0.1")
    name = alb.DnsName(NAME, 443, record_type="A", nameservers=server.address, protocol="HTTPS", weight=7, max_concurrency=3)
    (target,) = (await Resolver().look_up(name)).targets
    assert target == Target("127.0.0.1", 443, weight=7, protocol="HTTPS", max_concurrency=3, server_name=NAME)


@pytest.mark.parametrize("length", [1, 3, 8])
async def test_chain_of_aliases_is_followed(server: NameServer, length: int) -> None:
    """The name stands for what is at its end; the shortest time to live on the way holds."""
    for step in range(length):
        server.put(NAME if not step else f"alias{step}.test", "CNAME", f"alias{step + 1}.test.", ttl=50 - step)
    server.put(f"alias{length}.test", "A", "127.0.0.1", ttl=600)
    answer = await look_up(server)
    assert addresses(answer) == "127.0.0.1:80"
    assert answer.ttl == 50 - length + 1


async def test_alias_of_nothing_stands_for_nothing(server: NameServer) -> None:
    """NXDOMAIN at the end of a chain is an answer."""
    server.put(NAME, "CNAME", "gone.test.", ttl=600)
    answer = await look_up(server)
    assert answer == NameAnswer((), 60)


async def test_aliases_in_a_circle_are_no_answer(server: NameServer) -> None:
    """The zone is broken: nothing is known of the name."""
    server.put(NAME, "CNAME", "other.test.")
    server.put("other.test", "CNAME", f"{NAME}.")
    with pytest.raises(UnresolvedError):
        await look_up(server)


@pytest.mark.parametrize(("first", "second", "ttl"), [(60, 60, 60), (5, 60, 5), (60, 5, 5), (0, 60, 0), (90000, 100000, 90000)])
async def test_shorter_time_to_live_of_both_kinds_holds(server: NameServer, first: int, second: int, ttl: int) -> None:
    """0 is told as it is: the name's own bounds are kept by whoever asks."""
    server.put(NAME, "A", "127.0.0.1", ttl=first)
    server.put(NAME, "AAAA", "::1", ttl=second)
    assert (await look_up(server)).ttl == ttl


async def test_missing_kind_does_not_shorten_the_time_to_live(server: NameServer) -> None:
    """Most names have no AAAA, and the zone's negative time to live is often short."""
    server.negative_ttl = 1
    server.put(NAME, "A", "127.0.0.1", ttl=600)
    assert (await look_up(server)).ttl == 600


@pytest.mark.parametrize("known", [True, False], ids=["no records", "no such name"])
async def test_negative_answer_holds_as_long_as_the_zone_says(server: NameServer, known: bool) -> None:
    """RFC 2308, section 5."""
    server.negative_ttl = 17
    if known:
        server.put(NAME, "TXT", "text")
    assert await look_up(server) == NameAnswer((), 17)


@pytest.mark.parametrize("known", [True, False], ids=["no records", "no such name"])
async def test_negative_answer_without_soa_is_an_answer(server: NameServer, known: bool) -> None:
    """How long it holds is anybody's guess; the name's own bounds are kept by whoever asks."""
    server.negative_ttl = None
    if known:
        server.put(NAME, "TXT", "text")
    answer = await look_up(server)
    assert answer.targets == ()
    assert answer.ttl > 0


@pytest.mark.parametrize("fault", [("failing",), ("refusing",), (), ("wrong id",), ("wrong question",), ("garbage",)], ids=str)
@pytest.mark.parametrize("record_type", ["A/AAAA", "A", "SRV"])
async def test_name_server_without_an_answer_leaves_the_name_unknown(server: NameServer, fault: tuple[str, ...], record_type: str) -> None:
    """Within the name's time-out; a forged answer is none."""
    server.put(NAME, "A", "127.0.0.1")
    server.put(NAME, "SRV", f"0 0 80 {NAME}.")
    server.fail(*fault)
    started = asyncio.get_running_loop().time()
    with pytest.raises(UnresolvedError) as caught:
        await look_up(server, record_type=record_type, timeout=0.05)
    assert str(caught.value)
    assert asyncio.get_running_loop().time() - started < 2


@pytest.mark.parametrize("lie", ["wrong id", "wrong question", "garbage"])
async def test_forged_answer_ahead_of_the_right_one_is_not_believed(server: NameServer, lie: str) -> None:
    """Whoever is faster than the name server still has to know what was asked."""
    server.put(NAME, "A", "127.0.0.1")
    server.fail(lie, "right")
    answer = await look_up(server, record_type="A")
    assert addresses(answer) == "127.0.0.1:80"
    assert FORGED not in addresses(answer)


async def test_truncated_answer_is_asked_for_over_tcp(server: NameServer) -> None:
    """RFC 7766: many addresses do not fit a datagram."""
    server.put(NAME, "A", *(f"127.0.{number // 200}.{number % 200 + 1}" for number in range(300)))
    server.fail("truncated")
    assert len((await look_up(server, record_type="A")).targets) == 300
    assert [over for _, _, over in server.asked] == ["UDP", "TCP"]


@pytest.mark.parametrize("fault", [("failing",), ("refusing",), ()], ids=["failing", "refusing", "silent"])
@pytest.mark.parametrize("kind", ["A", "AAAA"])
async def test_kind_that_gets_no_answer_does_not_hide_the_other(server: NameServer, kind: str, fault: tuple[str, ...]) -> None:
    """Some name servers never answer for AAAA."""
    server.put(NAME, "A", "127.0.0.1")
    server.put(NAME, "AAAA", "::1")
    server.fail(*fault, kind=kind)
    assert addresses(await look_up(server, timeout=0.3)) == ("[::1]:80" if kind == "A" else "127.0.0.1:80")


@pytest.mark.parametrize("kind", ["A", "AAAA"])
async def test_kind_that_gets_no_answer_beside_none_of_the_other_leaves_the_name_unknown(server: NameServer, kind: str) -> None:
    """There might be some: they must not be given up."""
    server.put(NAME, "TXT", "text")
    server.fail("failing", kind=kind)
    with pytest.raises(UnresolvedError):
        await look_up(server)


async def test_second_name_server_is_asked_where_the_first_fails(server: NameServer) -> None:
    """In their order."""
    server.put(NAME, "A", "127.0.0.1")
    async with name_server() as broken:
        broken.fail("failing")
        name = alb.DnsName(NAME, 80, record_type="A", nameservers=[broken.address, server.address])
        assert addresses(await Resolver().look_up(name)) == "127.0.0.1:80"
        assert broken.asked


def described(answer: NameAnswer) -> list[str]:
    """Address, weight and standby of each target."""
    return [f"{target} {target.weight}{' standby' if target.standby else ''}" for target in answer.targets]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (["0 0 8080 a.test."], ["127.0.0.1:8080 1"]),
        (["0 5 8080 a.test."], ["127.0.0.1:8080 5"]),
        (["0 5 80 a.test.", "0 10 81 a.test."], ["127.0.0.1:80 5", "127.0.0.1:81 10"]),
        (["0 0 80 a.test.", "0 10 80 b.test."], ["127.0.0.1:80 1", "127.0.0.2:80 10", "127.0.0.3:80 10"]),
        (["10 1 80 a.test.", "20 1 80 b.test."], ["127.0.0.1:80 1", "127.0.0.2:80 1 standby", "127.0.0.3:80 1 standby"]),
        (["20 1 80 a.test.", "10 1 80 b.test."], ["127.0.0.1:80 1 standby", "127.0.0.2:80 1", "127.0.0.3:80 1"]),
        (["0 0 80 a.test.", "1 0 80 a.test."], ["127.0.0.1:80 1"]),
        (["1 0 80 a.test.", "0 0 80 a.test."], ["127.0.0.1:80 1"]),
        (["0 65535 80 a.test.", "0 6553 80 b.test."], ["127.0.0.1:80 999", "127.0.0.2:80 99", "127.0.0.3:80 99"]),
        (["0 65535 80 a.test.", "0 1 80 b.test."], ["127.0.0.1:80 999", "127.0.0.2:80 1", "127.0.0.3:80 1"]),
        (["0 0 0 ."], []),
        (["0 0 80 .", "0 3 80 a.test."], ["127.0.0.1:80 3"]),
        (["0 1 80 gone.test."], []),
        (["0 1 80 gone.test.", "0 1 80 a.test."], ["127.0.0.1:80 1"]),
        (["0 1 80 alias.test."], ["127.0.0.1:80 1"]),
        (["0 1 80 v6.test."], ["[::1]:80 1"]),
        ([], []),
    ],
    ids=str,
)
async def test_services_are_targets(server: NameServer, records: list[str], expected: list[str]) -> None:
    """RFC 2782: hosts and ports by weight; the best priority first, the others as standby; `.` is nobody."""
    server.put("a.test", "A", "127.0.0.1")
    server.put("b.test", "A", "127.0.0.2", "127.0.0.3")
    server.put("v6.test", "AAAA", "::1")
    server.put("alias.test", "CNAME", "a.test.")
    server.put(SERVICE, "SRV", *records)
    assert sorted(described(await look_up(server, SERVICE, "SRV"))) == expected


async def test_best_record_of_an_address_counts(server: NameServer) -> None:
    """Named at two priorities, it is no standby, in whatever order the records come."""
    server.put("a.test", "A", "127.0.0.1")
    server.put("b.test", "A", "127.0.0.1")
    for records in (["0 3 80 a.test.", "9 5 80 b.test."], ["9 5 80 b.test.", "0 3 80 a.test."]):
        server.put(SERVICE, "SRV", *records)
        answer = await look_up(server, SERVICE, "SRV")
        assert described(answer) == ["127.0.0.1:80 3"]
        assert answer.targets[0].server_name == "a.test"


async def test_service_without_a_port_is_left_out(server: NameServer) -> None:
    """Port 0 cannot be connected to; the other records must not be lost for it."""
    server.put("a.test", "A", "127.0.0.1")
    server.put(SERVICE, "SRV", "0 1 0 a.test.", "0 1 80 a.test.")
    assert described(await look_up(server, SERVICE, "SRV")) == ["127.0.0.1:80 1"]


async def test_certificate_of_a_service_is_that_of_its_host(server: NameServer) -> None:
    """Not of the service's name."""
    server.put("a.test", "A", "127.0.0.1")
    server.put(SERVICE, "SRV", "0 1 443 a.test.")
    assert [target.server_name for target in (await look_up(server, SERVICE, "SRV")).targets] == ["a.test"]


@pytest.mark.parametrize(("service", "host", "ttl"), [(5, 60, 5), (60, 5, 5)])
async def test_shortest_time_to_live_of_a_service_and_its_hosts_holds(server: NameServer, service: int, host: int, ttl: int) -> None:
    """Either may change."""
    server.put("a.test", "A", "127.0.0.1", ttl=host)
    server.put(SERVICE, "SRV", "0 1 80 a.test.", ttl=service)
    assert (await look_up(server, SERVICE, "SRV")).ttl == ttl


async def test_host_of_a_service_without_an_answer_leaves_the_service_unknown(server: NameServer) -> None:
    """And no question is left under way behind that."""
    server.put("a.test", "A", "127.0.0.1")
    server.put("b.test", "A", "127.0.0.2")
    server.put(SERVICE, "SRV", "0 1 80 a.test.", "0 1 80 b.test.")
    server.fail("failing", name="a.test")
    server.fail(name="b.test")
    before = asyncio.all_tasks()
    with pytest.raises(UnresolvedError):
        await look_up(server, SERVICE, "SRV")
    assert asyncio.all_tasks() == before


async def test_host_of_a_service_is_not_looked_for_in_search_domains(server: NameServer) -> None:
    """RFC 2782: its name is whole. With many `ndots` the search domains would even come first."""
    server.put("a.test", "A", "127.0.0.1")
    server.put("a.test.search.test", "A", FORGED)
    server.put(SERVICE, "SRV", "0 1 80 a.test.")
    resolver = Resolver()
    name = alb.DnsName(SERVICE, record_type="SRV", nameservers=server.address)
    dns_resolver = await resolver._resolver(name.servers)
    dns_resolver.search = [dns.name.from_text("search.test.")]
    dns_resolver.ndots = 5
    assert described(await resolver.look_up(name)) == ["127.0.0.1:80 1"]


async def test_search_domains_hold_for_the_name_itself(server: NameServer) -> None:
    """As the machine's other programs look it up."""
    server.put("api.search.test", "A", "127.0.0.1")
    resolver = Resolver()
    name = alb.DnsName("api", 80, record_type="A", nameservers=server.address)
    dns_resolver = await resolver._resolver(name.servers)
    dns_resolver.search = [dns.name.from_text("search.test.")]
    assert addresses(await resolver.look_up(name)) == "127.0.0.1:80"


@pytest.mark.parametrize("record_type", ["A/AAAA", "SRV"])
async def test_question_that_is_given_up_leaves_nothing(server: NameServer, record_type: str) -> None:
    """No task and no socket; the guard of the suite looks for both."""
    server.fail()
    before = asyncio.all_tasks()
    asking = asyncio.ensure_future(look_up(server, SERVICE, record_type))
    await server.heard(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert asyncio.all_tasks() == before
