"""Which certificates a client is offered for the server name that it asks for (docs/alb.md 1.10)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

__all__ = ("CertificateChoice", "CertificateFacts", "HasFacts")

_KEY_TYPES = ("ECDSA", "RSA")
"""In the order in which they are offered: OpenSSL goes on to RSA for a client that knows no ECDSA."""
_LONGEST_NAME = 254
"""Of RFC 1035, section 2.3.4, with a dot at its end."""


@attrs.frozen
class CertificateFacts:
    """What a certificate is chosen by."""

    names: tuple[str, ...]
    """Whose it is: DNS names in lower case without a dot at the end, wildcards as `*.example.com`."""
    key_type: str
    """`"ECDSA"` or `"RSA"`."""
    key_size: int
    """In bits."""
    hash_strength: int
    """Length, in bits, of the hash that it is signed with."""
    not_before: float
    """In seconds since 1970: valid from then on."""
    not_after: float
    """In seconds since 1970: expired from then on."""


class HasFacts(Protocol):
    """Anything that can be chosen."""

    @property
    def facts(self) -> CertificateFacts:
        """What it is chosen by."""


T = TypeVar("T", bound=HasFacts)


class CertificateChoice(Generic[T]):
    """ALB's choice among the certificates of one listener, worked out once for every name that any of them has.

    Of those in the list that match a server name it offers the best with an ECDSA key and the best with an RSA key. The better one is,
    in this order: not expired (nor of the future), signed with the stronger hash, has the longer key, is valid for the longer period,
    stands further in front. That a name matches exactly makes a certificate no better than one with a wildcard.

    Args:
        default: Shown where no name is asked for, and where no certificate in the list matches; it is not in the list by itself.
        listed: The list.
        now: Seconds since 1970.
    """

    __slots__ = ("_default", "_exact", "_sets", "_wildcard", "valid_until")

    def __init__(self, default: T, listed: Sequence[T], now: float) -> None:
        known: dict[tuple[int, ...], tuple[T, ...]] = {}
        self._default = _once(known, (default,))
        exact, wildcard = _by_name(listed)

        def best(places: Iterable[int]) -> tuple[T, ...]:
            return _once(known, _best([listed[place] for place in sorted(places)], now))

        self._wildcard = {parent: best(places) for parent, places in wildcard.items()}
        """What is offered for a name of one label more than the key."""
        self._exact = {name: best(places | wildcard.get(_parent(name), set())) for name, places in exact.items()}
        self._sets = tuple(known.values())
        self.valid_until = _next_change(listed, now)
        """Seconds since 1970 when a certificate of the list becomes valid or expires next, so that the choice has to be made anew;
        infinite for never."""

    @property
    def sets(self) -> tuple[tuple[T, ...], ...]:
        """Every tuple that `for_name` may return, each once, the default's first."""
        return self._sets

    def for_name(self, name: str | None) -> tuple[T, ...]:
        """What is offered to a client that asks for this server: one of `sets`, that very tuple.

        The name is anything that a client sends, and `None` where it sends none. It costs two look-ups, and nothing of it is kept.
        """
        if not name or len(name) > _LONGEST_NAME or not name.isascii():
            return self._default
        name = name.lower().removesuffix(".")
        chosen = self._exact.get(name)
        if chosen is None:
            chosen = self._wildcard.get(_parent(name))
        return self._default if chosen is None else chosen


def _by_name(listed: Sequence[HasFacts]) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """The places of the certificates by their names, and by the parents of their wildcards."""
    exact: dict[str, set[int]] = {}
    wildcard: dict[str, set[int]] = {}
    for place, certificate in enumerate(listed):
        for name in certificate.facts.names:
            if name.startswith("*.") and len(name) > 2:
                wildcard.setdefault(name[2:], set()).add(place)
            elif name:
                exact.setdefault(name, set()).add(place)
    return exact, wildcard


def _parent(name: str) -> str:
    """The name less its leftmost label; empty where there is no label, or none below."""
    label, _, parent = name.partition(".")
    return parent if label else ""


def _best(matching: Sequence[T], now: float) -> tuple[T, ...]:
    """The best of each type of key, of several equals the first."""
    chosen = []
    for key_type in _KEY_TYPES:
        candidates = [certificate for certificate in matching if certificate.facts.key_type == key_type]
        if candidates:
            chosen.append(max(candidates, key=lambda certificate: _rank(certificate.facts, now)))
    return tuple(chosen)


def _rank(facts: CertificateFacts, now: float) -> tuple[bool, int, int, float]:
    is_valid = facts.not_before <= now < facts.not_after
    return is_valid, facts.hash_strength, facts.key_size, facts.not_after - facts.not_before


def _once(known: dict[tuple[int, ...], tuple[T, ...]], chosen: tuple[T, ...]) -> tuple[T, ...]:
    """The same tuple for the same certificates."""
    return known.setdefault(tuple(map(id, chosen)), chosen)


def _next_change(listed: Iterable[HasFacts], now: float) -> float:
    times = (time for certificate in listed for time in (certificate.facts.not_before, certificate.facts.not_after))
    return min((time for time in times if time > now), default=math.inf)
