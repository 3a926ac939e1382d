"""The families of metrics in the Prometheus text: names, types, help, and where each number comes from."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, Final

import attrs

from albkit.errors import FailureKind
from albkit.model.tunnel import TunnelEnd
from albkit.state.histogram import COARSE_BOUNDS
from albkit.state.metrics import LISTENER_METRICS, METRICS, RULE_HITS, TRAFFIC_METRICS

__all__ = ("Cell", "Family", "Level", "escape", "families", "valid")

Label = tuple[str, str]
Read = Callable[[Any], float]


class Level(enum.StrEnum):
    """What a family describes. The value is the beginning of its names."""

    LOAD_BALANCER = "albkit"
    LISTENER = "albkit_listener"
    RULE = "albkit_rule"
    TARGET_GROUP = "albkit_target_group"
    TARGET = "albkit_target"


@attrs.frozen
class Cell:
    """One sample of a family, for each object of its level."""

    read: Read
    """Takes the number from the object."""
    labels: tuple[Label, ...] = ()
    """Further labels."""
    suffix: str = ""
    """Of the name: `_bucket`, `_sum` and `_count` of histograms and summaries."""

    @property
    def labels_text(self) -> str:
        """The labels as they follow those of the object."""
        return "".join(f',{name}="{escape(value)}"' for name, value in self.labels)


@attrs.frozen
class Family:
    """A metric."""

    level: Level
    name: str
    type: str
    """`counter`, `gauge`, `histogram` or `summary`."""
    help: str
    cells: tuple[Cell, ...]

    @property
    def head(self) -> str:
        """The lines above the samples."""
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.type}\n"


def escape(value: str) -> str:
    """Escape a label value."""
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return value


def valid(value: str) -> str:
    """Return a label value that can be encoded as UTF-8. Paths of unix sockets may have bytes that are not."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _help(meaning: str) -> str:
    """A meaning in Markdown as plain text."""
    return meaning.replace("`", "").replace("\\", r"\\").replace("\n", " ")


_ERROR_CLASSES: Final = ("3xx", "4xx", "5xx")
_ALL_CLASSES: Final = ("2xx", *_ERROR_CLASSES)


def _one(slot: str) -> tuple[Cell, ...]:
    return (Cell(attrgetter(slot)),)


def _by(label: str, slots: Iterable[tuple[str, str]]) -> tuple[Cell, ...]:
    return tuple(Cell(attrgetter(slot), ((label, value),)) for value, slot in slots)


_TRAFFIC: Final = {
    # The slots of `TrafficCounters`: the name of the family, and whether each target has it.
    "requests": ("requests_total", True),
    "grpc_requests": ("grpc_requests_total", False),
    "processed_bytes": ("processed_bytes_total", True),
    "retries": ("retries_total", True),
    "tunnels": ("tunnels_total", True),
    "flows": ("flows_total", False),
    "unhealthy_routing_requests": ("fail_open_requests_total", False),
    "ejections": ("ejections_total", True),
    "rejected_requests": ("concurrency_rejections_total", False),
}
_CONNECT_ERRORS: Final = _by("stage", (("tcp", "counters.target_connection_errors"), ("tls", "counters.target_tls_errors")))
_OWN: Final = {
    # The slots of `Counters`: the name of the family; a gauge if it does not end in `_total`.
    "active_connections": "active_connections",
    "active_flows": "active_flows",
    "active_tunnels": "active_tunnels",
    "active_waiting": "waiting_requests",
    "app_cookie_non_sticky_requests": "app_cookie_non_sticky_requests_total",
    "client_tls_errors": "client_tls_errors_total",
    "cookies_refused": "stickiness_cookies_refused_total",
    "desync_non_compliant": "non_compliant_requests_total",
    "dns_failures": "dns_failures_total",
    "dropped_invalid_headers": "dropped_invalid_header_requests_total",
    "fixed_responses": "fixed_responses_total",
    "forwarded_invalid_headers": "forwarded_invalid_header_requests_total",
    "http2_connections": "http2_connections_total",
    "http2_stream_resets": "http2_stream_resets_total",
    "idle_connections_closed": "idle_target_connections_closed_total",
    "log_lines_dropped": "log_lines_dropped_total",
    "new_connections": "connections_total",
    "non_sticky_requests": "non_sticky_requests_total",
    "reading_paused": "reading_pauses_total",
    "redirect_url_limit_exceeded": "redirect_url_limit_exceeded_total",
    "redirects": "redirects_total",
    "rejected_connections": "rejected_connections_total",
    "rule_evaluations": "rule_evaluations_total",
    "tunnel_pings": "tunnel_pings_total",
}
_OF_LISTENER: Final = {
    "exchanges": "exchanges_total",
    "processed_bytes": "processed_bytes_total",
    "active_connections": "active_connections",
    "new_connections": "connections_total",
    "rejected_connections": "rejected_connections_total",
}
_RESPONSE_TIME: Final = "Seconds from the last byte of a request head that was sent to a target to the last of its response head."


