"""Targets that are found by a DNS name."""

from __future__ import annotations

import ipaddress
import re
from importlib.util import find_spec
from typing import Any, cast

import attrs

from albkit.errors import ConfigurationError
from albkit.model.attributes import default
from albkit.model.target import Target, is_host
from albkit.model.validation import Faults, as_tuple

__all__ = ("DnsName",)

_DNS_PORT = 53
_SERVER = re.compile(r"\[(?P<v6>[^\]]*)\](?::(?P<v6_port>[0-9]{1,5}))?|(?P<host>[^:\[\]]*)(?::(?P<port>[0-9]{1,5}))?|(?P<bare>[^\[\]]*)")


@attrs.frozen
class DnsName:
    """Stands for targets: every address that a DNS name resolves to is a target, so that a group follows a service.

    The name is resolved again when the records' time to live is over. New addresses are registered; addresses that have disappeared are
    deregistered and drain. With `record_type="SRV"`, the records contain hosts, ports and weights: those of the best priority are targets,
    all others standby targets. If the name server does not answer, or fails, the targets stay as they are.

    Requires `pip install 'albkit[dns]'`.

    Args:
        host: The name, such as `api.internal`; for SRV `_http._tcp.api.internal`. A name with a dot at its end is complete. To other names,
            the machine's search domains apply if its own name servers are used. The hosts file is never read.
        port: The targets' port, 1 to 65535; not for SRV.
        record_type: `"A/AAAA"`, `"A"`, `"AAAA"` or `"SRV"`. Default: `"A/AAAA"`.
        nameservers: One address or a list: `"10.0.0.2"` or `"127.0.0.1:8600"`. By default, the machine's own name servers.
        protocol: `"HTTP"` or `"HTTPS"`. Default: `None`, the group's. Certificates are verified for the name.
        weight: The weight of each target, 0 to 999; SRV records include their own. Default: `1`.
        max_concurrency: The limit of each target, as `Target(max_concurrency=...)`.
        min_ttl: Seconds between two queries, at least. Default: `1`.
        max_ttl: Seconds between two queries, at most. Default: `300`.
        hold: Seconds for which the targets stay after an answer without any address. Default: `30`.
        timeout: Seconds to wait for an answer. Default: `5`.

    Raises:
        ConfigurationError: lists every fault.
    """

    host: str
    port: int | None = None
    record_type: str = attrs.field(default=cast("str", default("DnsName", "record_type")), kw_only=True)
    nameservers: tuple[str, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    protocol: str | None = attrs.field(default=None, kw_only=True)
    weight: int = attrs.field(default=1, kw_only=True)
    max_concurrency: int | None = attrs.field(default=None, kw_only=True)
    min_ttl: float = attrs.field(default=cast("float", default("DnsName", "min_ttl")), kw_only=True)
    max_ttl: float = attrs.field(default=cast("float", default("DnsName", "max_ttl")), kw_only=True)
    hold: float = attrs.field(default=cast("float", default("DnsName", "hold")), kw_only=True)
    timeout: float = attrs.field(default=cast("float", default("DnsName", "timeout")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("DnsName")
        if not isinstance(self.host, str) or not is_host(self.host.removesuffix(".")) or _is_address(self.host):
            faults.add("host", f"{self.host!r} is not a DNS name; give a Target for an address")
        faults.attribute(self, "record_type", "min_ttl", "max_ttl", "hold", "timeout")
        if all(isinstance(ttl, int | float) for ttl in (self.min_ttl, self.max_ttl)) and self.min_ttl > self.max_ttl:
            faults.add("min_ttl", f"{self.min_ttl!r} is above max_ttl, {self.max_ttl!r}")
        if self.record_type == "SRV":
            if self.port is not None:
                faults.add("port", "SRV records include the port; leave it out")
        elif self.port is None:
            faults.add("port", "missing; only SRV records include a port")
        else:
            faults.attribute(self, "port")
        self._check_target(faults)
        for index, server in enumerate(self.nameservers):
            if _address_of(server) is None:
                faults.add(f"nameservers[{index}]", f"{server!r} is not an IP address, with or without a port: '10.0.0.2', '[::1]:5353'")
        # Checked here, so that the error comes with the configuration and not with the first query.
        if find_spec("dns") is None:
            faults.add("", "requires the package dnspython; run: pip install 'albkit[dns]'")
        faults.raise_if_any()

    def _check_target(self, faults: Faults) -> None:
        try:
            # A target with these settings reports their faults, so that the rules stand only in `Target`.
            Target("name", 80, protocol=self.protocol, weight=self.weight, max_concurrency=self.max_concurrency)
        except ConfigurationError as error:
            faults.inside("", error)

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each of the name servers given."""
        return tuple(address for address in map(_address_of, self.nameservers) if address is not None)

    def target(self, host: str, port: int, *, weight: int | None = None, standby: bool = False, server_name: str | None = None) -> Target:
        """Make the target for one address of the name."""
        return Target(
            host,
            port,
            weight=self.weight if weight is None else weight,
            protocol=self.protocol,
            standby=standby,
            max_concurrency=self.max_concurrency,
            server_name=server_name if server_name is not None else self.host.rstrip("."),
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port is not None else f"{self.host} SRV"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _address_of(server: Any) -> tuple[str, int] | None:
    if not isinstance(server, str):
        return None
    match = _SERVER.fullmatch(server)
    if match is None:
        return None
    host = match["bare"] or match["v6"] or match["host"]
    port = int(match["v6_port"] or match["port"] or _DNS_PORT)
    return (host, port) if _is_address(host) and 1 <= port <= 65535 else None
