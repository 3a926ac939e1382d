"""The target with the lowest figure, where figures change with every request."""

from __future__ import annotations

import heapq

from albkit.state.target import TargetState

__all__ = ("LazyHeap",)


class LazyHeap:
    """Targets by a figure each. One that gets another figure leaves its old entry behind, which is passed over when it comes up."""

    __slots__ = ("_heap", "_latest", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, TargetState]] = []
        self._latest: dict[TargetState, int] = {}
        self._serial = 0

    def put(self, target: TargetState, figure: float) -> None:
        """This is the target's figure now; among equals the one that was put first comes first."""
        self._serial += 1
        self._latest[target] = self._serial
        heapq.heappush(self._heap, (figure, self._serial, target))
        if len(self._heap) > 64 + 8 * len(self._latest):
            self._heap = [entry for entry in self._heap if self._latest.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def put_among_first(self, target: TargetState, figure: float, place: float) -> None:
        """This is the target's figure now; among equals it comes before those that were put otherwise, in the order of their places.

        Args:
            target: The target.
            figure: Its figure.
            place: A number of [0, 1), the last places first.
        """
        self._serial += 1
        serial = self._latest[target] = self._serial - (int(place * 2**32) << 64)
        heapq.heappush(self._heap, (figure, serial, target))

    def discard(self, target: TargetState) -> None:
        """The target has no figure any more."""
        self._latest.pop(target, None)

    def clear(self) -> None:
        """None has."""
        self._heap.clear()
        self._latest.clear()

    def in_order(self) -> list[TargetState]:
        """The targets, those first whose figures were put first."""
        return sorted(self._latest, key=self._latest.__getitem__)

    def lowest(self) -> TargetState | None:
        """The target with the lowest figure."""
        while self._heap:
            _, serial, target = self._heap[0]
            if self._latest.get(target) == serial:
                return target
            heapq.heappop(self._heap)
        return None
