"""Looks up the targets of a DNS name (RFC 1035; RFC 2782 for SRV)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine, Iterable
from copy import copy
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from albkit.errors import ConfigurationError, escaped
from albkit.model.dns_name import DnsName
from albkit.model.target import Target

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver as DnsResolver

_log = logging.getLogger("albkit")

Answer = TypeVar("Answer")

__all__ = ("NameAnswer", "Resolver", "UnresolvedError")

_LARGEST_WEIGHT = 999
_MOST_TARGETS = 1000
"""Targets of one name. More are ignored, so that a name server cannot fill a group."""
_UNREACHABLE_PORT = 9  # Nothing is sent there: to connect a datagram socket only looks up a route.


class UnresolvedError(Exception):
    """No name server gave an answer, so the targets of the name are unknown."""


@attrs.frozen
class NameAnswer:
    """The targets of a name now."""

    targets: tuple[Target, ...]
    """Each address once; empty if the name has none."""
    ttl: float
    """Seconds for which the answer is valid."""


class Resolver:
    """Looks up names with dnspython, at the name servers of the machine or those of the `DnsName`."""

    def __init__(self) -> None:
        self._resolvers: dict[tuple[tuple[str, int], ...], DnsResolver] = {}

    async def look_up(self, name: DnsName) -> NameAnswer:
        """Look up the targets of a name.

        Raises:
            UnresolvedError: no answer within the timeout of the name, or the name server reported a failure.
        """
        resolver = await self._resolver(name.servers)
        return await (_services(resolver, name) if name.record_type == "SRV" else _addresses_as_targets(resolver, name))

    async def _resolver(self, servers: tuple[tuple[str, int], ...]) -> DnsResolver:
        resolver = self._resolvers.get(servers)
        if resolver is None:
            # Imports dnspython and reads resolv.conf: both would block the event loop.
            resolver = await asyncio.get_running_loop().run_in_executor(None, _make_resolver, servers)
            self._resolvers[servers] = resolver
        return resolver


def _make_resolver(servers: tuple[tuple[str, int], ...]) -> DnsResolver:
    import dns.asyncbackend
    import dns.asyncresolver
    import dns.nameserver
    import dns.resolver

    dns.asyncbackend.get_backend("asyncio")
    try:
        resolver = dns.asyncresolver.Resolver(configure=not servers)
    except dns.resolver.NoResolverConfiguration as error:
        raise UnresolvedError(f"{error}; give nameservers") from None
    if servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in servers]
    return resolver


async def _addresses_as_targets(resolver: DnsResolver, name: DnsName) -> NameAnswer:
    addresses, ttl = await _addresses(resolver, name.host, name)
    return NameAnswer(tuple(name.target(address, name.port or 0) for address in addresses[:_MOST_TARGETS]), ttl)


async def _services(resolver: DnsResolver, name: DnsName) -> NameAnswer:
    """The targets of SRV records. Those with the best priority are in use, the others are standby targets."""
    records, ttl = await _ask(resolver, name.host, "SRV", name)
    records = [record for record in records if record.target.to_text() != "."]  # RFC 2782: the service is not available.
    if not records:
        return NameAnswer((), ttl)
    # Best priority first: if several records name the same address, the best one counts.
    records.sort(key=lambda record: record.priority)
    # These names are complete: no search domain is added (RFC 2782).
    hosts = list(dict.fromkeys(record.target.to_text() for record in records))
    found = dict(zip(hosts, await _all(_addresses(resolver, host, name) for host in hosts), strict=True))
    failures = [answer for answer in found.values() if isinstance(answer, UnresolvedError)]
    if len(failures) == len(found):
        raise failures[0]
    best = min(record.priority for record in records)
    heaviest = max(record.weight for record in records)
    targets: dict[str, Target] = {}
    for record in records:
        host = record.target.to_text()
        answer = found[host]
        if isinstance(answer, UnresolvedError):
            fields = {"albkit_event": "name_record_unusable", "albkit_name": escaped(str(name)), "albkit_detail": escaped(str(answer))}
            words = "%s names the host %s, which cannot be looked up: %s"
            _log.warning(words, name, escaped(host), escaped(str(answer)), extra=fields)
            continue
        addresses, host_ttl = answer
        ttl = min(ttl, host_ttl)
        for address in addresses:
            weight = _weight(record.weight, heaviest)
            try:
                target = name.target(address, record.port, weight=weight, standby=record.priority > best, server_name=host.rstrip("."))
            except ConfigurationError as error:
                fields = {"albkit_event": "name_record_unusable", "albkit_name": escaped(str(name)), "albkit_detail": escaped(str(error))}
                _log.warning("%s has a record that names no target: %s", name, escaped(str(error)), extra=fields)
                continue
            targets.setdefault(str(target), target)
    return NameAnswer(tuple(islice(targets.values(), _MOST_TARGETS)), ttl)


def _weight(weight: int, heaviest: int) -> int:
    """The weight of a record, scaled to the range of targets. 0 becomes 1, because RFC 2782 gives it a very small chance."""
    return max(1, weight * _LARGEST_WEIGHT // heaviest if heaviest > _LARGEST_WEIGHT else weight)


async def _addresses(resolver: DnsResolver, host: str, name: DnsName) -> tuple[list[str], float]:
    """The addresses of a host that there is a route to, sorted, and their TTL."""
    kinds = {"A": ("A",), "AAAA": ("AAAA",)}.get(name.record_type, ("A", "AAAA"))
    answers = await _all(_ask(resolver, host, kind, name) for kind in kinds)
    failures = [answer for answer in answers if isinstance(answer, UnresolvedError)]
    known = [answer for answer in answers if not isinstance(answer, UnresolvedError)]
    addresses = sorted({record.address for records, _ in known for record in records})
    # If the look-up of IPv4 or of IPv6 addresses fails, the others still count.
    if failures and not addresses:
        raise failures[0]
    return _with_route(addresses), min((ttl for records, ttl in known if records), default=min(ttl for _, ttl in known))


async def _all(queries: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer | UnresolvedError]:
    """What came of several queries at once; when this is cancelled none of them goes on."""

    async def settled(question: Coroutine[Any, Any, Answer]) -> Answer | UnresolvedError:
        try:
            return await question
        except UnresolvedError as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(settled(question)) for question in queries]
    return [task.result() for task in asked]


async def _ask(resolver: DnsResolver, host: str, kind: str, name: DnsName) -> tuple[list[Any], float]:
    """The records of one type, and their TTL."""
    import dns.exception
    import dns.resolver

    try:
        answer = await resolver.resolve(host, kind, raise_on_no_answer=False, lifetime=name.timeout, search=True, backend=_backend())
    except dns.resolver.NXDOMAIN as error:
        return [], _ttl_of_nothing(error)
    except dns.exception.Timeout:
        raise UnresolvedError(f"no answer within {name.timeout:g} s") from None
    except (dns.exception.DNSException, OSError) as error:
        raise UnresolvedError(str(error)) from None
    return list(answer), float(answer.chaining_result.minimum_ttl)


@lru_cache(maxsize=1)
def _backend() -> Any:
    """dnspython's backend for asyncio, with a fix: uvloop leaves a datagram socket open if the task that makes it is cancelled."""
    import dns.asyncbackend

    backend: Any = copy(dns.asyncbackend.get_backend("asyncio"))
    make = backend.make_socket

    async def make_socket(af: int, socktype: int, *arguments: Any, **named: Any) -> Any:
        made = make(af, socktype, *arguments, **named)
        if socktype != socket.SOCK_DGRAM:
            return await made
        # Nothing is sent to make one, so the wait is short.
        making = asyncio.ensure_future(made)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            await (await making).close()
            raise

    backend.make_socket = make_socket
    return backend


def _ttl_of_nothing(error: Any) -> float:
    """How long the answer that a name does not exist is valid (RFC 2308 section 5)."""
    ttls = [response.resolve_chaining().minimum_ttl for response in error.responses().values()]
    return float(min(ttls, default=0))


def _with_route(addresses: Iterable[str]) -> list[str]:
    """The addresses that there is a route to; all of them if there is a route to none."""
    addresses = list(addresses)
    return [address for address in addresses if _has_route(address)] or addresses


def _has_route(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setblocking(False)
            probe.connect((address, _UNREACHABLE_PORT))
    except OSError:
        return False
    return True