def _typed(name: str) -> str:
    return "counter" if name.endswith("_total") else "gauge"


def _traffic(level: Level) -> Iterator[Family]:
    for slot, (name, of_targets) in _TRAFFIC.items():
        if of_targets or level is not Level.TARGET:
            yield Family(level, f"{level}_{name}", "counter", _help(TRAFFIC_METRICS[slot].meaning), _one(f"counters.{slot}"))
    if level is not Level.LOAD_BALANCER:
        cells = _by("code", [(code, f"counters.target_{code}") for code in _ALL_CLASSES])
        yield Family(level, f"{level}_responses_total", "counter", "Responses of targets, by class of their status.", cells)
    help_ = "Connections to targets that failed, by the stage that failed. Not those of health checks."
    yield Family(level, f"{level}_connect_errors_total", "counter", help_, _CONNECT_ERRORS)


def _gauges(level: Level, last_active: Read) -> Iterator[Family]:
    if level is not Level.LOAD_BALANCER:
        yield Family(level, f"{level}_active_tunnels", "gauge", "Open tunnels, and requests for one that are in flight.", _one("tunnels"))
    yield Family(level, f"{level}_active_requests", "gauge", "Requests and tunnels that are outstanding.", _one("outstanding"))
    help_ = "When the last exchange or tunnel ended; now, while one is in flight. 0 if there was none since the start."
    yield Family(level, f"{level}_last_activity_timestamp_seconds", "gauge", help_, (Cell(last_active),))


def _hosts(level: Level) -> Iterator[Family]:
    states = _by("state", [(state, state) for state in ("healthy", "unhealthy", "other")])
    yield Family(level, f"{level}_targets", "gauge", "Registered targets, by health. Targets without a health check are other.", states)
    help_ = "Targets that get new requests. If too few targets are healthy, unhealthy ones are among them."
    yield Family(level, f"{level}_eligible_targets", "gauge", help_, _one("eligible"))
    help_ = "Targets that get less than their share: ejected, on probation, or mitigated for an anomaly."
    yield Family(level, f"{level}_mitigated_targets", "gauge", help_, _one("mitigated"))
    help_ = "Targets that anomaly detection finds anomalous."
    yield Family(level, f"{level}_anomalous_targets", "gauge", help_, _one("anomalous"))


def _bucket(place: int) -> Read:
    return lambda totals: totals.buckets[place]


def _histogram(level: Level) -> Family:
    bounds = [*(str(bound) for bound in COARSE_BOUNDS), "+Inf"]
    cells = [Cell(_bucket(place), (("le", bound),), "_bucket") for place, bound in enumerate(bounds)]
    cells += (Cell(attrgetter("counters.response_times.sum"), (), "_sum"), Cell(_bucket(-1), (), "_count"))
    return Family(level, f"{level}_response_time_seconds", "histogram", _RESPONSE_TIME, tuple(cells))


