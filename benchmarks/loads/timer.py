"""A kernel timer (timerfd) that an event loop can wait for, accurate to a microsecond; the loop's own timers are accurate to a
millisecond."""

from __future__ import annotations

import ctypes
import os
from typing import Final

__all__ = ("Timer",)

_MONOTONIC: Final = 1
_NANOSECONDS: Final = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("first", _Time))


class Timer:
    """Becomes readable at a fixed interval. Reading returns how many intervals have passed since the last read.

    Args:
        interval: In nanoseconds.
    """

    def __init__(self, interval: int) -> None:
        self.descriptor = _checked(_libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        each = _Time(*divmod(interval, _NANOSECONDS))
        _checked(_libc.timerfd_settime(self.descriptor, 0, ctypes.byref(_Setting(each, each)), None))

    def passed(self) -> None:
        """Wait for the next interval."""
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self.descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
