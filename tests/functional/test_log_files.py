"""Which logs are open over the life of a load balancer, and what becomes of it if one of them cannot be written."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from albkit.report.log_writer import LogWriter
from tests.support.balancing import balancing, group_of, listener
from tests.support.logs import Lines, alb_fields, lines_of, until
from tests.support.peers import RawClient, free_port, request, target
from tests.support.tunnels import echo, gone, switching, upgraded


@pytest.fixture(autouse=True)
async def no_thread_is_left() -> AsyncIterator[None]:
    """The threads of logs end with their load balancer."""
    before = set(threading.enumerate())
    yield
    await until(lambda: not {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("albkit log")})


def paths_of(*logs: Path) -> list[list[str]]:
    """The paths of the requests in some logs."""
    return [[alb_fields(line)["request"].split()[1].split("/", 3)[3] for line in lines_of(log)] for log in logs]


async def ask(it: Any, path: str, place: int = 0) -> None:
    client = await it.client_of(place)
    await client.get(path)


def open_files(folder: Path) -> int:
    """How many descriptors of this process lead into a folder."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(descriptor.readlink()).startswith(str(folder))
    return found


async def test_log_of_a_listener_wins_over_that_of_the_load_balancer(tmp_path: Path) -> None:
    """And `False` is none at all."""
    common, own = tmp_path / "common.log", tmp_path / "own.log"
    doors = [listener(alb.FixedResponse(200)), listener(alb.FixedResponse(200), access_log=alb.AccessLog(own))]
    doors.append(listener(alb.FixedResponse(200), access_log=False))
    async with balancing(*doors, access_log=alb.AccessLog(common)) as it:
        for place, path in enumerate(("/a", "/b", "/c")):
            await ask(it, path, place)
    assert paths_of(common, own) == [["a"], ["b"]]
    assert open_files(tmp_path) == 0


async def test_listeners_with_the_same_file_share_it(tmp_path: Path) -> None:
    """One writer, so that lines and rotations cannot get in each other's way; the formats may differ."""
    path = tmp_path / "a.log"
    doors = [listener(alb.FixedResponse(200), access_log=alb.AccessLog(path, kind)) for kind in ("alb", "json")]
    async with balancing(*doors) as it:
        await ask(it, "/a", 0)
        await ask(it, "/b", 1)
        await until(lambda: len(lines_of(path)) == 2)
        assert open_files(tmp_path) == 1
    first, second = lines_of(path)
    assert (first[:5], second[:5]) == ("http ", '{"typ')


async def test_last_lines_are_written_before_the_stop_returns(tmp_path: Path) -> None:
    """Those of exchanges and tunnels that the stop itself ends, too."""
    path = tmp_path / "a.log"
    async with target(switching(then=echo)) as origin, balancing(listener(group_of(origin.address)), access_log=alb.AccessLog(path)) as it:
        await upgraded(it)
    assert paths_of(path) == [["ws"]]


async def test_stop_and_start_open_the_log_again(tmp_path: Path) -> None:
    """The same load balancer, the same file."""
    path = tmp_path / "a.log"
    it = alb.LoadBalancer(listener(alb.FixedResponse(200)), access_log=alb.AccessLog(path))
    for name in ("/a", "/b"):
        async with it:
            client = await RawClient.connect(it.listeners[0].port)
            await client.get(name)
            await client.close()
        assert open_files(tmp_path) == 0
    assert paths_of(path) == [["a", "b"]]


