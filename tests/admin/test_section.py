"""What deltas say is what has changed."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from albkit.admin.section import Section, TunnelSection, in_braces, in_list, in_parts, merge
from tests.support.effort import cases


def read(section: Section, known: dict[str, Any]) -> None:
    """Do with the changes of a section what the page does with a delta."""
    changes, gone = section.take_changes()
    for identity, change in json.loads("".join(in_braces(in_parts(changes)))).items():
        merge(known.setdefault(identity, {}), change)
    for identity in gone:
        known.pop(identity, None)


def an_item(chance: random.Random) -> dict[str, Any]:
    latency = None if chance.random() < 0.3 else {"count": chance.randrange(3), "p50": chance.choice((None, 0.5))}
    return {"requests": chance.randrange(3), "state": chance.choice("ab"), "responses": {"2xx": chance.randrange(3)}, "latency": latency}


@pytest.mark.parametrize("seed", range(cases(30, part=2)))
def test_random_changes_reach_a_reader_of_deltas(seed: int) -> None:
    """However often the state is read between two deltas, a reader of deltas has the same items."""
    chance = random.Random(seed)
    section, known = Section(), dict[str, Any]()
    for _ in range(30):
        for _ in range(chance.randrange(4)):
            present = {str(number) for number in range(chance.randrange(6))}
            for identity in present:
                if chance.random() < 0.7 or identity not in section.items:
                    section.put(identity, an_item(chance))
            section.keep_only(present)
        read(section, known)
        assert known == section.items


def test_delta_has_only_changed_fields_and_keys() -> None:
    """Nested objects are merged one level deep, so an unchanged key of one is not repeated."""
    section = Section()
    section.put("a", {"requests": 1, "state": "healthy", "responses": {"2xx": 1, "5xx": 0}})
    assert section.take_changes() == ([("a", {"requests": 1, "state": "healthy", "responses": {"2xx": 1, "5xx": 0}})], [])
    section.put("a", {"requests": 1, "state": "healthy", "responses": {"2xx": 1, "5xx": 2}})
    assert section.take_changes() == ([("a", {"responses": {"5xx": 2}})], [])
    assert section.take_changes() == ([], [])
    section.keep_only(())
    assert section.take_changes() == ([], ["a"])


class FakeTunnel:
    """The attributes that are read."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.client, self.group, self.target, self.protocol = "203.0.113.1:5", "web", "127.0.0.1:80", "websocket"
        self.age, self.idle = 10.0, 2.0
        self.bytes_in = self.bytes_out = 0


def changes_of(section: TunnelSection) -> tuple[dict[str, Any], list[str]]:
    parts, gone = section.take_changes()
    return (json.loads("".join(parts)) if parts is not None else {}), gone


def test_tunnels_that_open_carry_data_and_end_are_told_of() -> None:
    """A new one with all fields, a busy one with its bytes, one that has gone by its id."""
    section = TunnelSection()
    tunnels: list[Any] = [FakeTunnel(number) for number in range(1, 200)]
    section.put(tunnels, 1000.0)
    new, gone = changes_of(section)
    assert (len(new), gone) == (199, [])
    assert new["7"] == {
        "id": "7",
        "client": "203.0.113.1:5",
        "group": "web",
        "target": "127.0.0.1:80",
        "protocol": "websocket",
        "opened_at": 990.0,
        "last_active_at": 998.0,
        "bytes_in": 0,
        "bytes_out": 0,
    }
    assert json.loads("".join(in_list(section.values()))) == list(new.values())
    tunnels[6].bytes_out = 5
    section.put(tunnels, 1001.0)
    section.put(tunnels, 1002.0)
    assert changes_of(section) == ({"7": {"bytes_in": 0, "bytes_out": 5, "last_active_at": 1001.0}}, [])
    assert changes_of(section) == ({}, [])
    section.put([*tunnels, FakeTunnel(500)], 1003.0)
    section.keep_only(tunnels[:6])
    assert changes_of(section) == ({}, [str(number) for number in range(7, 200)] + ["500"])
    assert json.loads("".join(section.fragments())).keys() == {"1", "2", "3", "4", "5", "6"}


def test_empty_sections_are_empty_objects_and_lists() -> None:
    """Not a stray comma."""
    assert "".join(Section().fragments()) == "{}"
    assert "".join(in_list([])) == "[]"
    assert changes_of(TunnelSection()) == ({}, [])
