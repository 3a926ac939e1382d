"""Makes `docs/counters.md` from the tables of counters in the code.

python docs/make_counters.py            write the page
python docs/make_counters.py --check    tell whether it is up to date; exits with 1 when not
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from albkit.errors import FailureKind
from albkit.model.tunnel import TunnelEnd
from albkit.state.metrics import METRICS, TRAFFIC_METRICS, Metric

PAGE = Path(__file__).parent / "counters.md"

_INTRODUCTION = """
# Counters and metrics

Made by `python docs/make_counters.py` from the code; a test compares the two.

`lb.counters` is a mapping of every counter of the load balancer. `lb.counters_of("api")` has those of a target group, and
`lb.counters_of("api", "10.0.0.5:8000")` those of one target. Read them as often as you like: each call returns a new dictionary.

```python
group = alb.TargetGroup("api", await target("hello"))
lb = await start(alb.Listener(8080, alb.Forward(group)))

print(lb.counters["RequestCount"], lb.counters_of("api")["HTTPCode_Target_5XX_Count"])
```

```text
0 0
```

Counters only go up, and survive `apply`, `stop` and another `start`. If a target is deregistered, its counts go to its group; if a group is
removed, they go to the load balancer. A gauge shows the present state; its name starts with `Active` or ends in `HostCount`. Gauges are 0
while the load balancer is stopped. If ALB has a CloudWatch metric for the same thing, the counter has its name ([alb.md](alb.md)).
"""

_GAUGES = {
    "HealthyHostCount": "Targets whose state is `healthy`, now.",
    "UnHealthyHostCount": "Targets whose state is `unhealthy`, now.",
    "AnomalousHostCount": "Targets that anomaly detection finds anomalous, now.",
    "MitigatedHostCount": "Targets that get less than their share, now: ejected, on probation, or mitigated for an anomaly.",
}
_ENDS = {
    TunnelEnd.CLIENT: "the client closed or reset it",
    TunnelEnd.TARGET: "the target closed or reset it",
    TunnelEnd.IDLE: "no byte passed for the idle timeout",
    TunnelEnd.PONG_TIMEOUT: "a side did not answer a ping in time",
    TunnelEnd.MAX_AGE: "it reached `max_age`",
    TunnelEnd.RECHECK: "the policy's `recheck` refused it",
    TunnelEnd.DRAIN: "its target was deregistered",
    TunnelEnd.STOP: "the load balancer stopped",
    TunnelEnd.CLOSED: "the program called `tunnel.close()`",
    TunnelEnd.MESSAGE_TOO_LARGE: "a message exceeded `max_message_size`",
    TunnelEnd.ERROR: "an error inside the load balancer or a hook",
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _metrics(metrics: Iterable[Metric]) -> list[str]:
    rows = sorted(([f"`{metric.name}`", metric.unit, metric.meaning] for metric in metrics), key=lambda row: row[0].lower())
    return _table(["counter", "unit", "meaning"], rows)


def page() -> str:
    """The whole page."""
    lines = [_INTRODUCTION.strip(), ""]
    lines += ["## For the load balancer, each target group and each target", "", *_metrics(TRAFFIC_METRICS.values()), ""]
    lines += [
        "`lb.counters_of` has one gauge more: `ActiveRequestCount`, the requests and tunnels that are outstanding now.",
        "",
        "## For the load balancer and each target group",
        "",
        *_table(["gauge", "unit", "meaning"], ([f"`{name}`", "targets", meaning] for name, meaning in _GAUGES.items())),
        "",
        "## For the load balancer",
        "",
        *_metrics(METRICS.values()),
        "",
        "## Why tunnels ended",
        "",
        "One counter for each cause; its unit is tunnels.",
        "",
        *_table(["counter", "the tunnel ended because"], ([f"`TunnelEnd_{e.title().replace(' ', '')}`", _ENDS[e]] for e in TunnelEnd)),
        "",
        "## Why requests and connections failed",
        "",
        "One counter for each error reason, which is also the first word of the log line. Its unit is exchanges, tunnels or connections.",
        "The status is what the client gets; a dash means that its connection is closed without a response. 460 is logged and never sent.",
        "",
        *_table(
            ["counter", "phase", "who is to blame", "status", "meaning"],
            (
                [f"`Failure_{kind.reason}`", kind.phase.value, kind.side.value, str(kind.status or "-"), _sentence(kind.sentence)]
                for kind in FailureKind
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description="Make docs/counters.md from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is not up to date")
    options = parser.parse_args(arguments)
    made = page()
    if not options.check:
        PAGE.write_text(made, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{PAGE.name} is not up to date: run python docs/make_counters.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
