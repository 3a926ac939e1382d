"""The dashboard for Grafana and the alerts for Prometheus in `docs` use metrics that albkit writes."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from albkit.report.prometheus_families import families

_DOCS = Path(__file__).parents[1] / "docs"
DASHBOARD: dict[str, Any] = json.loads((_DOCS / "grafana-dashboard.json").read_text(encoding="utf-8"))
ALERTS = (_DOCS / "prometheus-alerts.yml").read_text(encoding="utf-8")
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [(panel["title"], query["expr"]) for panel in PANELS for query in panel.get("targets", ())]

LABELS: dict[str, set[str]] = {}
"""By the name of each sample that albkit writes, its labels."""
for family in families(lambda _: 0, lambda _: 0, lambda _: 0):
    own = {"listener": {"listener"}, "rule": {"listener", "priority"}, "target_group": {"target_group"}}
    of_level = own.get(family.level.name.lower(), set()) | ({"target_group", "target"} if family.level.name == "TARGET" else set())
    for cell in family.cells:
        LABELS.setdefault(family.name + cell.suffix, {"load_balancer", "instance", "job", *of_level}).update(
            name for name, _ in cell.labels
        )


def _metrics(query: str) -> set[str]:
    return set(re.findall(r"\balbkit_\w+", query))


def _labels(query: str) -> set[str]:
    """The labels that a query selects or groups by."""
    grouped = re.findall(r"(?:by|ignoring|on) ?\(([^)]*)\)", query)
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    return {name.strip() for names in grouped for name in names.split(",")} | set(selected)


def test_every_panel_has_a_place_of_its_own() -> None:
    """Within 24 columns, without an overlap, and with an id of its own."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [panel["gridPos"] for panel in PANELS]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_data_source_is_a_variable() -> None:
    """So that the dashboard can be imported anywhere; and the load balancer and the target group can be chosen."""
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(variables) == {"datasource", "load_balancer", "target_group"}
    sources = [panel["datasource"] for panel in PANELS if panel["type"] != "row"]
    sources += [query["datasource"] for panel in PANELS for query in panel.get("targets", ())]
    sources += [variable["datasource"] for variable in variables.values() if variable["type"] == "query"]
    assert {json.dumps(source, sort_keys=True) for source in sources} == {'{"type": "prometheus", "uid": "${datasource}"}'}
    for variable in variables.values():
        assert _metrics(str(variable["query"])) <= set(LABELS)


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[f"{number}-{title}" for number, (title, _) in enumerate(QUERIES)])
def test_query_names_metrics_and_labels_that_exist(title: str, query: str) -> None:
    """Another name in the code would leave a panel empty."""
    names = _metrics(query)
    assert names, title
    assert names <= set(LABELS), title
    for name in names:
        assert _labels(query) <= LABELS[name] | {"le"}, (title, name)
    assert "$load_balancer" in query
    assert not re.search(r"\b(?:rate|increase)\((?!\w+\{)", query)
    assert query.count("(") == query.count(")")


def test_dashboard_shows_traffic_errors_latency_targets_and_tunnels() -> None:
    """A row for each."""
    assert [panel["title"] for panel in PANELS if panel["type"] == "row"] == [
        "Overview",
        "Traffic",
        "Errors",
        "Response times",
        "Targets",
        "Tunnels",
    ]
    assert "heatmap" in {panel["type"] for panel in PANELS}


def test_alerts_name_metrics_and_labels_that_exist() -> None:
    """An alert on a metric that is gone never fires."""
    text = re.sub(r"(?m)^ *#.*$", "", ALERTS)
    assert len(_metrics(text)) >= 8
    assert _metrics(text) <= set(LABELS)
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= set.union(*LABELS.values())
    assert text.count("- alert: ") == text.count("expr: ") == text.count("summary: ")
