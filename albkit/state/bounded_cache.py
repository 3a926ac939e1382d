"""Caches with a common memory limit, for results that are computed from bytes of peers.

An attacker chooses these bytes. So all caches of a process together stay within one budget, and a cache pauses when its entries are not
used again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = ("BUDGET", "BoundedCache", "Budget", "Holder")

_MOST_BYTES: Final = 8 * 1024 * 1024
"""The budget of the process, for keys and values."""
_MOST: Final = 512
_REST: Final = 16_384
"""How many misses are not stored after storing has not paid off, because peers sent something new every time."""
_ENTRY: Final = 256
"""Bytes that an entry costs besides its key and the size its owner states: dictionary slots and object headers."""

Key = TypeVar("Key", str, bytes)
Known = TypeVar("Known")


class Holder(Protocol):
    """A cache that is charged to a budget."""

    held: int
    """Bytes, as the budget counts them."""

    def forget(self) -> None:
        """Clear the cache."""


class Budget:
    """Bytes that several caches share. When they are used up, the largest cache is cleared.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.largest = most // _MOST
        """The largest entry that is stored, in bytes. Common entries are smaller."""
        self._holders: WeakValueDictionary[int, Holder] = WeakValueDictionary()
        self._held = 0
        """An upper bound of the bytes in use: caches that were garbage-collected are still included, until the limit is reached."""

    @property
    def held(self) -> int:
        """The bytes in use."""
        return sum(holder.held for holder in self._there())

    def _there(self) -> list[Holder]:
        """The caches that still exist. The list is built at once, because other threads may run load balancers of their own."""
        return [holder for holder in (reference() for reference in self._holders.valuerefs()) if holder is not None]

    def join(self, holder: Holder) -> None:
        """Add a cache."""
        self._holders[id(holder)] = holder

    def charge(self, holder: Holder, size: int) -> None:
        """Count bytes that a cache has stored. Call it after storing them, because it may clear this cache."""
        holder.held += size
        self._held += size
        if holder.held > self._most // 2:
            holder.forget()  # Half of the budget is reserved for the other caches.
        while self._held > self._most:
            self._held = self.held
            if self._held > self._most:
                max(self._there(), key=lambda one: one.held).forget()

    def give_back(self, holder: Holder) -> None:
        """Uncount everything that a cache had stored; it has been cleared."""
        self._held -= holder.held
        holder.held = 0


BUDGET = Budget(_MOST_BYTES)
"""The budget of this process."""


class BoundedCache(Generic[Key, Known]):
    """A cache for results computed from text or bytes that an attacker may have chosen: limited in entries and bytes, and only active
    while its entries are used again."""

    __slots__ = ("__weakref__", "_budget", "_known", "_recalled", "_resting", "held", "recall")

    def __init__(self, budget: Budget = BUDGET) -> None:
        self._known: dict[Key, Known] = {}
        # The method of the dictionary itself: a look-up costs no Python call. So `_known` is cleared, never replaced.
        self.recall: Callable[[Key], Known | None] = self._known.get
        """Look up a key; `None` if it is not cached."""
        self._budget = budget
        self.held = 0
        budget.join(self)
        self._recalled = 0
        self._resting = 0

    def __len__(self) -> int:
        return len(self._known)

    def count(self) -> None:
        """Count a hit."""
        self._recalled += 1

    def rests(self) -> bool:
        """Whether storing is paused. Call it once for each miss."""
        if self._resting:
            self._resting -= 1
            return True
        return False

    def remember(self, key: Key, known: Known, size: int) -> None:
        """Store an entry. If the cache is full, clear it first.

        Args:
            key: The key for `recall`.
            known: The value.
            size: Bytes of the value, without the key.
        """
        size += len(key) + _ENTRY
        if size > self._budget.largest:
            return
        if len(self._known) >= _MOST:
            # Fewer hits than entries stored: peers send something new every time, perhaps on purpose.
            if self._recalled < _MOST:
                self._resting = _REST
            self.forget()
        self._known[key] = known
        self._budget.charge(self, size)

    def forget(self) -> None:
        """Clear the cache."""
        self._known.clear()
        self._recalled = 0
        self._budget.give_back(self)
