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
from albkit.report.prometheus_families import Family, Level, families
from albkit.state.metrics import (
    DERIVED_METRICS,
    HOST_METRICS,
    LISTENER_METRICS,
    LOAD_METRICS,
    METRICS,
    RULE_HITS,
    TRAFFIC_METRICS,
    Metric,
)

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

`lb.metrics` has all of these, and more, as a live view. Nothing is computed before it is read:

| view | of |
| --- | --- |
| `lb.metrics.load_balancer["RequestCount"]` | the load balancer |
| `lb.metrics.listeners["web"]["ActiveConnectionCount"]` | a listener: by its name, else by its port as text (`"8080"`) |
| `lb.metrics.rules["web"][10]["RuleHitCount"]` | a rule: by listener and priority; 0 is the default action |
| `lb.metrics.groups["api"]["HealthyHostCount"]` | a target group |
| `lb.metrics.targets["api"]["10.0.0.5:8000"]["TargetResponseTime"]` | a target |

Each is a mapping: `dict(lb.metrics.groups["api"])` reads all metrics of the group. The metrics of a target that has left, and of a group
that was removed, raise `KeyError`.

```python
print(list(lb.metrics.groups), lb.metrics.groups["api"]["RequestCountPerTarget"])
```

```text
['api'] 0.0
```

Counters only go up, and survive `apply`, `stop` and another `start`. If a target is deregistered, its counts go to its group; if a group is
removed, they go to the load balancer. A listener that `apply` removes takes its counts with it. A gauge shows the present state; its name
starts with `Active` or `Open`, or ends in `HostCount` or `Time`. Gauges are 0 while the load balancer is stopped. If ALB has a CloudWatch
metric for the same thing, the counter has its name ([alb.md](alb.md)).
"""

_RESPONSE_TIMES = """
`TargetResponseTime` is a histogram (a copy, as of the moment): `p50`, `p90`, `p99`, `mean` and `quantile(0.95)` are seconds, or `None` if
there were no responses; `count` and `sum` are exact. A quantile is at most 10 % off between 0.1 ms and five minutes. `later.minus(earlier)`
is the histogram of what came in between:

```python
before = lb.metrics.groups["api"]["TargetResponseTime"]
```

<!-- python
import aiohttp

async with aiohttp.ClientSession() as session, session.get(lb.listeners[0].url) as answer:
    assert answer.status == 200
-->

After some requests:

```python
times = lb.metrics.groups["api"]["TargetResponseTime"].minus(before)
print(times.count, times.p99 < 60)
```

```text
1 True
```
"""
_PROMETHEUS = """
## Prometheus

`lb.metrics.prometheus()` returns all metrics in the [text format of Prometheus][text]. `await lb.metrics.prometheus_in_steps()` returns the
same, and gives the event loop back every millisecond or so: use it if there are hundreds of targets. The admin API serves it at `/metrics`.
[prometheus-alerts.yml](prometheus-alerts.yml) has alerts, and [grafana-dashboard.json](grafana-dashboard.json) is a dashboard for Grafana.
If the program has a registry of `prometheus_client`, register `albkit.prometheus.Collector(lb)` in it (extra `prometheus`).

Each level has metrics of its own, so that a `sum()` counts nothing twice. Counters of a target group include targets that have left it, and
those of the load balancer groups that were removed. A group counts anew after `stop` and `start`.

[text]: https://prometheus.io/docs/instrumenting/exposition_formats/
"""
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
        "`lb.counters_of` has one gauge more: `ActiveRequestCount`. `lb.metrics` has these:",
        "",
        *_metrics(LOAD_METRICS),
        "",
        _RESPONSE_TIMES.strip(),
        "",
        "## For the load balancer and each target group",
        "",
        *_table(["gauge", "unit", "meaning"], ([f"`{one.name}`", one.unit, one.meaning] for one in HOST_METRICS)),
        "",
        "`lb.metrics` has one more for each target group:",
        "",
        *_metrics(DERIVED_METRICS),
        "",
        "## For each listener and each rule",
        "",
        'Only in `lb.metrics.listeners["web"]`:',
        "",
        *_metrics(LISTENER_METRICS.values()),
        "",
        'Only in `lb.metrics.rules["web"][10]`:',
        "",
        *_metrics([RULE_HITS]),
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
        "",
        _PROMETHEUS.strip(),
        "",
        *_prometheus_tables(),
    ]
    return "\n".join(lines) + "\n"


_LEVELS = {
    Level.LOAD_BALANCER: ("For the load balancer", ()),
    Level.LISTENER: ("For each listener", ("listener",)),
    Level.RULE: ("For each rule", ("listener", "priority")),
    Level.TARGET_GROUP: ("For each target group", ("target_group",)),
    Level.TARGET: ("For each target", ("target_group", "target")),
}


def _prometheus_tables() -> list[str]:
    """The families of the Prometheus text, by level."""
    found = families(lambda _: 0, lambda _: 0, lambda _: 0)
    lines = []
    for level, (title, labels) in _LEVELS.items():
        names = " and ".join(f"`{name}`" for name in ("load_balancer", *labels))
        lines += [f"### {title}", "", f"The labels are {names}, and those in the table." if labels else f"The label is {names}.", ""]
        of_level = [family for family in found if family.level is level]
        lines += [*_table(["metric", "type", "further labels", "meaning"], map(_row_of_family, of_level)), ""]
    return lines[:-1]


def _row_of_family(family: Family) -> list[str]:
    labels = list(dict.fromkeys(name for cell in family.cells for name, _ in cell.labels))
    return [f"`{family.name}`", family.type, ", ".join(f"`{name}`" for name in labels), family.help]


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
