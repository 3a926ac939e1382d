"""What was read of heads before, up to a bound."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ("Memory",)

_MOST = 512
_REST = 16_384
"""Heads for which nothing is remembered, where remembering has not paid: those of peers whose fields are new every time."""

Known = TypeVar("Known")


class Memory(Generic[Known]):
    """Remembers things by bytes that an adversary may have chosen: so many, and only as long as they are asked for again."""

    __slots__ = ("_known", "_recalled", "_resting", "recall")

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self.recall = self._known.get
        """What is known under these bytes; `None` where nothing is."""
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

    def remember(self, key: bytes, known: Known) -> None:
        """Keep this; where there is no room, forget everything first."""
        if len(self._known) >= _MOST:
            self._known.clear()
            if self._recalled < _MOST:
                self._resting = _REST
            self._recalled = 0
        self._known[key] = known