async def test_every_file_that_cannot_be_opened_is_a_fault_and_nothing_stays_open(tmp_path: Path) -> None:
    """With the path of its setting, and what to do. The ports are not opened."""
    port = free_port()
    doors = [
        alb.Listener(port, alb.FixedResponse(200), host="127.0.0.1"),
        listener(alb.FixedResponse(200), access_log=alb.AccessLog(tmp_path)),
        listener(alb.FixedResponse(200), access_log=alb.AccessLog(tmp_path / "good.log")),
    ]
    it = alb.LoadBalancer(doors, access_log=alb.AccessLog(tmp_path / "missing" / "a.log"))
    for _ in range(2):
        with pytest.raises(alb.ConfigurationError) as raised:
            await it.start()
        assert list(raised.value.faults) == [
            f"access_log: '{tmp_path}/missing/a.log' cannot be opened: No such file or directory; create its folder, or give another path",
            f"listeners[1].access_log: '{tmp_path}' cannot be opened: Is a directory; it is a folder; add the name of a file",
        ]
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await RawClient.connect(port)
        assert open_files(tmp_path) == 0
    (tmp_path / "missing").mkdir()
    it = alb.LoadBalancer(doors[0], access_log=alb.AccessLog(tmp_path / "missing" / "a.log"))
    async with it:
        pass


async def test_port_that_cannot_be_opened_closes_the_logs(tmp_path: Path) -> None:
    """A start that fails leaves nothing."""
    async with balancing(listener(alb.FixedResponse(200))) as other:
        it = alb.LoadBalancer(
            alb.Listener(other.port, alb.FixedResponse(200), host="127.0.0.1"), access_log=alb.AccessLog(tmp_path / "a.log")
        )
        with pytest.raises(OSError, match="in use"):
            await it.start()
        assert open_files(tmp_path) == 0


async def test_start_that_is_cancelled_while_a_log_opens_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that hangs holds up neither the loop nor the cancellation for long."""
    may_open = threading.Event()
    opening = threading.Event()
    original = os.open

    def slow(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).startswith(str(tmp_path)):
            opening.set()
            may_open.wait(10)
        return original(path, *arguments, **more)

    monkeypatch.setattr(os, "open", slow)
    it = alb.LoadBalancer(listener(alb.FixedResponse(200)), access_log=alb.AccessLog(tmp_path / "a.log"))
    starting = asyncio.ensure_future(it.start())
    await until(opening.is_set)
    starting.cancel()
    await asyncio.sleep(0)
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await until(lambda: open_files(tmp_path) == 0)
    async with it:
        pass


# apply


async def test_apply_leaves_a_log_that_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not reopened: another program may just have renamed it. What is new is opened, what is no longer used is closed."""
    kept, old, new = (tmp_path / name for name in ("kept.log", "old.log", "new.log"))
    opened: list[str] = []
    original = LogWriter.open

    def noted(self: LogWriter) -> Any:
        opened.append(Path(self.name).name)
        return original(self)

    monkeypatch.setattr(LogWriter, "open", noted)

    def doors(status: int, second: Path) -> list[alb.Listener]:
        return [
            listener(alb.FixedResponse(status), access_log=alb.AccessLog(kept), name="a"),
            listener(alb.FixedResponse(200), access_log=alb.AccessLog(second), name="b"),
        ]

    async with balancing(*doors(200, old)) as it:
        await ask(it, "/1")
        await ask(it, "/2", 1)
        await it.load_balancer.apply(doors(201, new))
        await ask(it, "/3")
        await ask(it, "/4", 1)
        await until(lambda: len(lines_of(new)) == 1)
        assert open_files(tmp_path) == 2
    assert opened == ["kept.log", "old.log", "new.log"]
    assert paths_of(kept, old, new) == [["1", "3"], ["2"], ["4"]]


async def test_apply_switches_a_log_on_and_off(tmp_path: Path) -> None:
    """For connections that are open already, too."""
    path = tmp_path / "a.log"

    def door(log: Any) -> alb.Listener:
        return listener(alb.FixedResponse(200), access_log=log, name="a")

    async with balancing(door(None)) as it:
        client = await it.client()
        for number, log in enumerate((None, alb.AccessLog(path), False, alb.AccessLog(path, keep=3))):
            await it.load_balancer.apply(door(log))
            await client.get(f"/{number}")
    assert paths_of(path) == [["1", "3"]]
    # An id is given to a connection when it is accepted.
    assert {alb_fields(line)["conn_trace_id"] for line in lines_of(path)} == {"-"}


