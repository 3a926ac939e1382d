from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model import dns_name as dns_name_module


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def test_dns_name_has_defaults() -> None:
    """Name and port need be given, and nothing else."""
    name = alb.DnsName("api.internal", 8000)
    assert attrs.asdict(name) == {
        "host": "api.internal",
        "port": 8000,
        "record_type": "A/AAAA",
        "nameservers": (),
        "protocol": None,
        "weight": 1,
        "max_concurrency": None,
        "min_ttl": 1,
        "max_ttl": 300,
        "hold": 30,
        "timeout": 5,
    }
    assert (str(name), name.servers) == ("api.internal:8000", ())
    assert str(alb.DnsName("_http._tcp.api.internal", record_type="SRV")) == "_http._tcp.api.internal SRV"


@pytest.mark.parametrize("host", ["a", "api.internal", "my_service", "_http._tcp.x", "1a", "10.0.0.5.nip.io"])
def test_dns_name_takes_names(host: str) -> None:
    """Also those that begin with a digit or an underscore."""
    assert alb.DnsName(host, 80).host == host


@pytest.mark.parametrize(
    "host", ["", "10.0.0.5", "::1", "[::1]", "a b", "a:80", "http://a", "-a", "unix:/a", "a/b", None, 7, b"a"], ids=repr
)
def test_dns_name_of_what_is_no_name_is_refused(host: Any) -> None:
    """An address is a target."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName(host, 80)
    assert _paths(raised.value) == ["host"]


@pytest.mark.parametrize("record_type", ["A/AAAA", "A", "AAAA"])
def test_dns_name_needs_a_port_where_records_bring_none(record_type: str) -> None:
    """Only SRV records say ports."""
    assert alb.DnsName("a", 65535, record_type=record_type).port == 65535
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("a", record_type=record_type)
    assert _paths(raised.value) == ["port"]


@pytest.mark.parametrize("port", [0, 65536, -1, 80.0, "80", True], ids=repr)
def test_dns_name_of_another_port_is_refused(port: Any) -> None:
    """1 to 65535."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("a", port)
    assert _paths(raised.value) == ["port"]


def test_dns_name_of_srv_records_with_a_port_is_refused() -> None:
    """They bring their own, and one of two would not hold."""
    assert alb.DnsName("a", record_type="SRV").port is None
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("a", 80, record_type="SRV")
    assert _paths(raised.value) == ["port"]


@pytest.mark.parametrize("record_type", ["", "a", "MX", "SRV ", None, 1], ids=repr)
def test_dns_name_of_other_records_is_refused(record_type: Any) -> None:
    """One of four words."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("a", 80, record_type=record_type)
    assert _paths(raised.value) == ["record_type"]


@pytest.mark.parametrize(
    ("given", "servers"),
    [
        ("10.0.0.2", [("10.0.0.2", 53)]),
        ("127.0.0.1:8600", [("127.0.0.1", 8600)]),
        ("::1", [("::1", 53)]),
        ("[::1]", [("::1", 53)]),
        ("[2001:db8::2]:5353", [("2001:db8::2", 5353)]),
        (["10.0.0.2", "10.0.0.3:65535"], [("10.0.0.2", 53), ("10.0.0.3", 65535)]),
        (("10.0.0.2:1",), [("10.0.0.2", 1)]),
        ([], []),
        (None, []),
    ],
    ids=repr,
)
def test_dns_name_takes_one_name_server_or_a_list(given: Any, servers: list[tuple[str, int]]) -> None:
    """Addresses with or without a port, in their order; 53 where there is none."""
    name = alb.DnsName("a", 80, nameservers=given)
    assert list(name.servers) == servers
    assert {name} == {alb.DnsName("a", 80, nameservers=given)}


@pytest.mark.parametrize(
    "server",
    [
        "", "dns.example", "dns.example:53", "10.0.0.2:", "10.0.0.2:0", "10.0.0.2:65536", "10.0.0.2:x", "10.0.0.2:-1", "10.0.0.2: 53",
        "10.0.0", "10.0.0.256", "[::1", "::1]", "[]:53", "[::1]:", "[::1]5353", "[::1]x", "[::1]::53", "[dns.example]:53",
        "10.0.0.2:\u0665\u0663", "10.0.0.2:" + "9" * 5000, ":53", "https://10.0.0.2", None, 53, b"10.0.0.2", ("10.0.0.2", 53),
    ],
    ids=lambda server: repr(server)[:24],
)  # fmt: skip
def test_dns_name_of_what_is_no_name_server_is_refused(server: Any) -> None:
    """The fault names its place, whatever it is; a name server has no name, which would have to be asked for first."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("a", 80, nameservers=["10.0.0.2", server])
    assert _paths(raised.value) == ["nameservers[1]"]


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("weight", [0, 999], [-1, 1000, 1.5, "1", None, True]),
        ("protocol", [None, "HTTP", "HTTPS"], ["http", "", 7]),
        ("max_concurrency", [None, 1, 1000000], [0, 1000001, 1.5, "1", True]),
        ("min_ttl", [0.001, 300], [0, -1, "1", None, True, float("nan")]),
        ("max_ttl", [1, 86400], [86401, "1", None, True]),
        ("hold", [0, 86400], [-0.1, 86401, "1", None, True]),
        ("timeout", [0.001, 60], [0, 61, "5", None, True]),
    ],
)
def test_dns_name_takes_what_is_in_range_and_nothing_else(name: str, good: list[Any], wrong: list[Any]) -> None:
    """Each range at both ends; the fault names the setting."""
    for value in good:
        assert getattr(alb.DnsName("a", 80, **{name: value}), name) == value
    for value in wrong:
        with pytest.raises(alb.ConfigurationError) as raised:
            alb.DnsName("a", 80, **{name: value})
        assert _paths(raised.value) == [name]


