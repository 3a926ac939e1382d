"""The command `albkit`, as a program of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

import albkit
from albkit import cli, demo
from albkit.demo.gateway import Demo
from tests.support.peers import free_port

ALBKIT = (sys.executable, "-W", "error", "-m", "albkit")


class Program:
    """A running `albkit demo`, and what it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def await_ready(self) -> str:
        """Read its lines up to the one that says that it is ready; the address there."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if match := re.match(r"Ready: (http://\S+)/ ", line):
                return match[1]
        raise AssertionError(f"ended without being ready: {self.lines} {self.process.communicate()}")

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; the exit code and what it said on stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@contextlib.contextmanager
def program(*arguments: str) -> Iterator[Program]:
    """Start the command, and leave nothing of it behind."""
    with subprocess.Popen([*ALBKIT, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ALBKIT, *arguments], capture_output=True, text=True, timeout=50, check=False)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_version_prints_name_and_version() -> None:
    """As the package says it."""
    answer = ran("--version")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"albkit {albkit.__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["dema"], ["demo", "--port"], ["demo", "--port", "65536"], ["demo", "--port", "-1"], ["--porn"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is told, on stderr."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("usage: albkit")


@pytest.mark.parametrize("further", [[], ["--check"]])
def test_port_in_use_exits_with_1_and_one_sentence(further: list[str]) -> None:
    """Which port, and what to do; no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = ran("demo", "--port", str(port), *further)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert re.fullmatch(rf"albkit: cannot listen on 127\.0\.0\.1:{port}: the port is in use; [^\n]*\n", answer.stderr)


def test_check_of_a_right_gateway_exits_with_0_and_costs_little() -> None:
    """Each step is shown; ten seconds of the processor's would be far too much."""
    before = os.times()
    answer = ran("demo", "--check")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert lines[-1] == f"all {len(lines) - 2} steps held"
    assert all(line.startswith("  ok ") for line in lines[1:-1])
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 10


def test_check_of_a_wrong_gateway_exits_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What failed is shown beside what held."""
    monkeypatch.setattr(demo, "Demo", partial(Demo, xff_header_processing="remove"))
    assert cli.main(["demo", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[2] for line in lines if line.startswith("  FAILED")] == ["targets get the client's address"]
    assert lines[-1] == f"1 of {len(lines) - 2} steps FAILED"


def test_interrupted_check_exits_as_a_shell_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """128 and the number of SIGINT; no traceback."""

    def interrupted(port: int, https_port: int, admin_port: int) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "check", interrupted)
    assert cli.main(["demo", "--check"]) == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_serves_until_a_signal_and_stops_in_good_order(number: signal.Signals) -> None:
    """Ready means that it answers; a signal ends it with 0 and without a word."""
    with program("demo", "--port", "0") as it:
        url = it.await_ready()
        assert sorted(get(f"{url}/api/name") for _ in range(3)) == ["blue\n", "green\n", "red\n"]
        assert it.end(number) == (0, "")


def test_demo_with_an_open_stream_stops_and_says_what_it_cut() -> None:
    """A signal ends it all the same, and the one line on stderr is the load balancer's own."""
    with program("demo", "--port", "0") as it:
        url = it.await_ready()
        with urllib.request.urlopen(f"{url}/api/stream?events=100", timeout=10) as stream:
            stream.readline()
            code, errors = it.end(signal.SIGTERM)
    assert code == 0
    assert re.fullmatch(r"StoppedInResponse: the load balancer stopped in the middle of the response; [^\n]*\n", errors)


async def test_demo_with_an_open_chat_stops_without_a_word() -> None:
    """A tunnel that ends in good order is nothing to complain of."""
    with program("demo", "--port", "0") as it:
        url = it.await_ready()
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}/ws") as websocket:
            await websocket.receive_json()
            it.process.send_signal(signal.SIGINT)
            async for _ in websocket:
                pass
        _, errors = it.process.communicate(timeout=20)
        assert (it.process.returncode, errors) == (0, "")


def test_demo_takes_the_port_it_is_given() -> None:
    """The address in all that it prints is that of the port."""
    port = free_port()
    with program("demo", "--port", str(port)) as it:
        assert it.await_ready() == f"http://127.0.0.1:{port}"
        assert any("8080" in line for line in it.lines) == (port == 8080)


def test_demo_takes_the_port_for_https_that_it_is_given() -> None:
    """Both ports answer, and the second one asks for TLS."""
    port = free_port()
    with program("demo", "--port", "0", "--https-port", str(port)) as it:
        url = it.await_ready()
        assert get(f"{url}/name").strip() in ("red", "green", "blue")
        assert f"           https://127.0.0.1:{port}" in it.lines
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/name", timeout=10, context=context) as answer:
            assert answer.read().decode().strip() in ("red", "green", "blue")