def _of_load_balancer() -> Iterator[Family]:
    level = Level.LOAD_BALANCER
    yield Family(level, f"{level}_running", "gauge", "1 while the load balancer runs, else 0.", _one("running"))
    for slot, name in _OWN.items():
        yield Family(level, f"{level}_{name}", _typed(name), _help(METRICS[slot].meaning), _one(f"own.{slot}"))
    responses = [
        *(Cell(attrgetter(f"counters.target_{code}"), (("source", "target"), ("code", code))) for code in _ALL_CLASSES),
        *(Cell(attrgetter(f"own.elb_{code}"), (("source", "load_balancer"), ("code", code))) for code in _ERROR_CLASSES),
    ]
    help_ = "Responses by class of their status and by their source: targets, or redirects and errors of the load balancer."
    yield Family(level, f"{level}_responses_total", "counter", help_, tuple(responses))
    codes = _by("code", [(str(code), f"own.elb_{code}") for code in (500, 502, 503, 504)])
    yield Family(
        level, f"{level}_error_responses_total", "counter", "Errors 500, 502, 503 and 504 that the load balancer generated.", codes
    )
    failures = tuple(Cell(_failures(kind), (("reason", kind.reason), ("side", kind.side.value))) for kind in FailureKind)
    help_ = "Exchanges, tunnels and connections that failed, by the reason that the log names and by the side that caused it."
    yield Family(level, f"{level}_failures_total", "counter", help_, failures)
    ends = tuple(Cell(_ends(end), (("cause", end.replace(" ", "_")),)) for end in TunnelEnd)
    yield Family(level, f"{level}_tunnel_ends_total", "counter", "Tunnels that ended, by what ended them.", ends)


def _failures(kind: FailureKind) -> Read:
    return lambda totals: totals.own.failures[kind]


def _ends(end: TunnelEnd) -> Read:
    return lambda totals: totals.own.tunnel_ends[end]


def _of_listener() -> Iterator[Family]:
    level = Level.LISTENER
    for slot, name in _OF_LISTENER.items():
        yield Family(level, f"{level}_{name}", _typed(name), _help(LISTENER_METRICS[slot].meaning), _one(slot))
    cells = _by("code", [(code, f"responses_{code}") for code in _ALL_CLASSES])
    yield Family(level, f"{level}_responses_total", "counter", "Responses to clients, by class of their status.", cells)


def _of_target(healthy: Read, eligible: Read) -> Iterator[Family]:
    level = Level.TARGET
    yield Family(level, f"{level}_healthy", "gauge", "1 if the state of the target is healthy, else 0.", (Cell(healthy),))
    yield Family(level, f"{level}_eligible", "gauge", "1 if the target gets new requests, else 0.", (Cell(eligible),))
    cells = (
        Cell(attrgetter("counters.response_times.sum"), (), "_sum"),
        Cell(attrgetter("counters.response_times.count"), (), "_count"),
    )
    # A summary without quantiles. Buckets for each of thousands of targets would be most of the text.
    yield Family(level, f"{level}_response_time_seconds", "summary", _RESPONSE_TIME, cells)


def families(last_active: Read, healthy: Read, eligible: Read) -> tuple[Family, ...]:
    """Return every family, in the order of the text.

    Args:
        last_active: When a target, a group or the load balancer was last active, in seconds since 1970; 0 if never.
        healthy: Whether a target is healthy.
        eligible: Whether a target gets new requests.
    """
    rule = Level.RULE
    return (
        *_of_load_balancer(),
        *(family for level in (Level.LOAD_BALANCER, Level.TARGET_GROUP) for family in _hosts(level)),
        *_of_listener(),
        Family(rule, f"{rule}_hits_total", "counter", f"{RULE_HITS.meaning} Priority 0 is the default action.", _one("hits")),
        Family(
            Level.TARGET_GROUP,
            f"{Level.TARGET_GROUP}_fails_open",
            "gauge",
            "1 if unhealthy targets get requests, because too few are healthy; else 0.",
            _one("fails_open"),
        ),
        *(
            family
            for level in (Level.LOAD_BALANCER, Level.TARGET_GROUP, Level.TARGET)
            for family in (*_traffic(level), *_gauges(level, last_active))
        ),
        _histogram(Level.LOAD_BALANCER),
        _histogram(Level.TARGET_GROUP),
        *_of_target(healthy, eligible),
    )
