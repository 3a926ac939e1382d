"""The results of each event, as a table and as a picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.failover.events import NAMES, Event
from benchmarks.failover.load import Request
from benchmarks.measure import MeasurementError

__all__ = ("METHODS", "SLOW", "Outcome", "Run", "as_json", "check", "draw", "outcomes", "table")

METHODS: Final = ("GET", "POST")
SLOW: Final = 0.5
"""Seconds. A request that takes more than 25 times as long as usual has waited for a target that does not answer."""
_LATELY: Final = 1.0
_LEFT_OUT: Final = 30
"""Requests in a row that went to the other two targets: too many for chance, with any algorithm."""
_BIN: Final = 0.25
_FAILED: Final = "failed"
_COLORS: Final = {"a": "#4477aa", "b": "#66ccee", "c": "#bbbbbb", _FAILED: "#cc3311"}
_MARKS: Final = {"slow": ("|", "#ddaa33"), "failed GET": ("x", "#cc3311"), "failed POST": ("+", "#882255")}


class Run(NamedTuple):
    """One proxy through all events."""

    name: str
    version: str
    seconds: float
    requests: Sequence[Request]
    events: Sequence[Event]
    lag: float


class Outcome(NamedTuple):
    """The results of one event. A request counts for the event during which it finished."""

    event: Event
    sent: dict[str, int]
    """By method."""
    failed: dict[str, int]
    slow: int
    """Requests that were answered correctly, but late."""
    out_after: float | None
    """Seconds from the event to the last request, sent before the recovery, that failed, was slow or still went to the target; `None` if
    there is none."""
    back: float | None
    """Seconds from the recovery to the first request that the target answers again; `None` if there is none."""
    stays: float | None
    """Seconds from the recovery to the request from which on the target is not left out again."""
    worst: float
    """Latency in seconds."""
    faults: dict[str, int]


def _slow(request: Request) -> bool:
    return not request.fault and request.latency > SLOW


def check(run: Run) -> None:
    """Check that the run is valid.

    Raises:
        MeasurementError: a request failed before the first event, or a target got no requests when its event came.
    """
    calm = run.events[0].began
    early = [request for request in run.requests if request.over < calm]
    faults = Counter(request.fault for request in early if request.fault)
    if faults:
        raise MeasurementError(f"requests failed before anything had happened: {_counted(faults)}")
    for event in run.events:
        lately = {request.target for request in run.requests if event.began - _LATELY < request.over < event.began}
        if event.target not in lately:
            raise MeasurementError(f"target {event.target} served nothing in the last second before its {event.kind}")


def outcomes(run: Run) -> list[Outcome]:
    """The results of each event, in order."""
    ends = [*(event.began for event in run.events[1:]), float("inf")]
    return [
        _outcome(event, [request for request in run.requests if event.began <= request.over < end])
        for event, end in zip(run.events, ends, strict=True)
    ]


def _outcome(event: Event, requests: Sequence[Request]) -> Outcome:
    slow = [request for request in requests if _slow(request)]
    failed = [request for request in requests if request.fault]
    unwanted = [request for request in requests if request.target == event.target and event.began < request.due]
    hurt = [request.due for request in (*slow, *failed, *unwanted) if request.due < event.recovered]
    back, stays = _back(event, requests)
    return Outcome(
        event=event,
        sent={method: sum(request.method == method for request in requests) for method in METHODS},
        failed={method: sum(request.method == method for request in failed) for method in METHODS},
        slow=len(slow),
        out_after=max(0.0, max(hurt) - event.began) if hurt else None,
        back=back,
        stays=stays,
        worst=max((request.latency for request in requests), default=0.0),
        faults=dict(Counter(request.fault for request in failed).most_common()),
    )


def _back(event: Event, requests: Sequence[Request]) -> tuple[float | None, float | None]:
    """Seconds from the recovery until the target is back, and until it is back permanently; `None` if it is not."""
    back = stays = None
    missed = 0
    for request in requests:
        if request.due < event.recovered or not request.target:
            continue
        if request.target != event.target:
            missed += 1
            continue
        since = request.due - event.recovered
        back = since if back is None else back
        stays = since if stays is None or missed >= _LEFT_OUT else stays
        missed = 0
    return back, stays if missed < _LEFT_OUT else None


def table(run: Run, taken: Sequence[Outcome]) -> str:
    """One line per event."""
    columns = "".join(f"{column:>11}" for column in ("out after", "back after", "for good", "worst"))
    lines = [
        f"{run.name} {run.version}",
        f"{'event':10} {'GETs failed':>13} {'POSTs failed':>13} {'slow':>5}{columns}  failures",
    ]
    for outcome in taken:
        event = f"{outcome.event.kind} {outcome.event.target}"
        gets, posts = (f"{outcome.failed[method]} of {outcome.sent[method]}" for method in METHODS)
        times = "".join(f"{_seconds(value):>11}" for value in (outcome.out_after, outcome.back, outcome.stays, outcome.worst))
        lines.append(f"{event:10} {gets:>13} {posts:>13} {outcome.slow:5}{times}  {_counted(outcome.faults) or '-'}")
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _counted(faults: dict[str, int]) -> str:
    return ", ".join(f"{count} x {fault}" for fault, count in faults.items())


def as_json(run: Run, taken: Sequence[Outcome]) -> dict[str, Any]:
    """All results of a run, every affected request, and the responses of each target over time."""
    return {
        "version": run.version,
        "lag": run.lag,
        "events": [{**outcome._asdict(), "event": outcome.event._asdict()} for outcome in taken],
        "hurt": [request._asdict() for request in run.requests if request.fault or _slow(request)],
        "requests": {"every": _BIN, **_by_time(run)},
    }


def _by_time(run: Run) -> dict[str, list[int]]:
    """How many requests each target answered, and how many failed, by the time at which they were sent."""
    counts = {name: [0] * math.ceil(run.seconds / _BIN) for name in (*NAMES, _FAILED)}
    for request in run.requests:
        counts[_FAILED if request.fault else request.target][int(request.due / _BIN)] += 1
    return counts


def draw(runs: Sequence[Run], path: Path) -> None:
    """Draw each target's share of the responses over time, with one panel per proxy, and with events and failures."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(len(runs), 1, figsize=(13, 3 * len(runs) + 0.6), squeeze=False, layout="constrained")
    for panel, run in zip(panels[:, 0], runs, strict=True):
        _draw_panel(panel, run)
    panels[-1, 0].set_xlabel("seconds at which a request was sent")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw_panel(panel: Any, run: Run) -> None:
    counts = _by_time(run)
    sums = [sum(at) for at in zip(*counts.values(), strict=True)]
    times = [index * _BIN for index in range(len(sums) + 1)]
    shares = [[100 * count / whole if whole else 0.0 for count, whole in zip(counted, sums, strict=True)] for counted in counts.values()]
    labels = [name if name == _FAILED else f"target {name}" for name in counts]
    # A step reaches from its time to the next one, so the last one is given twice.
    steps = [[*share, share[-1]] for share in shares]
    panel.stackplot(times, steps, labels=labels, colors=[_COLORS[name] for name in counts], step="post")
    for event in run.events:
        panel.axvspan(event.began, event.recovered, facecolor="none", edgecolor="black", hatch="//", alpha=0.2, linewidth=0)
        for moment in (event.began, event.recovered):
            panel.axvline(moment, color="black", linewidth=1)
        label = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
        panel.text(event.began + 0.15, 4, f"{event.kind} {event.target}", fontsize=9, fontweight="bold", clip_on=True, bbox=label)
    marked = {"slow": [request.due for request in run.requests if _slow(request)]}
    for method in METHODS:
        marked[f"failed {method}"] = [request.due for request in run.requests if request.fault and request.method == method]
    for height, (what, moments) in zip((105, 111, 117), marked.items(), strict=True):
        mark, color = _MARKS[what]
        panel.plot(moments, [height] * len(moments), mark, color=color, markersize=6, label=what, linestyle="none")
    totals = ", ".join(f"{len(marked[f'failed {method}'])} {method}s" for method in METHODS)
    panel.set_title(f"{run.name} {run.version}: {totals} failed", fontsize=11, loc="left")
    panel.set_xlim(0, run.seconds)
    panel.set_ylim(0, 122)
    panel.set_yticks([0, 50, 100], ["0 %", "50 %", "100 %"])
    panel.set_ylabel("share of requests")
