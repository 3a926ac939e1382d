"""The file of a log: opened, rotated and replaced without a torn or lost line."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from albkit.report.log_file import LogFile, advice_for


class _Now:
    def __init__(self) -> None:
        self.time = 86400.0 * 20000

    def __call__(self) -> float:
        return self.time


def _file(path: Path, said: list[str] | None = None, now: Any = None, **settings: Any) -> LogFile:
    arguments = {"rotate_size": None, "rotate_interval": None, "keep": 10} | settings
    return LogFile(str(path), now=now or _Now(), say=(said if said is not None else []).append, **arguments)


def _lines(path: Path) -> list[str]:
    text = path.read_text("ascii")
    assert text.endswith("\n") or not text
    return text.splitlines()


def test_file_is_created_for_owner_and_group_and_appended_to(tmp_path: Path) -> None:
    """0o640 at most, and nothing that was there is lost. Programs that this one starts do not inherit it."""
    path = tmp_path / "a.log"
    before = os.umask(0)
    try:
        file = _file(path)
        file.open()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert not os.get_inheritable(file._fd)
    file.write(b"1\n")
    file.close()
    again = _file(path)
    again.write(b"2\n3\n")
    again.close()
    assert _lines(path) == ["1", "2", "3"]


def test_renamed_file_is_used_until_reopen_is_asked_for(tmp_path: Path) -> None:
    """As log rotation by another program expects."""
    path = tmp_path / "a.log"
    file = _file(path)
    file.write(b"1\n")
    path.rename(tmp_path / "b.log")
    file.write(b"2\n")
    assert not path.exists()
    file.reopen()
    file.write(b"3\n")
    file.close()
    assert (_lines(tmp_path / "b.log"), _lines(path)) == (["1", "2"], ["3"])


def test_reopening_the_same_file_keeps_it(tmp_path: Path) -> None:
    """SIGUSR1 without a rotation."""
    file = _file(tmp_path / "a.log")
    file.write(b"1\n")
    descriptor = file._fd
    file.reopen()
    file.write(b"2\n")
    assert file._fd == descriptor
    file.close()
    assert _lines(tmp_path / "a.log") == ["1", "2"]


def test_file_that_cannot_be_opened_again_stays_in_use_and_it_is_told_once(tmp_path: Path) -> None:
    """No line is lost because a folder has lost its permissions, or has a folder in place of the file."""
    path, said = tmp_path / "a.log", list[str]()
    file = _file(path, said)
    file.write(b"1\n")
    path.rename(tmp_path / "b.log")
    path.mkdir()
    file.reopen()
    for line in (b"2\n", b"3\n"):
        file.write(line)
    assert len(said) == 1
    assert "the file that is open stays in use" in said[0]
    path.rmdir()
    file.write(b"4\n")
    file.close()
    assert (_lines(tmp_path / "b.log"), _lines(path)) == (["1", "2", "3"], ["4"])


def test_removed_file_is_created_again(tmp_path: Path) -> None:
    """Lines would go nowhere."""
    path = tmp_path / "a.log"
    file = _file(path)
    file.write(b"1\n")
    path.unlink()
    file.write(b"2\n")
    file.close()
    assert _lines(path) == ["2"]


def test_vanished_folder_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    """Each attempt tries to create the file again."""
    path = tmp_path / "folder" / "a.log"
    path.parent.mkdir()
    file = _file(path)
    file.write(b"1\n")
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(FileNotFoundError):
        file.write(b"2\n")
    with pytest.raises(FileNotFoundError):
        file.resume()
    path.parent.mkdir()
    file.resume()
    file.close()
    assert _lines(path) == ["2"]


class _Disk:
    """`os.write` that takes only so many bytes, then fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, error: int = errno.ENOSPC) -> None:
        self.room = room
        self._write = os.write
        self._error = error
        monkeypatch.setattr(os, "write", self._limited)

    def _limited(self, fd: int, data: Any) -> int:
        if not self.room:
            raise OSError(self._error, os.strerror(self._error))
        size = min(self.room, len(data))
        self.room -= size
        return self._write(fd, data[:size])


