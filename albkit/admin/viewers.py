"""The viewers of the live page: one delta per second for all of them, and nothing while there are none."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from albkit.admin.problem import Problem
from albkit.admin.state import State

__all__ = ("MOST_VIEWERS", "Viewers")

_log = logging.getLogger("albkit")

MOST_VIEWERS = 64
_INTERVAL = 1.0
"""Seconds between two deltas."""
_MOST_WAITING = 8
"""Deltas that may wait for a viewer. One that is further behind is dropped; its page connects again, and begins with the whole state."""

Chunks = Sequence[bytes]


class _Viewer:
    """What is to be sent to one viewer.

    Args:
        abort: Cuts its connection.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._waiting: deque[Chunks] = deque()
        self._changed = asyncio.Event()
        self._over = False

    def send(self, chunks: Chunks) -> bool:
        """Send a message, or cut the connection if too many wait; return whether it was kept."""
        if len(self._waiting) >= _MOST_WAITING:
            self._abort()
            return False
        self._waiting.append(chunks)
        self._changed.set()
        return True

    def end(self) -> None:
        """Let `messages` end with what is waiting."""
        self._over = True
        self._changed.set()

    async def messages(self) -> AsyncIterator[Chunks]:
        """The messages to send, each as soon as there is one."""
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._over:
                return
            self._changed.clear()
            await self._changed.wait()


class Viewers:
    """All viewers of one admin API.

    Args:
        state: What they see.
    """

    def __init__(self, state: State) -> None:
        self.dropped = 0
        self.rejected = 0
        self._state = state
        self._viewers: set[_Viewer] = set()
        self._entered = 0
        self._task: asyncio.Task[None] | None = None
        self._left = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return self._entered

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places for viewers.

        Raises:
            Problem: all are taken, or the admin API is being closed.
        """
        if self._closed:
            raise Problem(503, "the admin API is being closed")
        if self._entered >= MOST_VIEWERS:
            self.rejected += 1
            raise Problem(503, f"{MOST_VIEWERS} viewers are connected, which is the most; close one", headers={"Retry-After": "10"})
        self._entered += 1
        try:
            yield
        finally:
            self._entered -= 1
            self._left.set()

    async def follow(self, abort: Callable[[], None]) -> AsyncGenerator[Chunks, None]:
        """The messages for a viewer who has a place: the whole state, then a delta per second, and a farewell at the end.

        Args:
            abort: Cuts the connection. Called if the viewer does not read.
        """
        viewer = _Viewer(abort)
        try:
            async with self._state.lock:
                await self._state.refresh()
                if not self._viewers:
                    self._state.discard_changes()
                viewer.send([b"event: state\ndata: ", *await self._state.encoded(), b"\n\n"])
                self._viewers.add(viewer)
            if self._closed:
                viewer.end()
            elif self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._tell())
            async for chunks in viewer.messages():
                yield chunks
            yield [b"event: bye\ndata: {}\n\n"]
        finally:
            self._viewers.discard(viewer)
            if not self._viewers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _tell(self) -> None:
        """Send a delta to all viewers every second."""
        state = self._state
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + _INTERVAL, loop.time())
            await asyncio.sleep(due - loop.time())
            try:
                async with state.lock:
                    await state.refresh(at_once=True)
                    chunks = [b"event: delta\ndata: ", *await state.encoded_delta(), b"\n\n"]
                    for viewer in tuple(self._viewers):
                        self.dropped += not viewer.send(chunks)
                        # A turn for each of them: a delta of a megabyte takes a millisecond to write.
                        await asyncio.sleep(0)
            except Exception:  # noqa: BLE001 - a description that fails once must not end the stream for good
                _log.exception("the state of the admin API could not be read", extra={"albkit_event": "internal_error"})

    async def close(self, patience: float) -> None:
        """Say farewell to all viewers, and return when they have left.

        Args:
            patience: Seconds that this may take.
        """
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for viewer in self._viewers:
            viewer.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self._entered:
                    self._left.clear()
                    await self._left.wait()
