"""Autobahn's WebSocket suite through tunnels, both ways: case by case the result must be that of a connection without a load balancer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import albkit as alb
from tests.support.gateway import Running, leaving_nothing

CORE = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.1.*", "6.4.*", "7.*", "10.*")
COMPRESSED = ("12.1.1", "12.1.2", "12.1.3", "12.1.4", "12.1.5", "13.1.1", "13.1.2", "13.1.3")
COUNT = 109 + len(COMPRESSED)

LEAST_OK = 100
"""Cases that end well without a load balancer. The others are for the echo server or client to answer, and must only stay what they are."""

LEAST_PINGS = 10
"""Several cases are silent for a second and longer."""

REPEATS = 3
"""A server that reads a message and the fault behind it at once may end otherwise than one that reads them one by one, as they were sent.
On a busy machine that happens with and without a load balancer; what does not differ by chance differs again."""

OPTIONS = {"failByDrop": False, "openHandshakeTimeout": 20, "closeHandshakeTimeout": 10}
"""The deadlines are rounded down to a whole second of the clock: of one second, the default for closing, nothing may be left."""

HERE = Path(__file__).parent / "autobahn"

Reports = dict[str, dict[str, Any]]
"""What the fuzzing peer wrote of each case."""

# The suite drives and judges; a second event loop would try the same bytes once more, and takes as long.
one_loop = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.fixture
def suite() -> Path:
    """The folder made by build.py: named by ALBKIT_AUTOBAHN_SUITE."""
    named = os.environ.get("ALBKIT_AUTOBAHN_SUITE")
    if not named or not (Path(named) / "made").is_file():
        missing = (
            f"no Autobahn suite: {f'there is none in {named}' if named else 'ALBKIT_AUTOBAHN_SUITE names no folder'}; "
            "to make one: python3.11 tests/conformance/autobahn/build.py FOLDER"
        )
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return Path(named)


def of_suite(suite: Path) -> tuple[str, dict[str, str]]:
    """The suite's interpreter, and the environment that it runs in."""
    return str(suite / "venv" / "bin" / "python"), {**os.environ, "PYTHONPATH": str(suite / "ported")}


def specification(folder: Path, **more: Any) -> Path:
    """What a fuzzing peer is told, in a file."""
    folder.mkdir()
    file = folder / "specification.json"
    cases = {"cases": [*CORE, *COMPRESSED], "exclude-cases": [], "exclude-agent-cases": {}}
    file.write_text(json.dumps({"options": OPTIONS, "outdir": str(folder), **cases, **more}))
    return file


def reports(folder: Path) -> dict[str, Reports]:
    """By agent and by case."""
    index = json.loads((folder / "index.json").read_text())
    return {
        agent: {case: json.loads((folder / entry["reportfile"]).read_text()) for case, entry in cases.items()}
        for agent, cases in index.items()
    }


@contextlib.asynccontextmanager
async def program(
    *command: str | Path, log: Path, environment: dict[str, str] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """A process that is gone at the end, and what it prints; the rest of what it says goes to `log`."""
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=said, env=environment
        )
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def server(*command: str | Path, log: Path, environment: dict[str, str] | None = None) -> AsyncIterator[str]:
    """A server in a process of its own, that prints its port; its address."""
    async with program(*command, log=log, environment=environment) as (_, printed):
        port = (await printed.readline()).decode().strip()
        assert port.isdigit(), log.read_text()
        yield f"127.0.0.1:{port}"