@pytest.mark.parametrize("room", range(9))
def test_line_that_was_written_in_part_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The disk is full after any byte, then not any more."""
    path = tmp_path / "a.log"
    file = _file(path)
    file.open()
    disk = _Disk(monkeypatch, room)
    with pytest.raises(OSError, match="No space"):
        file.write(b"abc\ndefg\n")
    disk.room = 100
    file.resume()
    file.write(b"h\n")
    file.close()
    assert _lines(path) == ["abc", "defg", "h"]


@pytest.mark.parametrize("room", range(9))
def test_line_that_was_written_in_part_is_written_again_to_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Another program renamed the file while the disk was full."""
    path = tmp_path / "a.log"
    file = _file(path)
    file.open()
    disk = _Disk(monkeypatch, room, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        file.write(b"abc\ndefg\n")
    path.rename(tmp_path / "b.log")
    disk.room = 100
    file.resume()
    file.close()
    whole = [line for line in (tmp_path / "b.log").read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert [*(line.strip() for line in whole), *_lines(path)] == ["abc", "defg"]


def test_partial_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """write(2) may take less than it is given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    file = _file(tmp_path / "a.log")
    file.write(b"abcdefg\nhi\n")
    file.close()
    assert _lines(tmp_path / "a.log") == ["abcdefg", "hi"]


# Rotation


def _names(folder: Path) -> dict[str, list[str]]:
    return {path.name: _lines(path) for path in sorted(folder.iterdir())}


def test_file_is_rotated_by_size_between_lines(tmp_path: Path) -> None:
    """No file is larger than the limit, no line is in two files, and the oldest are deleted."""
    file = _file(tmp_path / "a.log", rotate_size=10, keep=2)
    file.write(b"".join(b"%04d\n" % number for number in range(5)))
    for number in range(5, 9):
        file.write(b"%04d\n" % number)
    file.close()
    assert _names(tmp_path) == {"a.log": ["0008"], "a.log.1": ["0006", "0007"], "a.log.2": ["0004", "0005"]}


def test_line_that_is_larger_than_the_limit_gets_a_file_of_its_own(tmp_path: Path) -> None:
    """It is not cut."""
    file = _file(tmp_path / "a.log", rotate_size=10)
    file.write(b"1\n" + b"x" * 30 + b"\n2\n")
    file.close()
    assert _names(tmp_path) == {"a.log": ["2"], "a.log.1": ["x" * 30], "a.log.2": ["1"]}


def test_size_includes_what_was_there(tmp_path: Path) -> None:
    """Of an earlier run, or from another process."""
    path = tmp_path / "a.log"
    path.write_text("12345678\n")
    file = _file(path, rotate_size=10)
    file.write(b"9\n")
    with path.open("a") as other:
        other.write("other 1\n")
    file.write(b"10\n")
    file.close()
    assert _names(tmp_path) == {"a.log": ["10"], "a.log.1": ["9", "other 1"], "a.log.2": ["12345678"]}


def test_file_is_rotated_at_each_multiple_of_the_interval(tmp_path: Path) -> None:
    """At midnight for a day, if something is to be written; files without lines are not kept."""
    now = _Now()
    file = _file(tmp_path / "a.log", now=now, rotate_interval=86400.0)
    file.write(b"1\n")
    now.time += 86399
    file.write(b"2\n")
    now.time += 1
    file.write(b"3\n")
    now.time += 10 * 86400
    file.write(b"4\n")
    file.close()
    assert _names(tmp_path) == {"a.log": ["4"], "a.log.1": ["3"], "a.log.2": ["1", "2"]}


def test_file_of_yesterday_is_rotated_after_a_start(tmp_path: Path) -> None:
    """Its age is that of its last line."""
    now, path = _Now(), tmp_path / "a.log"
    path.write_text("1\n")
    os.utime(path, (now.time - 10, now.time - 10))
    file = _file(path, now=now, rotate_interval=86400.0)
    file.write(b"2\n")
    file.close()
    assert _names(tmp_path) == {"a.log": ["2"], "a.log.1": ["1"]}


def test_only_files_that_a_rotation_has_named_are_touched(tmp_path: Path) -> None:
    """Gaps are used up first, and names that only look alike stay."""
    for name in ("a.log.2", "a.log.01", "a.log.x", "a.log.1.gz", "b.log.1", "a.log.9"):
        (tmp_path / name).write_text(f"{name}\n")
    file = _file(tmp_path / "a.log", rotate_size=2, keep=4)
    file.write(b"1\n2\n")
    file.close()
    names = _names(tmp_path)
    assert {"a.log.01", "a.log.x", "a.log.1.gz", "b.log.1"} < set(names)
    assert "a.log.9" not in names
    assert (names["a.log"], names["a.log.1"], names["a.log.2"]) == (["2"], ["1"], ["a.log.2"])


def test_rotated_file_keeps_its_permissions(tmp_path: Path) -> None:
    """An administrator has created it for a program that collects logs."""
    path = tmp_path / "a.log"
    path.touch()
    path.chmod(0o604)
    file = _file(path, rotate_size=2)
    file.write(b"1\n2\n")
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_link_leads_to_the_new_file_after_a_rotation(tmp_path: Path) -> None:
    """The file is renamed where it is."""
    (tmp_path / "real").mkdir()
    (tmp_path / "a.log").symlink_to(tmp_path / "real" / "b.log")
    file = _file(tmp_path / "a.log", rotate_size=2)
    file.write(b"1\n2\n")
    file.close()
    assert _names(tmp_path / "real") == {"b.log": ["2"], "b.log.1": ["1"]}
    assert (tmp_path / "a.log").is_symlink()


def test_file_that_another_program_rotated_is_not_renamed(tmp_path: Path) -> None:
    """Its new file would be renamed instead."""
    path = tmp_path / "a.log"
    file = _file(path, rotate_size=4)
    file.write(b"1\n2\n")
    path.rename(tmp_path / "old.log")
    path.write_text("new\n")
    file.write(b"3\n")
    file.close()
    assert _names(tmp_path) == {"a.log": ["new", "3"], "old.log": ["1", "2"]}


def test_file_that_cannot_be_rotated_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told once a minute at most, with what to do; no line is lost."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    said, now = list[str](), _Now()
    file = _file(tmp_path / "a.log", said, now, rotate_size=2)
    file.write(b"1\n")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", refused)
        file.write(b"2\n3\n")
        file.write(b"4\n")
    assert said == ["it cannot be rotated, and grows: Permission denied; permit this process to rename files in its folder"]
    now.time += 61
    file.write(b"5\n")
    file.close()
    assert _names(tmp_path) == {"a.log": ["5"], "a.log.1": ["1", "2", "3", "4"]}


def test_device_is_never_rotated(tmp_path: Path) -> None:
    """Only regular files are."""
    file = _file(Path(os.devnull), rotate_size=2)
    file.write(b"1\n2\n3\n")
    file.close()
    assert list(tmp_path.iterdir()) == []
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


# Named pipes


def test_pipe_without_a_reader_does_not_block(tmp_path: Path) -> None:
    """It is an error that the arrival of a reader ends."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    file = _file(path)
    with pytest.raises(OSError, match="No such device") as raised:
        file.open()
    assert raised.value.errno == errno.ENXIO
    assert file.is_pipe_without_reader
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file.write(b"1\n")
    assert os.read(reader, 10) == b"1\n"
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        file.write(b"2\n")
    with pytest.raises(OSError, match="No such device"):
        file.resume()
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file.resume()
    assert os.read(reader, 10) == b"2\n"
    os.close(reader)
    file.close()


def test_pipe_that_is_full_is_continued_where_it_stopped(tmp_path: Path) -> None:
    """A slow reader gets every byte."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = _file(path)
    data = b"".join(b"%06d\n" % number for number in range(30_000))
    got = b""
    try:
        file.write(data)
    except BlockingIOError:
        while len(got) < len(data):
            got += os.read(reader, 65536)
            try:
                file.resume()
            except BlockingIOError:
                continue
    assert got == data
    os.close(reader)
    file.close()


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES, errno.ENOSPC, errno.ENXIO, errno.EIO, 0])
def test_every_error_has_advice(code: int) -> None:
    """What a user can do."""
    assert advice_for(OSError(code, "x"))
