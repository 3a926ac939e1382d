"""The names, types and help texts of the Prometheus text follow Prometheus' conventions, as `promtool check metrics` checks them."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from albkit.errors import FailureKind
from albkit.model.tunnel import TunnelEnd
from albkit.report.prometheus_families import Family, Level, escape, families, valid
from albkit.state.metrics import LISTENER_METRICS, METRICS, TRAFFIC_METRICS

FAMILIES = families(lambda _: 0, lambda _: 0, lambda _: 0)
_UNITS = ("milliseconds", "minutes", "hours", "ms", "kilobytes", "megabytes", "kb", "mb", "percent")
"""Units that are not base units; see `promtool check metrics`, https://prometheus.io/docs/practices/naming/#base-units."""
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def test_names_are_unique() -> None:
    """With the suffixes of histograms and summaries."""
    names = Counter(name for family in FAMILIES for name in {family.name, *(f"{family.name}{cell.suffix}" for cell in family.cells)})
    assert [name for name, count in names.items() if count > 1] == []


@every_family
def test_family_follows_the_conventions_for_names(family: Family) -> None:
    """Prefix, level, base units, `_total` for counters alone, no type in the name."""
    assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
    assert "__" not in family.name
    assert family.name.startswith(f"{family.level.value}_")
    assert family.name.endswith("_total") == (family.type == "counter")
    words = family.name.split("_")
    assert not set(words) & set(_UNITS)
    assert not set(words) & {"counter", "gauge", "histogram", "summary"}
    for unit in ("seconds", "bytes"):
        # The unit is the last word, but for `_total`.
        assert unit not in words or words[-1] == unit or words[-2:] == [unit, "total"]
    if family.type in ("histogram", "summary"):
        assert words[-1] == "seconds"


@every_family
def test_family_has_help(family: Family) -> None:
    """One line in plain text."""
    assert len(family.help) > 15
    assert family.help.endswith(".")
    assert not set("`\n\\") & set(family.help)
    assert family.head == f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n"


@every_family
def test_samples_of_a_family_differ(family: Family) -> None:
    """And all have the same labels, so that a sum counts nothing twice."""
    samples = [(cell.suffix, cell.labels) for cell in family.cells]
    assert len(set(samples)) == len(samples)
    assert len({tuple(name for name, _ in cell.labels) for cell in family.cells if cell.suffix in ("", "_bucket")}) <= 1
    for cell in family.cells:
        names = [name for name, _ in cell.labels]
        assert len(set(names)) == len(names)
        assert not set(names) & {"load_balancer", "listener", "target_group", "target", "instance", "job"}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.type == "histogram"], ids=lambda family: family.name)
def test_histogram_has_some_14_buckets_and_an_infinite_one(family: Family) -> None:
    """Each costs a line per target group."""
    bounds = [float(dict(cell.labels)["le"]) for cell in family.cells if cell.suffix == "_bucket"]
    assert bounds == sorted(bounds)
    assert bounds[-1] == float("inf")
    assert 10 <= len(bounds) <= 16
    assert [cell.suffix for cell in family.cells[-2:]] == ["_sum", "_count"]


def _read(level: Level) -> set[str]:
    """The attributes that the families of a level read."""
    found: set[str] = set()

    class Spy:
        def __init__(self, path: str = "") -> None:
            self._path = path

        def __getattr__(self, name: str) -> Spy:
            path = f"{self._path}{name}"
            found.add(path)
            return Spy(f"{path}.")

        def __getitem__(self, key: object) -> Spy:
            found.add(f"{self._path}[{key}]")
            return self

    for family in FAMILIES:
        for cell in family.cells if family.level is level else ():
            cell.read(Spy())  # type: ignore[arg-type]
    return found


def test_every_counter_of_the_load_balancer_is_in_the_text() -> None:
    """A new counter needs a family; a new reason for failures and a new end of tunnels have their sample at once."""
    read = _read(Level.LOAD_BALANCER)
    # The class is the sum of its codes and others, and is there as a class.
    assert {f"own.{slot}" for slot in METRICS} <= read
    assert {f"counters.{slot}" for slot in TRAFFIC_METRICS} <= read
    assert {f"own.failures.[{kind}]" for kind in FailureKind} <= read
    assert {f"own.tunnel_ends.[{end}]" for end in TunnelEnd} <= read


def test_every_counter_of_groups_and_listeners_is_in_the_text() -> None:
    """Targets have those alone that are worth a line per target."""
    assert {f"counters.{slot}" for slot in TRAFFIC_METRICS} <= _read(Level.TARGET_GROUP)
    assert set(LISTENER_METRICS) <= _read(Level.LISTENER)
    assert {f"counters.{slot}" for slot in ("requests", "target_2xx", "target_5xx", "processed_bytes")} <= _read(Level.TARGET)


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("10.0.0.5:8000", "10.0.0.5:8000"),
        ('a"b', r"a\"b"),
        ("a\\b", r"a\\b"),
        ("a\nb", r"a\nb"),
        ('\\n"\n', r"\\n\"" + r"\n"),
        ("ü\u2028\r\t", "ü\u2028\r\t"),
    ],
)
def test_label_value_is_escaped(value: str, escaped: str) -> None:
    """Quotes, backslashes and newlines, and nothing else (text format 0.0.4)."""
    assert escape(value) == escaped


def test_value_that_is_not_utf_8_can_be_encoded() -> None:
    """A path of a unix socket may hold any byte."""
    assert valid("unix:/a\udcff\udc80ü") == r"unix:/a\xff\x80ü"
    assert valid("unix:/a") == "unix:/a"
