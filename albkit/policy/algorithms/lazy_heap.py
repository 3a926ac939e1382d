"""A heap of targets whose keys change with every request."""

from __future__ import annotations

import heapq

from albkit.state.target import TargetState

__all__ = ("LazyHeap",)


class LazyHeap:
    """Targets ordered by a number each, for example their load.

    A heap cannot change the number of an entry. `put` adds a new entry instead, and the outdated one is skipped when it reaches the top.
    """

    __slots__ = ("_heap", "_latest", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TargetState]] = []
        self._latest: dict[TargetState, int] = {}
        self._serial = 0

    def put(self, target: TargetState, figure: float) -> None:
        """Set the target's number. Among equal numbers, the target that was put first comes first."""
        self._serial += 1
        self._latest[target] = self._serial
        heapq.heappush(self._heap, (figure, self._serial, target))
        # Outdated entries must not use up memory: drop them once they are many times the targets.
        if len(self._heap) > 64 + 8 * len(self._latest):
            self._heap = [entry for entry in self._heap if self._latest.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def put_among_first(self, target: TargetState, figure: float, place: float) -> None:
        """Set the target's number. Among equal numbers, it comes before targets that were added by `put`.

        Args:
            target: The target.
            figure: Its number.
            place: A number of [0, 1). Among the targets that were added by this method, those with the highest come first.
        """
        self._serial += 1
        serial = self._latest[target] = self._serial - (int(place * 2**32) << 64)
        heapq.heappush(self._heap, (figure, serial, target))

    def discard(self, target: TargetState) -> None:
        """Remove the target."""
        self._latest.pop(target, None)

    def clear(self) -> None:
        """Remove all targets."""
        self._heap.clear()
        self._latest.clear()

    def in_order(self) -> list[TargetState]:
        """Return the targets in the order in which they were put."""
        return sorted(self._latest, key=self._latest.__getitem__)

    def lowest(self) -> TargetState | None:
        """Return the target with the lowest number; `None` if there is none."""
        while self._heap:
            _, serial, target = self._heap[0]
            if self._latest.get(target) == serial:
                return target
            heapq.heappop(self._heap)
        return None
