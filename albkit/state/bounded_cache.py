"""Caches for what peers send, bounded in entries and, all caches of the process together, in bytes.

The keys of these caches are bytes of requests and responses, so an attacker can choose them. Two rules keep the memory bounded:

- All caches share one `CacheBudget`. If it is used up, the largest cache is cleared.
- A cache whose entries are never used again stops storing new ones for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = ("SHARED_BUDGET", "BoundedCache", "BudgetedCache", "CacheBudget")

_MAX_BYTES: Final = 8 * 1024 * 1024
"""For all caches of this process: keys, values and overhead."""
_MAX_ENTRIES: Final = 512
"""Of one cache. Also the share of the budget that one entry may take: 1 / 512, or 16 KiB of the shared budget."""
_SKIPPED_AFTER_MISSES: Final = 16_384
"""How many new keys a cache does not store after it filled up without hits: its peers send something new every time."""
_ENTRY_OVERHEAD: Final = 256
"""Bytes that an entry takes in addition to its key and to what its owner counts: hash table slots and object headers."""

Key = TypeVar("Key", str, bytes)
Value = TypeVar("Value")


class BudgetedCache(Protocol):
    """A cache that shares a budget with others."""

    size_bytes: int
    """Bytes that are charged for its entries. Only the budget changes this."""

    def clear(self) -> None:
        """Remove every entry, and release their bytes."""


class CacheBudget:
    """A limit in bytes that several caches share. If it is exceeded, the largest cache is cleared.

    Args:
        most: The limit, in bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.largest_entry = most // _MAX_ENTRIES
        """Bytes that a single entry may take. Common requests and responses are smaller."""
        # Weak references: a cache goes with its owner, for example with a listener that `apply` replaces.
        self._caches: WeakValueDictionary[int, BudgetedCache] = WeakValueDictionary()
        self._charged = 0
        """At least `used_bytes`. The bytes of caches that were garbage collected stay in it until `charge` counts anew."""

    @property
    def used_bytes(self) -> int:
        """Bytes that the live caches take."""
        return sum(cache.size_bytes for cache in self._live_caches())

    def _live_caches(self) -> list[BudgetedCache]:
        # `valuerefs()` copies in one step. Iterating over the dictionary would fail if a load balancer in another thread registers a cache.
        return [cache for cache in (reference() for reference in self._caches.valuerefs()) if cache is not None]

    def register(self, cache: BudgetedCache) -> None:
        """Add a cache. Its reference is weak, so there is nothing to call when the cache is no longer needed."""
        self._caches[id(cache)] = cache

    def charge(self, cache: BudgetedCache, size: int) -> None:
        """Charge a cache for an entry.

        Call this after the entry is stored: if the limit is exceeded, this clears a cache, possibly the same one.

        Args:
            cache: The cache that stores the entry.
            size: Bytes of the entry: key, value and overhead.
        """
        cache.size_bytes += size
        self._charged += size
        # No cache may take more than half, so that one flooded cache does not push out all others.
        if cache.size_bytes > self._most // 2:
            cache.clear()
        while self._charged > self._most:
            self._charged = self.used_bytes
            if self._charged > self._most:
                max(self._live_caches(), key=lambda one: one.size_bytes).clear()

    def release(self, cache: BudgetedCache) -> None:
        """Release all bytes of a cache that has removed its entries."""
        self._charged -= cache.size_bytes
        cache.size_bytes = 0


SHARED_BUDGET = CacheBudget(_MAX_BYTES)
"""The budget of this process."""


class BoundedCache(Generic[Key, Value]):
    """A cache of at most 512 entries for keys that an attacker may choose.

    If it is full, it is cleared. Evicting single entries would need an order that every hit updates, and hits are on the path of every
    request. Call it like this, so that it learns whether storing pays:

        value = cache.get(key)
        if value is not None:
            cache.count_hit()
        else:
            value = compute(key)
            if not cache.skip_put():
                cache.put(key, value, size)

    Args:
        budget: The budget that its bytes are charged to.
    """

    __slots__ = ("__weakref__", "_budget", "_entries", "_hits", "_skips_left", "get", "size_bytes")

    def __init__(self, budget: CacheBudget = SHARED_BUDGET) -> None:
        self._entries: dict[Key, Value] = {}
        # The dictionary's own method: a Python method around it would cost another call per look-up. So `_entries` is never replaced.
        self.get: Callable[[Key], Value | None] = self._entries.get
        """Look up the value of a key; `None` if there is none."""
        self._budget = budget
        self.size_bytes = 0
        budget.register(self)
        self._hits = 0
        """Since the cache was last cleared."""
        self._skips_left = 0

    def __len__(self) -> int:
        return len(self._entries)

    def count_hit(self) -> None:
        """Note that the result of `get` was used. A cache that fills up with too few hits stops storing for a while."""
        self._hits += 1

    def skip_put(self) -> bool:
        """Whether not to call `put` for a key that was missing. Call it exactly once per miss: each call counts towards trying again."""
        if self._skips_left:
            self._skips_left -= 1
            return True
        return False

    def put(self, key: Key, value: Value, size: int) -> None:
        """Store an entry. An entry above `CacheBudget.largest_entry` is ignored.

        Args:
            key: The key. It must not be in the cache already, or its bytes are charged twice.
            value: The value.
            size: Bytes that the value takes, without the key.
        """
        size += len(key) + _ENTRY_OVERHEAD
        if size > self._budget.largest_entry:
            return
        if len(self._entries) >= _MAX_ENTRIES:
            # Fewer hits than entries: on average no entry was used again, and storing cost more than it saved.
            if self._hits < _MAX_ENTRIES:
                self._skips_left = _SKIPPED_AFTER_MISSES
            self.clear()
        self._entries[key] = value
        self._budget.charge(self, size)

    def clear(self) -> None:
        """Remove every entry."""
        self._entries.clear()
        self._hits = 0
        self._budget.release(self)
