"""Chooses the certificates to offer for the server name that a client requests (docs/alb.md 1.10)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

__all__ = ("CertificateChoice", "CertificateFacts", "HasFacts")

_KEY_TYPES = ("ECDSA", "RSA")
"""In the order of preference. A client without ECDSA gets the RSA certificate from OpenSSL."""
_LONGEST_NAME = 254
"""The limit of RFC 1035 section 2.3.4, plus one for a final dot."""


@attrs.frozen
class CertificateFacts:
    """The properties by which a certificate is chosen."""

    names: tuple[str, ...]
    """The DNS names in it, in lower case without a final dot; wildcards as `*.example.com`."""
    key_type: str
    """`"ECDSA"` or `"RSA"`."""
    key_size: int
    """In bits."""
    hash_strength: int
    """The length of the signature's hash, in bits."""
    not_before: float
    """Start of the validity, in seconds since 1970."""
    not_after: float
    """End of the validity, in seconds since 1970."""


class HasFacts(Protocol):
    """Anything that can be chosen by `CertificateFacts`."""

    @property
    def facts(self) -> CertificateFacts:
        """The properties by which it is chosen."""


T = TypeVar("T", bound=HasFacts)


class CertificateChoice(Generic[T]):
    """ALB's choice among the certificates of one listener, precomputed for every name in any of them.

    For a server name, it offers the best matching certificate with an ECDSA key and the best one with an RSA key. The criteria, in this
    order: currently valid, stronger hash, longer key, longer validity period, earlier position in the list. An exact match is no better
    than a wildcard.

    Args:
        default: Offered if the client sends no name, or if no certificate in the list matches. It is not part of the list by itself.
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
        """What to offer for a name with one more label than the key."""
        # Wildcards compete with exact matches, because ALB does not prefer exact ones.
        self._exact = {name: best(places | wildcard.get(_parent(name), set())) for name, places in exact.items()}
        self._sets = tuple(known.values())
        self.valid_until = _next_change(listed, now)
        """When a certificate of the list next becomes valid or expires, in seconds since 1970, so that the choice must be computed
        again; infinite if never."""

    @property
    def sets(self) -> tuple[tuple[T, ...], ...]:
        """Every tuple that `for_name` can return, without duplicates, the default's first."""
        return self._sets

    def for_name(self, name: str | None) -> tuple[T, ...]:
        """Return what to offer for a server name: always one of the tuples in `sets`, the identical object.

        The name is anything that a client sends, or `None` if it sends none. The call costs two look-ups and stores nothing.
        """
        # The client chooses the name, so its length is limited before it is copied by lower().
        if not name or len(name) > _LONGEST_NAME or not name.isascii():
            return self._default
        name = name.lower().removesuffix(".")
        chosen = self._exact.get(name)
        if chosen is None:
            chosen = self._wildcard.get(_parent(name))
        return self._default if chosen is None else chosen


def _by_name(listed: Sequence[HasFacts]) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """The positions of the certificates by their names, and by the parents of their wildcards."""
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
    """The name without its first label; empty if there is no label, or no parent."""
    label, _, parent = name.partition(".")
    return parent if label else ""


def _best(matching: Sequence[T], now: float) -> tuple[T, ...]:
    """The best certificate of each key type; the first of several equal ones."""
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
    """The same tuple object for the same certificates, so that callers can use it as a key."""
    return known.setdefault(tuple(map(id, chosen)), chosen)


def _next_change(listed: Iterable[HasFacts], now: float) -> float:
    times = (time for certificate in listed for time in (certificate.facts.not_before, certificate.facts.not_after))
    return min((time for time in times if time > now), default=math.inf)
