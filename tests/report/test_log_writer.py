"""The thread of a log: nothing that its destination does holds up the caller, and nothing is lost that could be written."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.report import log_writer
from albkit.report.log_writer import LogWriter
from tests.support.logs import lines_of, until_in_thread


class Opened:
    """Writers that a test opens, and what they have counted as lost."""

    def __init__(self) -> None:
        self.lost = 0
        self.all: list[LogWriter] = []

    def count(self, lines: int) -> None:
        self.lost += lines

    def __call__(self, destination: Any, **settings: Any) -> LogWriter:
        def post(function: Callable[..., object], *arguments: object) -> None:
            function(*arguments)

        writer = LogWriter(alb.AccessLog(destination, **settings), self.count, post)
        self.all.append(writer)
        return writer


@pytest.fixture
def opened() -> Iterator[Opened]:
    """No thread may be left."""
    before = set(threading.enumerate())
    opened = Opened()
    yield opened
    for writer in opened.all:
        writer.close().result(10)
    until_in_thread(lambda: set(threading.enumerate()) <= before)


def _of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_lines_are_written_in_their_order_within_a_moment(tmp_path: Path, opened: Opened) -> None:
    """Without being asked, and before the end."""
    writer = opened(tmp_path / "a.log")
    writer.open().result(10)
    for number in range(5000):
        writer.write(f"line {number}")
    until_in_thread(lambda: not writer.waiting)
    assert lines_of(tmp_path / "a.log") == [f"line {number}" for number in range(5000)]
    writer.write("last")
    writer.close().result(10)
    assert lines_of(tmp_path / "a.log")[-1] == "last"
    assert opened.lost == 0


def test_lines_of_a_moment_are_written_together(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write for each line would cost more than the line."""
    writes: list[int] = []
    write = os.write

    def counted(fd: int, data: Any) -> int:
        writes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(log_writer, "_DELAY", 0.5)
    monkeypatch.setattr(os, "write", counted)
    writer = opened(tmp_path / "a.log")
    writer.open().result(10)
    for _ in range(900):
        writer.write("x" * 9)
    until_in_thread(lambda: not writer.waiting)
    assert writes == [9000]


def test_file_that_cannot_be_opened_is_reported_and_leaves_nothing(tmp_path: Path, opened: Opened) -> None:
    """The caller learns of it, and no thread stays."""
    writer = opened(tmp_path / "missing" / "a.log")
    with pytest.raises(FileNotFoundError):
        writer.open().result(10)
    until_in_thread(lambda: writer._thread is None)


def test_line_after_the_end_is_still_written(tmp_path: Path, opened: Opened) -> None:
    """A tunnel may outlive the configuration of its listener. No thread or file stays for it."""
    writer = opened(tmp_path / "a.log")
    writer.open().result(10)
    writer.write("1")
    writer.close().result(10)
    assert writer._thread is None
    writer.write("2")
    until_in_thread(lambda: writer._thread is None and not writer.waiting)
    assert lines_of(tmp_path / "a.log") == ["1", "2"]
    assert writer._file is not None
    assert writer._file._fd == -1


def test_every_line_is_in_a_file_while_another_program_rotates(tmp_path: Path, opened: Opened) -> None:
    """Renamed and reopened a hundred times under load: each line once, whole, in order."""
    path = tmp_path / "a.log"
    writer = opened(path)
    writer.open().result(10)
    count = 0
    for round_ in range(100):
        for _ in range(200):
            writer.write(f"line {count}")
            count += 1
        if path.exists():
            path.rename(tmp_path / f"old.{round_:03d}")
        writer.reopen()
        time.sleep(0.002)
    writer.close().result(10)
    files = [*sorted(tmp_path.glob("old.*")), path]
    assert [line for file in files for line in lines_of(file)] == [f"line {number}" for number in range(count)]


def test_every_line_is_in_a_file_while_it_rotates_itself(tmp_path: Path, opened: Opened) -> None:
    """By size, under load."""
    writer = opened(tmp_path / "a.log", rotate_size=4096, keep=1000)
    writer.open().result(10)
    for number in range(20_000):
        writer.write(f"line {number}")
    writer.close().result(10)
    rotated = sorted(tmp_path.glob("a.log.*"), key=lambda path: -int(path.suffix[1:]))
    assert len(rotated) > 10
    assert all(path.stat().st_size <= 4096 for path in rotated)
    assert [line for file in [*rotated, tmp_path / "a.log"] for line in lines_of(file)] == [f"line {number}" for number in range(20_000)]


def test_reopening_without_lines_happens_at_once(tmp_path: Path, opened: Opened) -> None:
    """The program that rotates may compress the old file."""
    path = tmp_path / "a.log"
    writer = opened(path)
    writer.open().result(10)
    path.rename(tmp_path / "b.log")
    writer.reopen()
    until_in_thread(path.exists)


