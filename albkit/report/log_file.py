"""A file that lines are appended to: it survives rotation, full disks and folders that vanish. Only the thread of its log uses it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ("LogFile", "advice_for")

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
# Without it, opening a named pipe would block until a reader opens the other end.
_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
_MODE: Final = 0o640
_PAUSE_AFTER_FAILED_ROTATION: Final = 60.0


class LogFile:
    """One file, named pipe or device. No line is torn or lost when the file is replaced.

    Args:
        path: Its path.
        rotate_size: The size in bytes that the file must not exceed; `None` for no limit.
        rotate_interval: Seconds: a new file is begun at each multiple of it; `None` for never.
        keep: How many renamed files to keep.
        now: The time in seconds since 1970.
        say: Called with a warning that does not keep lines from being written.
    """

    __slots__ = (
        *("_at", "_data", "_failed", "_fd", "_identity", "_interval", "_is_old", "_is_regular", "_keep", "_now", "_path", "_period"),
        *("_reopen", "_rotate_after", "_rotate_size", "_say", "_size"),
    )

    def __init__(
        self,
        path: str,
        rotate_size: int | None,
        rotate_interval: float | None,
        keep: int,
        now: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._path = path
        self._rotate_size = rotate_size
        self._interval = rotate_interval
        self._keep = keep
        self._now = now
        self._say = say
        self._fd = -1
        self._identity = (0, 0)
        self._is_regular = False
        self._size = 0
        self._period = 0
        """Which multiple of the interval the lines in the file belong to."""
        self._reopen = False
        self._is_old = False
        """Whether the file could not be opened again, as was asked for, and the user knows."""
        self._failed = False
        """Whether the last write failed."""
        self._rotate_after = 0.0
        """No rotation is tried before this time, because one has failed."""
        self._data = b""
        self._at = 0
        """How much of `_data` has been written."""

    @property
    def is_pipe_without_reader(self) -> bool:
        """Whether the path is that of a named pipe, and the file is not open."""
        if self._fd >= 0:
            return False
        try:
            return stat.S_ISFIFO(Path(self._path).stat().st_mode)
        except OSError:
            return False

    @property
    def is_asked_to_reopen(self) -> bool:
        """Whether `reopen` was called, and has not happened yet."""
        return self._reopen

    def open(self) -> None:
        """Open the file, and create it if there is none.

        Raises:
            OSError: it cannot be opened. ENXIO if it is a named pipe that nobody reads.
        """
        if self._fd < 0:
            self._use(self._opened())

    def close(self) -> None:
        """Close the file. `open` or `write` opens it again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            # Some file systems report only here that a write has failed; the lines are lost then.
            with suppress(OSError):
                os.close(fd)

    def reopen(self) -> None:
        """Before the next line, open the file that has this path then."""
        self._reopen = True

    def write(self, lines: bytes) -> None:
        """Write whole lines, each with its line end.

        Raises:
            OSError: some lines are not written yet; call `resume` later. BlockingIOError: the reader of a named pipe is slow.
        """
        self._data, self._at = lines, 0
        self.resume()

    def resume(self) -> None:
        """Continue a `write` that has failed.

        Raises:
            OSError: as for `write`.
        """
        try:
            self._ensure_open()
            self._write_rest()
        except BlockingIOError:
            raise
        except OSError as error:
            self._failed = True
            if error.errno == errno.EPIPE:
                # The next reader of the pipe gets whole lines.
                self._at = self._line_start()
            raise
        self._failed = False
        self._data, self._at = b"", 0

    # Opening.

    def _opened(self) -> int:
        # The program may change its working directory later.
        self._path = os.path.abspath(self._path)  # noqa: PTH100 - Path.resolve() would follow links
        fd = os.open(self._path, _FLAGS | _NONBLOCK, _MODE)
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):  # Not reached on Linux, where open(2) fails.
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _use(self, fd: int) -> None:
        """Write to another file from now on."""
        self.close()
        found = os.fstat(fd)
        self._fd = fd
        self._identity = found.st_dev, found.st_ino
        self._is_regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size
        if self._interval is not None:
            # A file of an earlier run is as old as its last line.
            self._period = int((found.st_mtime if self._size else self._now()) // self._interval)

    def _ensure_open(self) -> None:
        # Before the file is opened: a request that comes meanwhile must not be forgotten.
        wanted, self._reopen = self._reopen, False
        if self._fd < 0:
            self._use(self._opened())
            self._at = self._line_start()
        elif self._is_removed() or self._failed or wanted:
            self._replace()

    def _is_removed(self) -> bool:
        """Whether the file has no name any more. Also updates its size, to which other processes may have added."""
        found = os.fstat(self._fd)
        self._size = found.st_size
        return self._is_regular and found.st_nlink == 0

    def _replace(self) -> None:
        """Open the file that has the path now. The old one stays open if it is the same."""
        try:
            fd = self._opened()
        except OSError as error:
            if self._failed or self._is_removed():
                raise
            self._reopen = True  # With the next lines.
            if not self._is_old:
                self._is_old = True
                self._say(f"it cannot be opened again, so the file that is open stays in use: {error.strerror}; {advice_for(error)}")
            return
        self._is_old = False
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) == self._identity:
            os.close(fd)
        else:
            self._use(fd)
            # A line that was written in part is written again, in full.
            self._at = self._line_start()

    # Writing.

    def _line_start(self) -> int:
        """Where the line begins that was written in part."""
        return self._data.rfind(b"\n", 0, self._at) + 1

    def _write_rest(self) -> None:
        view = memoryview(self._data)
        while self._at < len(self._data):
            end = self._end_of_chunk() if self._is_regular else len(self._data)
            written = os.write(self._fd, view[self._at : end])
            self._at += written
            self._size += written

    def _end_of_chunk(self) -> int:
        """Rotate if it is time, and return how far the data may be written to the file that is open then."""
        data, at = self._data, self._at
        if self._rotate_size is None and self._interval is None:
            return len(data)
        if at != self._line_start():
            return data.find(b"\n", at) + 1
        now = self._now()
        if now < self._rotate_after:
            return len(data)
        if self._interval is not None and self._period != int(now // self._interval):
            if self._size and not self._rotate(now):
                return len(data)
            self._period = int(now // self._interval)
        if self._rotate_size is None or self._size + len(data) - at <= self._rotate_size:
            return len(data)
        end = data.rfind(b"\n", at, max(at, at + self._rotate_size - self._size)) + 1
        if end <= at and self._size:
            if not self._rotate(now):
                return len(data)
            end = data.rfind(b"\n", at, at + self._rotate_size) + 1
        # A line that is larger than the limit gets a file of its own.
        return end if end > at else data.find(b"\n", at) + 1

    def _rotate(self, now: float) -> bool:
        """Rename the file and open a new one. Return whether that has succeeded."""
        # Where the file is, and not a link to it, so that the link leads to the new file.
        path = Path(self._path).resolve()
        try:
            found = path.stat()
            if (found.st_dev, found.st_ino) == self._identity:
                self._shift(path)
        except OSError as error:
            # Another program has removed or renamed it.
            if error.errno != errno.ENOENT:
                self._rotate_after = now + _PAUSE_AFTER_FAILED_ROTATION
                self._say(f"it cannot be rotated, and grows: {error.strerror}; permit this process to rename files in its folder")
                return False
        mode = stat.S_IMODE(os.fstat(self._fd).st_mode)
        fd = self._opened()
        with suppress(OSError):
            # A file that was created with other permissions keeps them.
            if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
                os.fchmod(fd, mode)
        self._use(fd)
        return True

    def _shift(self, path: Path) -> None:
        """Rename `path` to `path.1`, `path.1` to `path.2` and so on, and delete those that are not kept."""
        prefix = path.name + "."
        endings = [entry.name[len(prefix) :] for entry in os.scandir(path.parent) if entry.name.startswith(prefix)]
        numbers = {int(ending) for ending in endings if ending.isdecimal() and ending == str(int(ending))}

        def numbered(number: int) -> Path:
            return path.with_name(f"{prefix}{number}")

        for number in numbers:
            if number >= self._keep:
                numbered(number).unlink()
        free = next(number for number in range(1, self._keep + 1) if number not in numbers or number == self._keep)
        for number in range(free, 1, -1):
            numbered(number - 1).replace(numbered(number))
        path.replace(numbered(1))


_ADVICE: Final = {
    errno.ENOENT: "create its folder, or give another path",
    errno.ENOTDIR: "a part of the path is not a folder; give another path",
    errno.EISDIR: "it is a folder; add the name of a file",
    errno.EACCES: "permit this process to write there, or give another path",
    errno.EPERM: "permit this process to write there, or give another path",
    errno.EROFS: "the file system is read-only; give another path",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or raise the quota",
    errno.EFBIG: "the file has reached the largest size that is allowed; rotate it",
    errno.EPIPE: "start a program that reads the pipe",
    errno.ENXIO: "start a program that reads the pipe, or give the path of a file",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "its links form a loop; give another path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files of the system",
}


def advice_for(error: OSError) -> str:
    """Say what a user can do about an error of a log's file."""
    return _ADVICE.get(error.errno or 0, "check the file system, or give another path")
