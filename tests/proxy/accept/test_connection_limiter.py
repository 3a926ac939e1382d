"""Who is counted, for whom, and that nothing is left when all have gone."""

from __future__ import annotations

import random
from typing import Any

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind
from albkit.proxy.accept.connection_limiter import ConnectionLimiter


def _listener(**settings: Any) -> alb.Listener:
    return alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1", **settings)


def _refusal(guests: ConnectionLimiter, listener: alb.Listener, host: str | None) -> FailureKind | None:
    try:
        guests.acquire(listener, host)
    except Failure as failure:
        return failure.kind
    return None


def _empty(guests: ConnectionLimiter) -> bool:
    return guests.count == 0 and not guests._of_client


def test_without_limits_everybody_is_counted() -> None:
    """The counts are kept all the same: a limit may be set while connections are open."""
    guests = ConnectionLimiter()
    for _ in range(3):
        guests.acquire(_listener(), "192.0.2.1")
    assert guests.count == 3
    assert _refusal(guests, _listener(max_connections=3), "192.0.2.2") is FailureKind.TOO_MANY_CONNECTIONS
    assert _refusal(guests, _listener(max_connections_per_client=3), "192.0.2.1") is FailureKind.TOO_MANY_CONNECTIONS_OF_CLIENT
    assert guests.count == 3


def test_limit_is_exact_and_each_end_makes_room_for_one() -> None:
    """Two and no third; one goes, one comes, and again no third."""
    guests, listener = ConnectionLimiter(), _listener(max_connections=2)
    assert [_refusal(guests, listener, f"192.0.2.{n}") for n in range(3)] == [None, None, FailureKind.TOO_MANY_CONNECTIONS]
    guests.release("192.0.2.0")
    assert [_refusal(guests, listener, "192.0.2.9") for _ in range(2)] == [None, FailureKind.TOO_MANY_CONNECTIONS]
    guests.release("192.0.2.1")
    guests.release("192.0.2.9")
    assert _empty(guests)


def test_limit_of_one_client_is_nobody_elses() -> None:
    """Each address has its own count; what was refused to one leaves nothing in the count of all."""
    guests, listener = ConnectionLimiter(), _listener(max_connections=3, max_connections_per_client=1)
    assert _refusal(guests, listener, "192.0.2.1") is None
    assert _refusal(guests, listener, "192.0.2.1") is FailureKind.TOO_MANY_CONNECTIONS_OF_CLIENT
    assert [_refusal(guests, listener, f"192.0.2.{n}") for n in (2, 3, 4)] == [None, None, FailureKind.TOO_MANY_CONNECTIONS]
    for n in (1, 2, 3):
        guests.release(f"192.0.2.{n}")
    assert _empty(guests)


def test_refused_for_the_whole_is_not_counted_for_the_client() -> None:
    """The listener is full: the client that was turned away has not used up its own share."""
    guests, full = ConnectionLimiter(), _listener(max_connections=1)
    guests.acquire(full, "192.0.2.1")
    assert _refusal(guests, full, "192.0.2.2") is FailureKind.TOO_MANY_CONNECTIONS
    assert _refusal(guests, _listener(max_connections_per_client=1), "192.0.2.2") is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8:1:2::1", "2001:DB8:1:2:0:0:0:2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "::2", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("1.2.3.4", "1.2.3.4", True),
    ],
)
def test_client_of_ipv6_is_its_network(one: str, other: str, same: bool) -> None:
    """A household chooses among 2^64 addresses, and is one client; of IPv4 each address is one."""
    guests, listener = ConnectionLimiter(), _listener(max_connections_per_client=1)
    guests.acquire(listener, one)
    assert _refusal(guests, listener, other) is (FailureKind.TOO_MANY_CONNECTIONS_OF_CLIENT if same else None)
    guests.release(one)
    if not same:
        guests.release(other)
    assert _empty(guests)


def test_clients_without_an_address_count_for_the_whole_only() -> None:
    """Those on a unix socket have none, and so no limit of their own."""
    guests, listener = ConnectionLimiter(), _listener(max_connections=3, max_connections_per_client=1)
    assert [_refusal(guests, listener, "") for _ in range(4)] == [None, None, None, FailureKind.TOO_MANY_CONNECTIONS]
    for _ in range(3):
        guests.release("")
    assert _empty(guests)


def test_client_introduced_later_is_refused_then_and_goes_unknown() -> None:
    """Behind a PROXY header a connection is one of all at once, and its client's when the header has come."""
    guests, listener = ConnectionLimiter(), _listener(max_connections=3, max_connections_per_client=1)
    guests.acquire(listener, None)
    guests.acquire(listener, None)
    guests.attribute(listener, "192.0.2.1")
    with pytest.raises(Failure, match=r"1 of 192\.0\.2\.1 are open"):
        guests.attribute(listener, "192.0.2.1")
    assert guests.count == 2
    guests.release(None)
    guests.release("192.0.2.1")
    assert _empty(guests)


@pytest.mark.parametrize("seed", range(30))
def test_any_order_of_coming_and_going_ends_at_zero(seed: int) -> None:
    """No order of coming, being introduced, being refused and going, with limits that change meanwhile, makes a count wrong."""
    chance = random.Random(seed)
    hosts = ["", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
    guests = ConnectionLimiter()
    here: list[str | None] = []

    def clients() -> dict[str, int]:
        counts: dict[str, int] = {}
        for host in here:
            if host:
                key = "2001:db8::/64" if host in ("2001:db8::1", "2001:db8::2") else host
                counts[key] = counts.get(key, 0) + 1
        return counts

    for _ in range(600):
        listener = _listener(max_connections=chance.choice([None, 1, 5, 20]), max_connections_per_client=chance.choice([None, 1, 3, 8]))
        turn = chance.random()
        host = chance.choice(hosts)
        if turn < 0.4:
            stranger = chance.random() < 0.5
            if _refusal(guests, listener, None if stranger else host) is None:
                here.append(None if stranger else host)
        elif turn < 0.6 and None in here:
            try:
                guests.attribute(listener, host)
            except Failure:
                if chance.random() < 0.7:
                    here.remove(None)
                    guests.release(None)
            else:
                here[here.index(None)] = host
        elif here:
            guests.release(here.pop(chance.randrange(len(here))))
        assert guests.count == len(here)
        assert sorted(guests._of_client.values()) == sorted(clients().values())
    for left in here:
        guests.release(left)
    assert _empty(guests)