@pytest.mark.parametrize(
    ("arguments", "ports"),
    [
        ([], (8080, 8443, 0)),
        (["--port", "9000"], (9000, 0, 0)),
        (["--port", "9000", "--admin-port", "9001", "--traffic"], (9000, 0, 9001, True)),
        (["--https-port", "9443"], (8080, 9443, 0)),
        (["--port", "0", "--https-port", "9443"], (0, 9443, 0)),
        (["--check"], (0, 0, 0)),
        (["--check", "--port", "9000", "--https-port", "9443"], (9000, 9443, 0)),
    ],
)
def test_ports_of_the_demo(arguments: list[str], ports: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options, the ports that one remembers; a free one for HTTPS as soon as one of them was chosen, and for the admin API."""
    asked: list[tuple[int, ...]] = []
    for name in ("serve", "check"):
        monkeypatch.setattr(demo, name, lambda *given, traffic=False: asked.append((*given, *([True] if traffic else []))))
    cli.main(["demo", *arguments])
    assert asked == [ports]


def test_demo_prints_addresses_that_answer_and_the_rules() -> None:
    """The targets can be asked directly, and the table shows every rule."""
    with program("demo", "--port", "0") as it:
        url = it.await_ready()
        addresses = dict(re.findall(r"^  (gateway|red|green|blue) +(http://\S+)$", "\n".join(it.lines), re.MULTILINE))
        assert addresses.pop("gateway") == url
        assert {name: get(f"{address}/name") for name, address in addresses.items()} == {
            name: f"{name}\n" for name in ("red", "green", "blue")
        }
    start = next(index for index, line in enumerate(it.lines) if line.startswith("  PRIORITY"))
    assert [line.split()[0] for line in it.lines[start + 1 : start + 7]] == ["10", "20", "30", "40", "50", "default"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_printed_curl_commands_work_as_pasted(tmp_path: Path) -> None:
    """Each does what it is said to show."""
    with program("demo", "--port", "0") as it:
        it.await_ready()
        commands = [line.strip() for line in it.lines if line.strip().startswith("curl")]
        jar = re.search(r"-c (\S+)", "\n".join(commands))
        assert jar is not None
        # As pasted, but for the jar's place, so that two runs of this test do not share one.
        commands = [command.replace(jar[1], str(tmp_path / "jar")) for command in commands]
        answers = [
            subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20, check=True).stdout for command in commands
        ]
        again = subprocess.run(commands[1], shell=True, capture_output=True, text=True, timeout=20, check=True).stdout
        assert it.end(signal.SIGTERM) == (0, "")
    spread, sticky, stream, host, teapot, http2, https = answers
    assert sorted(spread.split()[:3]) == ["blue", "green", "red"]
    assert spread.split()[3:] == spread.split()[:3]
    assert sticky.split() == [sticky.split()[0]] * 6
    assert again == sticky, "the jar binds the session beyond one run of curl"
    assert stream.count("data: ") == 5
    assert '"target": "blue"' in host
    assert "X-Forwarded-For: 127.0.0.1" in host
    assert teapot.startswith("HTTP/1.1 418 ")
    assert [http2.split()[1], https.split()[1]] == ["HTTP/2", "HTTP/2"]


def test_seven_things_to_try_are_printed() -> None:
    """Numbered, so that one can see that none is missing."""
    with program("demo", "--port", "0") as it:
        it.await_ready()
        assert [line[0] for line in it.lines if re.match(r"\d\. ", line)] == ["1", "2", "3", "4", "5", "6", "7"]


def test_reader_that_leaves_ends_the_demo_without_a_traceback() -> None:
    """As in `albkit demo | head -0`."""
    with program("demo", "--port", "0") as it:
        assert it.process.stdout is not None
        it.process.stdout.close()
        assert it.process.wait(timeout=20) == 1
        assert it.process.stderr is not None
        assert it.process.stderr.read() == ""


def test_ready_line_arrives_at_once_through_a_pipe() -> None:
    """Nobody who waits for it waits for a full buffer."""
    with program("demo", "--port", "0") as it:
        assert it.process.stdout is not None
        number = it.process.stdout.fileno()
        printed = b""
        while b"Ready: " not in printed:
            assert select.select([number], [], [], 20)[0], f"only this came: {printed!r}"
            printed += os.read(number, 65536)
        assert it.process.poll() is None
