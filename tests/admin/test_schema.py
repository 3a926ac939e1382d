"""Every fault of a body is found, each with its path."""

from __future__ import annotations

from typing import Any

import pytest

from albkit.admin.problem import Problem
from albkit.admin.schema import faults_of, reference
from albkit.admin.schemas import COMPONENTS

GOOD: list[tuple[str, Any]] = [
    ("Registration", {"targets": ["10.0.0.5:8000"]}),
    ("Registration", {"targets": [{"target": "unix:/run/x", "weight": 0, "standby": True, "max_concurrency": None}, "[::1]:80"]}),
    ("TargetChange", {"weight": 999}),
    ("TargetChange", {"standby": False, "weight": 1}),
    ("TunnelChoice", {"all": True}),
    ("TunnelChoice", {"group": "web", "target": "a:1", "code": 3000}),
    ("Question", {"method": "GET", "url": "http://x/"}),
    (
        "Question",
        {"method": "PURGE", "url": "https://[::1]:8/?a=%20", "headers": {"X": ""}, "client": "::1", "listener": None, "http2": True},
    ),
    ("Nothing", {}),
]
BAD: list[tuple[str, Any, list[tuple[str, str]]]] = [
    ("Registration", [], [("", "a list is not an object")]),
    ("Registration", {}, [("targets", "is missing")]),
    ("Registration", {"targets": []}, [("targets", "has 0 items; give 1 to 1000")]),
    ("Registration", {"targets": ["a:1"] * 1001}, [("targets", "has 1001 items; give 1 to 1000")]),
    (
        "Registration",
        {"targets": [1, {"target": "b:2", "weight": 1000, "standby": "yes"}, {"weight": True, "more": 1}], "also": 2},
        [
            ("targets[0]", "1 is neither text nor an object"),
            ("targets[1].weight", "1000 is out of range; 0 to 999"),
            ("targets[1].standby", "'yes' is not true or false"),
            ("targets[2].target", "is missing"),
            ("targets[2].weight", "true is not a whole number"),
            ("targets[2].more", "is unknown; give target or weight or standby or max_concurrency"),
            ("also", "is unknown; give targets"),
        ],
    ),
    ("TargetChange", {}, [("", "is empty; give at least one of weight, standby")]),
    ("TargetChange", {"weight": 1.5}, [("weight", "1.5 is not a whole number")]),
    ("TargetChange", {"weight": None}, [("weight", "null is not a whole number")]),
    ("TunnelChoice", {"all": False}, [("all", "false is not true")]),
    ("TunnelChoice", {"group": ""}, [("group", "has 0 characters; give 1 to 32")]),
    (
        "TunnelChoice",
        {"group": "g", "code": 1005},
        [("code", "close code 1005 cannot be sent; use 1000 to 1003, 1007 to 1014, or 3000 to 4999")],
    ),
    ("TunnelChoice", None, [("", "null is not an object")]),
    (
        "Question",
        {"method": "G T", "url": "ftp://x", "headers": {"a b": "c\r\nd"}, "client": "nobody", "http2": 1},
        [
            ("method", "'G T' is not a method"),
            ("url", "'ftp://x' is not a URL; give http:// or https://, a host and a path, with other characters percent-encoded"),
            ("headers.a b", "'a b' is not the name of a header"),
            ("headers.a b", "'c\\r\\nd' is not in the right form"),
            ("client", "'nobody' is not an IP address"),
            ("http2", "1 is not true or false"),
        ],
    ),
    ("Question", {"method": "GET", "url": "http://x:99999/"}, [("url", "'http://x:99999/' is not a URL: Port out of range 0-65535")]),
    ("Nothing", {"x": 1}, [("x", "is unknown; give an empty object")]),
]


@pytest.mark.parametrize(("name", "body"), GOOD, ids=range(len(GOOD)))
def test_right_bodies_have_no_fault(name: str, body: Any) -> None:
    """Otherwise nothing could be done."""
    assert faults_of(reference(name), body, COMPONENTS) == []


@pytest.mark.parametrize(("name", "body", "faults"), BAD, ids=range(len(BAD)))
def test_every_fault_is_found(name: str, body: Any, faults: list[tuple[str, str]]) -> None:
    """All of them at once, so that a person can correct all of them at once."""
    found = faults_of(reference(name), body, COMPONENTS)
    assert sorted(found) == sorted(faults)


def test_target_that_is_none_is_a_fault_with_the_words_of_the_configuration() -> None:
    """The same words as for a target in a program."""
    ((path, message),) = faults_of(reference("Registration"), {"targets": [{"target": "ws://x"}]}, COMPONENTS)
    assert path == "targets[0].target"
    assert "is a WebSocket URL; write 'http://x'" in message


def test_answer_lists_a_hundred_faults_and_counts_the_others() -> None:
    """An answer is not much larger than what was asked."""
    body = Problem.of_faults([(str(number), "x" * 1000) for number in range(1000)]).as_json()
    assert body["error"] == "the request has 1000 faults"
    assert len(body["faults"]) == 101
    assert body["faults"][-1]["message"] == "and 900 more"
    assert len(body["faults"][0]["message"]) == 500