def test_dns_name_with_every_fault_tells_them_all() -> None:
    """All at once, with their subject."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("10.0.0.5", None, record_type="MX", nameservers=["x", "y"], weight=-1, hold=-1, protocol="SPDY")
    assert raised.value.subject == "DnsName"
    assert sorted(_paths(raised.value)) == ["hold", "host", "nameservers[0]", "nameservers[1]", "port", "protocol", "record_type", "weight"]


def test_dns_name_says_which_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is made, and not when it is first asked for."""
    monkeypatch.setattr(dns_name_module, "find_spec", {"dns": None}.__getitem__)
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.DnsName("a", 80)
    assert "albkit[dns]" in str(raised.value)


def test_dns_name_makes_targets_that_are_asked_for_its_own_certificate() -> None:
    """What the name says of its targets holds for each; a weight that a record brings outranks it."""
    name = alb.DnsName("api.internal", 8000, protocol="HTTPS", weight=7, max_concurrency=3)
    assert name.target("10.0.0.5", 8000) == alb.Target(
        "10.0.0.5", 8000, protocol="HTTPS", weight=7, max_concurrency=3, server_name="api.internal"
    )
    assert name.target("::1", 81, weight=0, standby=True, server_name="b.internal") == alb.Target(
        "::1", 81, protocol="HTTPS", weight=0, max_concurrency=3, standby=True, server_name="b.internal"
    )


def test_dns_name_is_a_value() -> None:
    """Equal ones are one key; it cannot be changed."""
    assert {alb.DnsName("a", 80), alb.DnsName("a", 80)} == {alb.DnsName("a", 80)}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        alb.DnsName("a", 80).port = 81  # type: ignore[misc]


# In a group


def test_group_takes_names_beside_targets() -> None:
    """In their order; which are which the group can tell."""
    name, other = alb.DnsName("a.internal", 80), alb.DnsName("b.internal", record_type="SRV")
    group = alb.TargetGroup("api", [name, "10.0.0.5:80", other])
    assert group.targets == (name, alb.Target("10.0.0.5", 80), other)
    assert group.fixed_targets == (alb.Target("10.0.0.5", 80),)
    assert group.names == (name, other)
    assert alb.TargetGroup("api", name).targets == (name,)
    assert {group} == {alb.TargetGroup("api", [name, "10.0.0.5:80", other])}


def test_group_with_a_name_twice_is_refused() -> None:
    """The second would say nothing."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", [alb.DnsName("a", 80), "b:80", alb.DnsName("a", 80, weight=2)])
    assert _paths(raised.value) == ["targets[2]"]


def test_group_refuses_a_name_of_another_protocol() -> None:
    """As it refuses such a target."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", alb.DnsName("a", 80, protocol="HTTPS"), protocol="HTTP")
    assert _paths(raised.value) == ["targets[0]"]


def test_group_refuses_the_class_of_names() -> None:
    """As any other thing that is no target."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", [alb.DnsName])
    assert _paths(raised.value) == ["targets[0]"]
