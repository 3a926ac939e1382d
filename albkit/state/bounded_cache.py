"""What was read before and may come again: bounded in bytes, for all who remember together.

Whatever is remembered is remembered by bytes that an adversary may have chosen. So nobody keeps more than the common budget allows, and
nobody keeps what is never asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

__all__ = ("BUDGET", "BoundedCache", "Budget", "Holder")

_MOST_BYTES: Final = 8 * 1024 * 1024
"""For everything that this process remembers, keys and what is kept for them."""
_MOST: Final = 512
_REST: Final = 16_384
"""Things that are not remembered, where remembering has not paid: those of peers that send something new every time."""
_ENTRY: Final = 256
"""Bytes that an entry costs beside its key and what its owner says: places in tables, heads of objects."""

Key = TypeVar("Key", str, bytes)
Known = TypeVar("Known")


class Holder(Protocol):
    """Somebody who remembers."""

    held: int
    """Bytes, as the budget counts them."""

    def forget(self) -> None:
        """Forget everything."""


class Budget:
    """Bytes that holders share. Where they are used up, whoever holds the most forgets everything.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.largest = most // _MOST
        """Bytes of one thing that may be kept: nothing that is common is larger."""
        self._holders: WeakValueDictionary[int, Holder] = WeakValueDictionary()
        self._held = 0
        """Never less than what is held: those who are gone are still counted, until it matters."""

    @property
    def held(self) -> int:
        """Bytes that are in use."""
        return sum(holder.held for holder in self._there())

    def _there(self) -> list[Holder]:
        """A list made at once, for other threads may have load balancers of theirs."""
        return [holder for holder in (reference() for reference in self._holders.valuerefs()) if holder is not None]

    def join(self, holder: Holder) -> None:
        """One more holder."""
        self._holders[id(holder)] = holder

    def charge(self, holder: Holder, size: int) -> None:
        """A holder keeps so many bytes more. Call it after they are kept: it may have to forget them."""
        holder.held += size
        self._held += size
        if holder.held > self._most // 2:
            holder.forget()  # Half is left to all others.
        while self._held > self._most:
            self._held = self.held
            if self._held > self._most:
                max(self._there(), key=lambda one: one.held).forget()

    def give_back(self, holder: Holder) -> None:
        """A holder has forgotten everything."""
        self._held -= holder.held
        holder.held = 0


BUDGET = Budget(_MOST_BYTES)
"""Of this process."""


class BoundedCache(Generic[Key, Known]):
    """Remembers things by text or bytes that an adversary may have chosen: so many, and only as long as they are asked for again."""

    __slots__ = ("__weakref__", "_budget", "_known", "_recalled", "_resting", "held", "recall")

    def __init__(self, budget: Budget = BUDGET) -> None:
        self._known: dict[Key, Known] = {}
        self.recall: Callable[[Key], Known | None] = self._known.get
        """What is known under these bytes; `None` where nothing is."""
        self._budget = budget
        self.held = 0
        budget.join(self)
        self._recalled = 0
        self._resting = 0

    def __len__(self) -> int:
        return len(self._known)

    def count(self) -> None:
        """What was recalled was of use."""
        self._recalled += 1

    def rests(self) -> bool:
        """Whether nothing is to be remembered now. To be asked once for each thing that was not known."""
        if self._resting:
            self._resting -= 1
            return True
        return False

    def remember(self, key: Key, known: Known, size: int) -> None:
        """Keep this; where there is no room, forget everything first.

        Args:
            key: To recall it by.
            known: What is known.
            size: Bytes that it takes, without the key.
        """
        size += len(key) + _ENTRY
        if size > self._budget.largest:
            return
        if len(self._known) >= _MOST:
            if self._recalled < _MOST:
                self._resting = _REST
            self.forget()
        self._known[key] = known
        self._budget.charge(self, size)

    def forget(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._recalled = 0
        self._budget.give_back(self)