async def run(*command: str | Path, log: Path, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end."""
    async with asyncio.timeout(150), program(*command, log=log, environment=environment) as (process, printed):
        output = await printed.read()
        assert await process.wait() == 0, output.decode(errors="replace") + log.read_text()


@contextlib.asynccontextmanager
async def ways_to(target: str) -> AsyncIterator[tuple[Running, dict[str, str]]]:
    """A load balancer in front of `target`, and the URL of each way to it by its agent's name."""
    policy = alb.TunnelPolicy(ping_interval=0.05, pong_timeout=20)
    groups = {"albkit": alb.TargetGroup("plain", [target]), "pings": alb.TargetGroup("pings", [target], tunnel=policy)}
    listeners = [alb.Listener(0, alb.Forward(group), host="127.0.0.1") for group in groups.values()]
    async with leaving_nothing(Running(alb.LoadBalancer(listeners, stop_timeout=0.2))) as gateway:
        ports = [listener.port for listener in gateway.load_balancer.listeners]
        yield gateway, {"direct": f"ws://{target}", **{agent: f"ws://127.0.0.1:{port}" for agent, port in zip(groups, ports, strict=True)}}


def outcomes(cases: Reports) -> dict[str, tuple[str, str]]:
    """The suite's verdicts on each case: on what the peer did, and on how the connection ended."""
    return {case: (report["behavior"], report["behaviorClose"]) for case, report in cases.items()}


def pings(cases: Reports) -> int:
    """Those that reached the fuzzing peer."""
    return sum(report["rxFrameStats"].get("9", 0) for report in cases.values())


def differing(by_agent: dict[str, Reports]) -> dict[str, list[str]]:
    """The cases of each agent that ended otherwise than the direct ones."""
    direct = outcomes(by_agent["direct"])
    unlike = {agent: [case for case, outcome in outcomes(cases).items() if outcome != direct[case]] for agent, cases in by_agent.items()}
    return {agent: cases for agent, cases in unlike.items() if cases}


def check(by_agent: dict[str, Reports], ways: dict[str, str]) -> None:
    """Every agent has the outcomes of the direct connection, and only the one with pings was pinged."""
    assert by_agent.keys() == ways.keys()
    direct = outcomes(by_agent["direct"])
    assert len(direct) == COUNT
    assert [behavior for behavior, _ in direct.values()].count("OK") >= LEAST_OK
    assert {case: direct[case] for case in COMPRESSED} == dict.fromkeys(COMPRESSED, ("OK", "OK"))
    for agent, cases in by_agent.items():
        through = outcomes(cases)
        assert through.keys() == direct.keys(), agent
        unlike = {case: (direct[case], outcome) for case, outcome in through.items() if outcome != direct[case]}
        if agent == "pings":
            assert pings(cases) >= LEAST_PINGS
        else:
            assert pings(cases) == 0, agent
        assert not unlike, agent


def check_gateway(gateway: Running, ways: dict[str, str], caplog: pytest.LogCaptureFixture, *, repeated: int = 0) -> None:
    """Each case went through a tunnel of its own, except the direct ones, and nothing failed in the load balancer itself."""
    assert gateway.counters["TunnelCount"] == COUNT * (len(ways) - 1) + repeated
    assert "Failure_InternalError" not in gateway.counters
    assert not [record for record in caplog.records if record.exc_info]


@one_loop
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("loop_guard")
async def test_fuzzing_client_through_a_tunnel_finds_the_server_that_it_finds_without(
    suite: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a client sends, in whatever pieces, the server gets the same and the client sees the same end."""
    caplog.set_level(logging.ERROR)  # many cases end in a reset, each with a line
    python, environment = of_suite(suite)
    async with (
        server(sys.executable, HERE / "echo_server.py", log=tmp_path / "server.log") as target,
        ways_to(target) as (gateway, ways),
    ):

        async def fuzz(agent: str, folder: Path, **more: Any) -> Reports:
            servers = [{"agent": agent, "url": ways[agent], "options": {"serverConnectionDropTimeout": 10}}]
            told = specification(folder, servers=servers, **more)
            command = (python, "-m", "autobahntestsuite.wstest_main", "-m", "fuzzingclient", "-s", told)
            await run(*command, log=folder.with_suffix(".log"), environment=environment)
            return reports(folder)[agent]

        by_agent = dict(zip(ways, await asyncio.gather(*(fuzz(agent, tmp_path / agent) for agent in ways)), strict=True))
        repeated = 0
        for attempt in range(REPEATS):
            for agent, cases in differing(by_agent).items():
                repeated += len(cases)
                for one in ("direct", agent):
                    by_agent[one].update(await fuzz(one, tmp_path / f"{one}-{attempt}-of-{agent}", cases=cases))
    check(by_agent, ways)
    check_gateway(gateway, ways, caplog, repeated=repeated)


@one_loop
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("loop_guard")
async def test_fuzzing_server_through_a_tunnel_finds_the_client_that_it_finds_without(
    suite: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a server sends, in whatever pieces, the client gets the same and the server sees the same end."""
    caplog.set_level(logging.ERROR)  # many cases end in a reset, each with a line
    python, environment = of_suite(suite)
    told = specification(tmp_path / "reports", url="ws://127.0.0.1:1")
    async with (
        server(python, HERE / "fuzzing_server.py", told, log=tmp_path / "server.log", environment=environment) as target,
        ways_to(target) as (gateway, ways),
    ):
        agents = [f"{agent}={url}" for agent, url in ways.items()]
        await run(sys.executable, HERE / "echo_client.py", f"ws://{target}", *agents, log=tmp_path / "client.log")
    check(reports(tmp_path / "reports"), ways)
    check_gateway(gateway, ways, caplog)
