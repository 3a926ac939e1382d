"""The condition `SourceIp`."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

import attrs

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.values import flat
from albkit.model.validation import Faults

__all__ = ("SourceIp",)

_MAX_NETWORKS = 5
_BROADCAST = ipaddress.ip_network("255.255.255.255/32")


@attrs.frozen(init=False)
class SourceIp(BuiltInCondition):
    """Holds if the client's address is in one of the networks.

    The address is the peer of the connection. If the listener trusts a proxy in front (`trusted_networks`, `proxy_protocol`), it is the
    client's address as that proxy names it. `X-Forwarded-For` from anyone else is never used. A client on a Unix socket has no address and
    matches no network.

    Example:
        alb.SourceIp("10.0.0.0/8", "2001:db8::/32")

    Args:
        values: One to five networks in CIDR notation, IPv4 or IPv6. An address alone is a network of one address. `255.255.255.255/32`
            is refused, as by ALB.

    Raises:
        ConfigurationError: listing every fault.
    """

    at_most_once = True
    can_break_redirect_loops = True

    values: tuple[str, ...]

    def __init__(self, *values: str | Iterable[str]) -> None:
        self.__attrs_init__(flat(values))
        faults = Faults("SourceIp")
        if not 1 <= len(self.values) <= _MAX_NETWORKS:
            faults.add("values", f"{len(self.values)} networks; give 1 to {_MAX_NETWORKS}")
        for index, value in enumerate(self.values):
            wrong = _fault_of_network(value)
            if wrong:
                faults.add(f"values[{index}]", wrong)
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the condition in words."""
        return f"client is in {' or '.join(self.values)}"

    def compile(self) -> Holds:
        """Return a function that tells whether the condition holds for a request."""
        bounds = _bounds([ipaddress.ip_network(value) for value in self.values])
        if len(bounds) == 2:
            first, behind = bounds
            return lambda request: first <= _number_of(request.client.host) < behind
        # The number of bounds up to an address is odd if the address is in a network.
        return lambda request: bisect_right(bounds, _number_of(request.client.host)) & 1 == 1


def _fault_of_network(value: object) -> str | None:
    try:
        network = ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError as error:
        return f"{value!r} is not a network in CIDR notation: {error}"
    if network is None:
        return f"{value!r} is not a network in CIDR notation, such as '10.0.0.0/8' or '2001:db8::/32'"
    return "255.255.255.255/32 is the broadcast address, which no client has" if network == _BROADCAST else None


_IPV6 = 1 << 128
"""Added to the number of every IPv6 address, so that no IPv4 network contains it."""


def _number(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return int(address) + (_IPV6 if address.version == 6 else 0)


def _bounds(networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> list[int]:
    """Return the first address of each network and the address behind its last one, in order.

    Networks that are inside others are left out.
    """
    merged: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
        *ipaddress.collapse_addresses(network for network in networks if isinstance(network, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(network for network in networks if isinstance(network, ipaddress.IPv6Network)),
    ]
    bounds: list[int] = []
    for network in merged:
        bounds += (_number(network.network_address), _number(network.broadcast_address) + 1)
    return bounds


@lru_cache(maxsize=1024)
def _number_of(address: str) -> int:
    """Return the number of an address, or -1, which is in no network.

    Parsing an address costs more than all other work of a match. All rules share the cache, so that a request parses it at most once.
    """
    try:
        return _number(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return -1  # A client on a Unix socket has no address.
