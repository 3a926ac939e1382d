"""`alb.run`: a load balancer as a program of its own, with real signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

import albkit as alb

_PROGRAM = """
import sys
import albkit as alb

def ready(load_balancer):
    print("ready", load_balancer.listeners[0].port, flush=True)

listeners = [
    alb.Listener(0, alb.Forward(alb.TargetGroup("api", sys.argv[1])), host="127.0.0.1"),
    alb.Listener(0, alb.FixedResponse(204), host="127.0.0.1"),
]
alb.run(listeners, stop_timeout=60, ready=ready if sys.argv[2:] else None)
print("returned", flush=True)
"""
LISTENER = alb.Listener(0, alb.FixedResponse(204), host="127.0.0.1")


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program that calls `alb.run`, and leave nothing of it behind."""
    command = [sys.executable, "-W", "error", "-c", _PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def wait_until_refused(port: int) -> None:
    """Return once nothing listens on the port: the program has begun to stop."""
    with contextlib.suppress(ConnectionError):
        while True:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
                client.recv(1)  # Ends when the listening socket is closed, or with the connection.


def test_run_prints_one_line_per_listener() -> None:
    """Each line is the URL at which a client on this machine reaches the listener."""
    with program("127.0.0.1:9") as process:
        urls = [line(process).removeprefix("albkit listens on ").rstrip("\n") for _ in range(2)]
        for url in urls:
            host, _, port = url.removeprefix("http://").partition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("returned\n", "")


def test_run_with_ready_prints_nothing() -> None:
    """The program says itself what it wants to say."""
    with program("127.0.0.1:9", "ready") as process:
        assert line(process).startswith("ready ")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20) == ("returned\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_makes_run_return(number: signal.Signals) -> None:
    """The program goes on behind `run` and ends with 0."""
    with program("127.0.0.1:9", "ready") as process:
        line(process)
        process.send_signal(number)
        assert process.communicate(timeout=20) == ("returned\n", "")
        assert process.returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_second_signal_cuts_connections_and_ends_without_a_traceback(number: signal.Signals, status: int) -> None:
    """The exchange in progress is cut long before `stop_timeout`; the status is the one that a shell shows for the signal."""
    with socket.create_server(("127.0.0.1", 0)) as target, program(f"127.0.0.1:{target.getsockname()[1]}", "ready") as process:
        port = int(line(process).split()[1])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            target.settimeout(20)
            upstream, _ = target.accept()
            with upstream:
                upstream.settimeout(20)
                assert upstream.recv(1)
                process.send_signal(number)
                wait_until_refused(port)
                assert process.poll() is None
                process.send_signal(number)
                output, errors = process.communicate(timeout=20)
                assert client.recv(1) == b""
    assert (process.returncode, output) == (status, "")
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors


def test_run_in_another_thread_says_what_to_use() -> None:
    """Only the main thread can handle signals."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            alb.run(LISTENER)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test looks at it
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    (error,) = caught
    assert isinstance(error, RuntimeError)
    assert "async with LoadBalancer(...)" in str(error)


def test_run_in_a_running_loop_says_what_to_use() -> None:
    """It would need a second loop in the same thread."""

    async def main() -> None:
        alb.run(LISTENER)

    with pytest.raises(RuntimeError, match=r"async with LoadBalancer\(\.\.\.\)"):
        asyncio.run(main())
