"""Raw HTTP/1.1 cases from outside, sent through a running load balancer to a target that records what reaches it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import running
from tests.support.peers import free_port

SCORED = 161
MOST_FAILED = 2
LEAST_PASSED = 143

OURS_TO_TAKE = "ALB takes bytes >= 0x80 in the target, and they are forwarded as they came"
CUSTOM_METHOD = "ALB routes custom methods, and case makes a method another one; whether it exists is for the target to say"
TARGETS_ANSWER = "the answer is the target's, and the corpus' own target gives a plain 200"
OPTIONAL_BLANKS = "RFC 9110 section 5.5: blanks around a value are no part of it, and both ends read the same length"
CLEAN_PATH = "nothing in it is illegal or decoded here, so the target gets the same bytes"

NOT_PASSED = {
    "MAL-NON-ASCII-URL": ("Fail", OURS_TO_TAKE),
    "MAL-URL-OVERLONG-UTF8": ("Fail", OURS_TO_TAKE),
    "SMUG-CL-TRAILING-SPACE": ("Warn", OPTIONAL_BLANKS),
    "SMUG-CL-EXTRA-LEADING-SP": ("Warn", OPTIONAL_BLANKS),
    "MAL-CL-TAB-BEFORE-VALUE": ("Warn", OPTIONAL_BLANKS),
    "RFC9112-3-MULTI-SP-REQUEST-LINE": (
        "Warn",
        "ALB calls it Acceptable and lets it pass; the request line is written anew with single blanks",
    ),
    "COMP-LEADING-CRLF": ("Warn", "RFC 9112 section 2.2: empty lines before a request line are skipped; they are not forwarded"),
    "COMP-METHOD-CASE": ("Warn", CUSTOM_METHOD),
    "COMP-UNKNOWN-METHOD": ("Warn", CUSTOM_METHOD),
    "COMP-DUPLICATE-CT": ("Warn", "passed on, as ALB does: it frames nothing, and the target judges what it means"),
    "COMP-CHUNKED-EXTENSION": ("See", "taken, as the RFC asks; the runner has no verdict on the echoed body, this test has"),
    "COMP-UPGRADE-INVALID-VER": ("Warn", TARGETS_ANSWER),
    "COMP-405-ALLOW": ("Warn", TARGETS_ANSWER),
    "COMP-NO-CL-IN-204": ("Warn", TARGETS_ANSWER),
    "COMP-OPTIONS-ALLOW": ("Warn", TARGETS_ANSWER),
    "MAL-URL-BACKSLASH": ("Warn", CLEAN_PATH),
    "MAL-URL-PERCENT-NULL": ("Warn", CLEAN_PATH),
    "MAL-URL-PERCENT-CRLF": ("Warn", CLEAN_PATH),
}
"""Every scored case that does not pass: the verdict on it, and why it stays so."""


@pytest.fixture
def corpora() -> Path:
    """The folder of cases and their runner: named by ALBKIT_CORPORA, or beside the checkout."""
    named = os.environ.get("ALBKIT_CORPORA")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "corpora"
    if not (folder / "rawrun.py").is_file():
        missing = f"no corpora: {'ALBKIT_CORPORA names' if named else 'ALBKIT_CORPORA is not set and there is no'} {folder}"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


async def run_cases(corpora: Path, listener_port: int, target_port: int, report: Path) -> dict[str, Any]:
    """Run all cases; what became of each, by its id."""
    runner = await asyncio.create_subprocess_exec(
        sys.executable,
        str(corpora / "rawrun.py"),
        "http11probe",
        str(corpora / "http11probe" / "cases.jsonl"),
        "--proxy",
        f"127.0.0.1:{listener_port}",
        "--backend-port",
        str(target_port),
        "--timeout",
        "1.2",
        "--json",
        str(report),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(150):
            output, _ = await runner.communicate()
    except BaseException:
        runner.kill()
        await runner.wait()
        raise
    assert runner.returncode == 0, output.decode(errors="replace")
    outcomes: dict[str, Any] = json.loads(report.read_text())
    return outcomes


MODES = ("monitor", "defensive", "strictest")


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("loop_guard")
async def test_http11probe_splits_nothing_and_scores_as_the_table_says(
    corpora: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In no mode a case splits a request or reaches the target in two readings. By default each that does not pass is one we know the
    reason of."""
    counted: list[dict[str, int]] = []

    async def run(mode: str) -> dict[str, Any]:
        port = free_port()
        async with running(f"127.0.0.1:{port}", preserve_host_header=True, desync_mitigation_mode=mode) as gateway:
            outcomes = await run_cases(corpora, gateway.port, port, tmp_path / f"{mode}.json")
            counted.append(gateway.counters)
            return outcomes

    found = dict(zip(MODES, await asyncio.gather(*map(run, MODES)), strict=True))
    flagged = {
        (mode, case): (outcome["flags"], outcome["bad_out"])
        for mode, outcomes in found.items()
        for case, outcome in outcomes.items()
        if outcome["flags"]
    }
    assert not flagged
    outcomes = found["defensive"]
    scored = {case: outcome["verdict"] for case, outcome in outcomes.items() if outcome["scored"]}
    assert {case: verdict for case, verdict in scored.items() if verdict != "Pass"} == {
        case: verdict for case, (verdict, _) in NOT_PASSED.items()
    }
    verdicts = list(scored.values())
    assert len(verdicts) == SCORED
    assert verdicts.count("Pass") >= LEAST_PASSED
    assert verdicts.count("Fail") <= MOST_FAILED

    (_, extended), *others = outcomes["COMP-CHUNKED-EXTENSION"]["origin"]
    assert (extended, others) == (len("hello"), [])
    assert not [counters for counters in counted if "Failure_InternalError" in counters]
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert not tracebacks
