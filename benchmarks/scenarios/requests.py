"""HTTP requests: small ones, with bodies, with large responses, over new connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.answers import FILES
from benchmarks.bench import Case
from benchmarks.figures import Budget
from benchmarks.scenarios.scenario import Scenario, of_cases
from benchmarks.work import BROWSER, Requests

__all__ = ("SCENARIOS", "browser_budgets", "plain_budgets")


def plain_budgets(row: str) -> Sequence[Budget]:
    """The highest allowed cost of albkit with wrk's own request."""
    below = [Budget(row, "albkit", peer, 1.0) for peer in ("apache", "caddy", "go", "node")]
    return [Budget(row, "albkit", "nginx", 3.0, 2.4), Budget(row, "albkit", "aiohttp", 0.25), *below]


def browser_budgets(row: str) -> Sequence[Budget]:
    """The highest allowed cost of albkit with a browser's request."""
    return [Budget(row, "albkit", "nginx", 3.2, 2.6)]


_CONNECTIONS = (1, 16, 64, 512)

SCENARIOS: Final = (
    Scenario(
        "small-get",
        "a GET with Host alone and an answer of 64 bytes, connections kept alive",
        of_cases([Case(f"{count}", f"{count} connection{'s' * (count > 1)}", Requests(count)) for count in _CONNECTIONS]),
        plain_budgets("64"),
    ),
    Scenario(
        "browser-get",
        "the same with a browser's 12 fields, bringing back the proxy's cookies",
        of_cases(
            [
                Case("browser", "a browser's request", Requests(fields=BROWSER, cookies=True)),
                Case("varied", "the same, and a field that is new each time", Requests(fields=BROWSER, cookies=True, varied=True)),
            ]
        ),
        browser_budgets("browser"),
    ),
    Scenario(
        "new-connection",
        "a connection for each request, closed behind its answer",
        of_cases([Case("new", "a connection each", Requests(fields={"Connection": "close"}))]),
    ),
    Scenario(
        "post",
        "a POST with a body, answered by 64 bytes",
        of_cases([Case("1k", "a body of 1 KiB", Requests(body=1 << 10)), Case("64k", "a body of 64 KiB", Requests(body=64 << 10))]),
    ),
    Scenario(
        "download",
        "large answers: a file of 1 MiB, and 64 KiB in chunks of 4 KiB",
        of_cases(
            [
                Case("1m", "1 MiB with a length", Requests(connections=16, path="/large", answer=FILES["/large"])),
                Case("chunked", "64 KiB in chunks", Requests(path="/chunked", answer=FILES["/chunked"])),
            ]
        ),
    ),
)
