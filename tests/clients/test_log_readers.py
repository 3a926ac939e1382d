"""Programs of others read the access log: GoAccess, and `aws-log-parser` from PyPI."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

import albkit as alb
from tests.support.balancing import balancing, group_of, listener
from tests.support.h2_targets import client_of
from tests.support.logs import lines_of
from tests.support.peers import free_port, request, target
from tests.support.programs import output_of, program
from tests.support.tunnels import UPGRADE, echo, gone, switching

_LINES = 1000


async def traffic(log: alb.AccessLog) -> Counter[int]:
    """A thousand exchanges of every kind. Returns how often which status came."""
    statuses: Counter[int] = Counter()
    async with target() as origin, target(switching(then=echo)) as socket:
        rules = [
            alb.Rule(1, alb.PathPattern("/old*"), alb.Redirect(path="/new", status_code=301)),
            alb.Rule(2, alb.PathPattern("/fixed"), alb.FixedResponse(404, "no")),
            alb.Rule(3, alb.PathPattern("/ws"), alb.Forward(alb.TargetGroup("sockets", socket.address))),
            alb.Rule(4, alb.PathPattern("/dead"), alb.Forward(alb.TargetGroup("dead", f"127.0.0.1:{free_port()}"))),
            alb.Rule(5, alb.PathPattern("/x/*"), group_of(origin.address), transforms=alb.UrlRewrite("^/x", "/y")),
        ]
        async with balancing(listener(group_of(origin.address), *rules), access_log=log) as it:
            client = await it.client()
            agents = ("curl/7.88.1", "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0", 'odd "\\ \t agent')
            for number in range(_LINES - 100):
                path = ("/", "/a/b.css?c=d&e=%22", "/old", "/fixed", "/x/y", "/dead")[number % 6]
                answer = await client.get(path, f"User-Agent: {agents[number % 3]}", "X-Amzn-Trace-Id: Root=1-5759e988-bd862e3fe1be46a9")
                statuses[answer.status] += 1
            await client.close()
            for _ in range(20):
                client = await it.client()
                client.send(request("GET", "/ws", *UPGRADE))
                statuses[(await client.response()).status] += 1
                await client.close()
                client = await it.client()
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n")
                statuses[(await client.response()).status] += 1
                await client.close()
            await gone(it)
            h2 = await client_of(it)
            for number in range(60):
                statuses[(await h2.get(f"/h2/{number}", ("user-agent", "h2/1"))).status] += 1
            await h2.close()
    return statuses


async def test_goaccess_reads_every_line(tmp_path: Path) -> None:
    """As an AWS ALB log: no line fails, and it counts the statuses that clients got."""
    goaccess = program("goaccess")
    log, report = tmp_path / "a.log", tmp_path / "report.json"
    statuses = await traffic(alb.AccessLog(log))
    assert len(lines_of(log)) == sum(statuses.values()) == _LINES
    status, _, complaints = await output_of(
        *(goaccess, "--no-global-config", "--log-format=AWSALB", "--no-progress", f"--output={report}", str(log)), within=60
    )
    assert status == 0, complaints
    read = json.loads(report.read_text("utf-8", "replace"))
    assert (read["general"]["total_requests"], read["general"]["failed_requests"]) == (_LINES, 0)
    counted: Counter[int] = Counter()
    for kind in read["status_codes"]["data"]:
        for one in kind["items"]:
            counted[int(one["data"].split(" ")[0])] = one["hits"]["count"]
    assert counted == statuses


async def test_goaccess_reads_the_combined_format(tmp_path: Path) -> None:
    """As it reads the logs of Apache and nginx."""
    goaccess = program("goaccess")
    log, report = tmp_path / "a.log", tmp_path / "report.json"
    await traffic(alb.AccessLog(log, "combined"))
    status, _, complaints = await output_of(
        *(goaccess, "--no-global-config", "--log-format=COMBINED", "--no-progress", f"--output={report}", str(log)), within=60
    )
    assert status == 0, complaints
    general = json.loads(report.read_text("utf-8", "replace"))["general"]
    assert (general["total_requests"], general["failed_requests"]) == (_LINES, 0)


async def test_aws_log_parser_reads_every_line(tmp_path: Path) -> None:
    """Each field has the type that it expects."""
    parser = pytest.importorskip("aws_log_parser", reason="aws-log-parser is not installed; pip install 'albkit[test]'")
    log = tmp_path / "a.log"
    statuses = await traffic(alb.AccessLog(log))
    # Not read_files(), which reads from S3 as well, and leaves its file open.
    reader = parser.AwsLogParser(log_type=parser.LogType.LoadBalancer)
    entries = list(reader.parse(lines_of(log)))
    assert Counter(entry.elb_status_code for entry in entries) == statuses
    types = Counter(entry.type.value for entry in entries)
    assert types == {"http": _LINES - 80, "ws": 20, "h2": 60}
    forwarded = [entry for entry in entries if entry.target_status_code == 200]
    assert all(entry.target.ip == "127.0.0.1" and entry.target_processing_time >= 0 for entry in forwarded)
    assert all(entry.timestamp >= entry.request_creation_time for entry in entries)
    assert {entry.redirect_url for entry in entries} - {None}