# A destination that fails


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_told_once_and_lines_are_bounded(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """Lines wait up to the bound, then further ones are dropped and counted. At the end nothing hangs."""
    writer = opened("/dev/full", buffer_size=4096)
    writer.open().result(10)
    with caplog.at_level(logging.INFO, "albkit"):
        for _ in range(1000):
            writer.write("x" * 99)
        assert writer.waiting <= 4096
        assert opened.lost == 1000 - 40
        until_in_thread(lambda: any("cannot be written" in line for line in _of(caplog)))
        time.sleep(0.5)
        assert sum("cannot be written" in line for line in _of(caplog)) == 1
        assert sum("further lines are dropped" in line for line in _of(caplog)) == 1
        writer.close().result(10)
    assert opened.lost == 1000
    assert "No space left on device; free some space" in caplog.text


def test_vanished_folder_heals(tmp_path: Path, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """The lines of the meantime are written, and the log says that it works again."""
    path = tmp_path / "folder" / "a.log"
    path.parent.mkdir()
    writer = opened(path)
    writer.open().result(10)
    path.unlink()
    path.parent.rmdir()
    writer.write("1")
    until_in_thread(lambda: any("create its folder" in line for line in _of(caplog)))
    writer.write("2")
    path.parent.mkdir()
    until_in_thread(lambda: any("is written again" in line for line in _of(caplog)))
    until_in_thread(lambda: not writer.waiting)
    assert lines_of(path) == ["1", "2"]
    assert opened.lost == 0


def test_pipe_without_a_reader_is_no_obstacle_to_the_start(tmp_path: Path, opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """It is told once; the reader gets what has waited."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = opened(path)
    writer.open().result(10)
    writer.write("1")
    time.sleep(0.3)
    assert sum("start a program that reads the pipe" in line for line in _of(caplog)) == 1
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    until_in_thread(lambda: not writer.waiting)
    assert os.read(reader, 100) == b"1\n"
    os.close(reader)


def test_pipe_that_is_not_read_is_bounded_and_given_up(tmp_path: Path, opened: Opened) -> None:
    """A reader that stands still: the caller never waits."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = opened(path, buffer_size=100_000)
    writer.open().result(10)
    for _ in range(3000):
        writer.write("x" * 99)
    assert writer.waiting <= 100_000
    assert opened.lost > 0
    closing = writer.close()
    with pytest.raises(TimeoutError):
        closing.result(0.3)
    writer.give_up()
    closing.result(10)
    os.close(reader)


def test_dropping_ends_when_half_is_written(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """It says how many were lost."""
    may_go_on = threading.Event()
    got: list[str] = []

    def slow(line: str) -> None:
        may_go_on.wait(10)
        got.append(line)

    writer = opened(slow, buffer_size=4096)
    writer.open().result(10)
    for number in range(100):
        writer.write(f"{number:099d}")
    assert opened.lost == 60
    may_go_on.set()
    until_in_thread(lambda: not writer.waiting)
    writer.write("more")
    until_in_thread(lambda: got[-1] == "more")
    assert [int(line) for line in got[:-1]] == list(range(40))
    assert "has caught up; 60 lines were dropped" in caplog.text
    assert writer.waiting == 0


# Functions


def test_function_gets_one_line_at_a_time_in_the_thread_of_the_log(opened: Opened) -> None:
    """Without a line end, and in order."""
    got: list[tuple[str, str]] = []
    writer = opened(lambda line: got.append((line, threading.current_thread().name)))
    writer.open().result(10)
    for number in range(100):
        writer.write(str(number))
    writer.close().result(10)
    assert [line for line, _ in got] == [str(number) for number in range(100)]
    assert {name.startswith("albkit log") for _, name in got} == {True}


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=lambda error: type(error).__name__
)
def test_function_that_raises_loses_its_line_only(opened: Opened, caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """The line is counted, the error is logged at most once a second, and the next line comes."""
    got: list[str] = []

    def bad(line: str) -> None:
        if line == "bad":
            raise error
        got.append(line)

    writer = opened(bad)
    writer.open().result(10)
    for line in ("1", "bad", "2", "bad", "3"):
        writer.write(line)
    writer.close().result(10)
    assert got == ["1", "2", "3"]
    assert opened.lost == 2
    assert sum("the line is lost" in line for line in _of(caplog)) == 1


def test_function_that_hangs_never_holds_up_the_caller(opened: Opened, caplog: pytest.LogCaptureFixture) -> None:
    """The bound is reached; the end waits as long as the caller wants; then the thread ends as soon as the function returns."""
    may_go_on = threading.Event()
    writer = opened(lambda _: may_go_on.wait(10), buffer_size=4096)
    writer.open().result(10)
    for _ in range(200):
        writer.write("x" * 99)
    closing = writer.close()
    with pytest.raises(TimeoutError):
        closing.result(0.3)
    writer.give_up()
    assert "did not take its last lines in time" in caplog.text
    assert opened.lost >= 199
    before = opened.lost
    writer.write("late")
    assert opened.lost == before + 1
    may_go_on.set()
    closing.result(10)


def test_line_that_is_not_ascii_does_not_end_the_thread(tmp_path: Path, opened: Opened) -> None:
    """Formats escape everything; this is for what they should have missed."""
    writer = opened(tmp_path / "a.log")
    writer.open().result(10)
    writer.write("€\udcff")
    writer.write("2")
    writer.close().result(10)
    assert lines_of(tmp_path / "a.log") == ["\\u20ac\\udcff", "2"]