async def test_apply_with_a_log_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    """All logs are as before."""
    path = tmp_path / "a.log"

    def doors(log: Path) -> list[alb.Listener]:
        return [
            listener(alb.FixedResponse(200), access_log=alb.AccessLog(path), name="a"),
            listener(alb.FixedResponse(200), access_log=alb.AccessLog(log), name="b"),
            listener(alb.FixedResponse(200), access_log=alb.AccessLog(tmp_path / f"{log.name}.more"), name="c"),
        ]

    async with balancing(*doors(tmp_path / "b.log")) as it:
        with pytest.raises(alb.ConfigurationError, match=r"listeners\[1\].access_log: .*missing.*create its folder"):
            await it.load_balancer.apply(doors(tmp_path / "missing" / "b.log"))
        assert open_files(tmp_path) == 3
        await ask(it, "/1")
    assert paths_of(path) == [["1"]]


async def test_apply_that_fails_later_closes_the_new_logs(tmp_path: Path) -> None:
    """A port is in use."""
    async with balancing(listener(alb.FixedResponse(200))) as other, balancing(listener(alb.FixedResponse(200), name="a")) as it:
        new = alb.Listener(other.port, alb.FixedResponse(200), host="127.0.0.1", access_log=alb.AccessLog(tmp_path / "a.log"))
        with pytest.raises(OSError, match="in use"):
            await it.load_balancer.apply([listener(alb.FixedResponse(200), name="a"), new])
        assert open_files(tmp_path) == 0


async def test_tunnel_of_a_listener_that_is_gone_is_logged(tmp_path: Path) -> None:
    """In the file of its time, which is closed again after that."""
    path = tmp_path / "a.log"
    async with (
        target(switching(then=echo)) as origin,
        balancing(listener(group_of(origin.address), name="a", access_log=alb.AccessLog(path))) as it,
    ):
        client = await upgraded(it)
        await it.load_balancer.apply(listener(group_of(origin.address), name="b"))
        assert open_files(tmp_path) == 0
        await client.close()
        await gone(it)
        await until(lambda: lines_of(path))
        await until(lambda: open_files(tmp_path) == 0)
    assert paths_of(path) == [["ws"]]


async def test_apply_changes_the_rotation_of_a_file(tmp_path: Path) -> None:
    """From the next line on."""
    path = tmp_path / "a.log"

    def door(**rotation: Any) -> alb.Listener:
        return listener(alb.FixedResponse(200), access_log=alb.AccessLog(path, **rotation), name="a")

    async with balancing(door()) as it:
        client = await it.client()
        for _ in range(6):
            await client.get("/")
        await until(lambda: len(lines_of(path)) == 6)
        await it.load_balancer.apply(door(rotate_size=1024))
        await client.get("/")
        await until(lambda: len(lines_of(path)) == 1)
        assert open_files(tmp_path) == 1
    assert len(lines_of(tmp_path / "a.log.1")) == 6


# Reopening


async def test_reopen_logs_after_another_program_has_renamed_them(tmp_path: Path) -> None:
    """As logrotate does it. Each request is in one of the files."""
    path, old = tmp_path / "a.log", tmp_path / "old.log"
    it = alb.LoadBalancer(listener(alb.FixedResponse(200)), access_log=alb.AccessLog(path))
    it.reopen_logs()  # Not running: nothing to do.
    async with it:
        client = await RawClient.connect(it.listeners[0].port)
        await client.get("/1")
        await until(lambda: lines_of(path))
        path.rename(old)
        await client.get("/2")
        await until(lambda: len(lines_of(old)) == 2)
        it.reopen_logs()
        await until(path.exists)
        await client.get("/3")
        await client.close()
    assert paths_of(old, path) == [["1", "2"], ["3"]]


_PROGRAM = """
import sys
import albkit as alb
alb.run(alb.Listener(0, alb.FixedResponse(200), host="127.0.0.1"), access_log=alb.AccessLog(sys.argv[1]))
"""


