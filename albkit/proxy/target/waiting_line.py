"""The queue of requests that wait, first come, first served, while every target has as many as it takes (`max_concurrency`)."""

from __future__ import annotations

import asyncio

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.downstream import DownstreamExchange
from albkit.state.counters import Counters
from albkit.state.target import TargetState

__all__ = ("WaitingLine",)


class _Place:
    """One waiting request. It is the `upstream` of its client meanwhile, and always active: a long wait is not a silent target."""

    __slots__ = ("expired", "turn")

    def __init__(self) -> None:
        self.turn: asyncio.Future[object] | None = None
        self.expired = False

    @property
    def active(self) -> bool:
        return True

    @active.setter
    def active(self, _: bool) -> None: ...

    @property
    def is_full(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def read_in_small_chunks(self) -> None: ...

    def wake(self) -> bool:
        """Wake the request, so that it tries to get a target; `False` if it was woken already."""
        if self.turn is None or self.turn.done():
            return False
        self.turn.set_result(None)
        return True

    def expire(self) -> None:
        """Wake the request, because it has waited as long as it may."""
        self.expired = True
        self.wake()


class WaitingLine:
    """The queue of one target group. A request that comes while others wait queues up behind them, even if a target has room."""

    def __init__(self, choice: TargetChoice, loop: asyncio.AbstractEventLoop, counters: Counters) -> None:
        self._choice = choice
        self._loop = loop
        self._counters = counters
        self._places: dict[_Place, None] = {}

    async def wait(self, client: DownstreamExchange, request: RequestHead) -> TargetState:
        """Wait for a target with room, until it is this request's turn.

        Raises:
            Failure: 503, the queue is full, the wait was too long, or no target is left; or the client left.
        """
        choice = self._choice
        group = choice.group.group
        if len(self._places) >= group.waiting_line:
            choice.group.counters.request_rejected()
            raise Failure(FailureKind.WAITING_LINE_FULL, f"{group.name}, {len(self._places)} wait")
        place = _Place()
        self._places[place] = None
        client.upstream = place
        self._counters.waiting_began()
        timer = self._loop.call_later(group.waiting_timeout, place.expire)
        try:
            while True:
                self._watch_room()
                place.turn = client.wait()
                await place.turn
                member = choice.pick(request, in_turn=True)
                if member is not None:
                    return member
                if not choice.group.eligible:
                    raise Failure(FailureKind.NO_TARGETS, group.name)
                if place.expired:
                    choice.group.counters.request_rejected()
                    raise Failure(FailureKind.WAITED_TOO_LONG, f"{group.name}, {group.waiting_timeout:g} s")
        finally:
            timer.cancel()
            client.upstream = None
            self._counters.waiting_ended()
            del self._places[place]
            self._watch_room()
            # There may be room for more than one. And if this request leaves without a target, the next one must get its turn.
            self._wake_next()

    def _watch_room(self) -> None:
        """Register `_wake_next` to run when a target has room. While requests wait, later ones must queue behind them."""
        room = self._choice.room
        if room is not None:
            room.freed = self._wake_next
            room.is_awaited = bool(self._places)

    def _wake_next(self) -> None:
        for place in self._places:
            if place.wake():
                return