async def test_program_reopens_its_logs_on_sigusr1(tmp_path: Path) -> None:
    """Also at once after the start, and without ending."""
    path, old = tmp_path / "a.log", tmp_path / "old.log"
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", _PROGRAM, str(path)), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        said = (await asyncio.wait_for(program.stdout.readline(), 30)).decode()
        client = await RawClient.connect(int(said.rpartition(":")[2]))
        await client.get("/1")
        await until(lambda: lines_of(path))
        path.rename(old)
        program.send_signal(signal.SIGUSR1)
        await until(path.exists)
        await client.get("/2")
        await client.close()
        program.terminate()
        _, errors = await asyncio.wait_for(program.communicate(), 30)
        assert (program.returncode, errors) == (0, b"")
    finally:
        with contextlib.suppress(ProcessLookupError):
            program.kill()
        await program.wait()
    assert paths_of(old, path) == [["1"], ["2"]]


# Destinations that fail


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
async def test_full_disk_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Requests are answered, lines are dropped and counted, the stop is soon over."""
    log = alb.AccessLog("/dev/full", buffer_size=4096)
    async with balancing(listener(alb.FixedResponse(200)), access_log=log) as it:
        client = await it.client()
        for _ in range(100):
            assert (await client.get("/")).status == 200
        assert it.load_balancer.counters["LogLinesDroppedCount"] > 50
        await until(lambda: "cannot be written: No space left on device" in caplog.text)
    assert it.load_balancer.counters["LogLinesDroppedCount"] == 100
    assert caplog.text.count("cannot be written") == 1


async def test_function_that_hangs_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The stop waits for it for a bounded time."""
    may_go_on = threading.Event()
    async with balancing(listener(alb.FixedResponse(200)), access_log=alb.AccessLog(lambda _: may_go_on.wait(20))) as it:
        client = await it.client()
        for _ in range(50):
            assert (await client.get("/")).status == 200
        before = asyncio.get_running_loop().time()
        await client.close()
    assert asyncio.get_running_loop().time() - before < 10
    assert "did not take its last lines in time" in caplog.text
    assert it.load_balancer.counters["LogLinesDroppedCount"] >= 49
    may_go_on.set()


async def test_function_that_raises_loses_its_lines_only(caplog: pytest.LogCaptureFixture) -> None:
    """Each is counted; the error is logged once a second at most."""

    def broken(_: str) -> None:
        raise ValueError("no")

    async with balancing(listener(alb.FixedResponse(200)), access_log=alb.AccessLog(broken)) as it:
        client = await it.client()
        for _ in range(20):
            assert (await client.get("/")).status == 200
        await until(lambda: it.load_balancer.counters["LogLinesDroppedCount"] == 20)
    assert [record.levelno for record in caplog.records if "the line is lost" in record.getMessage()] == [logging.ERROR]


async def test_pipe_without_a_reader_holds_up_nothing(tmp_path: Path) -> None:
    """Not even the start; a reader that comes gets the lines."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with balancing(listener(alb.FixedResponse(200)), access_log=alb.AccessLog(path)) as it:
        client = await it.client()
        client.send(request("GET", "/a"))
        assert (await client.response()).status == 200
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        got: list[bytes] = []

        def has_line() -> bool:
            with contextlib.suppress(BlockingIOError):
                got.append(os.read(reader, 65536))
            return b"".join(got).endswith(b"\n")

        await until(has_line)
        assert alb_fields(b"".join(got).decode().strip())["elb_status_code"] == "200"
        os.close(reader)


async def test_restart_keeps_the_counts_and_two_load_balancers_may_log_to_one_function() -> None:
    """A function is shared as a file is."""
    lines = Lines()
    log = alb.AccessLog(lines)
    async with (
        balancing(listener(alb.FixedResponse(200)), access_log=log) as one,
        balancing(listener(alb.FixedResponse(200)), access_log=log) as two,
    ):
        await ask(one, "/1")
        await ask(two, "/2")
        await lines.get(2)
