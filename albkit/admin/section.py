"""One section of the state: items by id, and what has changed since the last delta."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from json import JSONEncoder
from typing import Any, Final

from albkit.extensions import Tunnel

__all__ = ("Item", "Section", "TunnelSection", "encode", "in_braces", "in_list", "in_parts", "merge")

Item = dict[str, Any]

encode: Final = JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
"""Encode a value as compact JSON."""

_NESTED: Final = ("responses", "latency", "counters")
"""Objects of which a delta contains only the keys that have changed."""
_AT_ONCE: Final = 64
"""Items that are encoded at once: less than a millisecond's work."""


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Item:
    changed: Item = {}
    for name, value in new.items():
        before = old.get(name)
        if value == before:
            continue
        if name in _NESTED and isinstance(before, dict) and isinstance(value, dict):
            changed[name] = {key: part for key, part in value.items() if before.get(key) != part}
        else:
            changed[name] = value
    return changed


def merge(item: Item, change: Mapping[str, Any]) -> None:
    """Put a change into an item, as a reader of the stream does."""
    for name, value in change.items():
        before = item.get(name)
        if name in _NESTED and isinstance(before, dict) and isinstance(value, dict):
            item[name] = before | value
        else:
            item[name] = value


class Section:
    """Items by id. An item is replaced, never changed."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self._new: set[str] = set()
        self._changed: dict[str, Item] = {}
        self._gone: dict[str, None] = {}

    def put(self, identity: str, item: Item) -> None:
        """Add an item, or replace it."""
        old = self.items.get(identity)
        if old == item:
            return
        self.items[identity] = item
        if old is None:
            self._new.add(identity)
            self._gone.pop(identity, None)
        elif identity not in self._new:
            change = _difference(old, item)
            known = self._changed.get(identity)
            if known is None:
                self._changed[identity] = change
            else:
                merge(known, change)

    def keep_only(self, present: Collection[str]) -> None:
        """Remove all other items."""
        if len(present) == len(self.items):
            return
        for identity in [identity for identity in self.items if identity not in present]:
            del self.items[identity]
            self._changed.pop(identity, None)
            self._new.discard(identity)
            self._gone[identity] = None

    def take_changes(self) -> tuple[list[tuple[str, Item]], list[str]]:
        """What has changed since the last call, and the ids of what has gone."""
        changes = [*self._changed.items(), *((identity, self.items[identity]) for identity in self._new)]
        gone = list(self._gone)
        self._changed, self._new, self._gone = {}, set(), {}
        return changes, gone

    def values(self) -> list[Item]:
        """All items."""
        return list(self.items.values())

    def fragments(self) -> Iterator[str]:
        """The JSON of all items, in parts of a few."""
        return in_braces(in_parts(list(self.items.items())))


def in_braces(parts: Iterable[str]) -> Iterator[str]:
    """Make one object of parts of its text."""
    yield "{"
    comma = ""
    for part in parts:
        yield comma + part
        comma = ","
    yield "}"


def in_list(items: Sequence[Item]) -> Iterator[str]:
    """Encode items as a list, a few at once."""
    yield "["
    for start in range(0, len(items), _AT_ONCE):
        yield ("," if start else "") + encode(items[start : start + _AT_ONCE])[1:-1]
    yield "]"


def in_parts(items: Sequence[tuple[str, Item]]) -> Iterator[str]:
    """Encode items as the inside of an object, a few at once."""
    for start in range(0, len(items), _AT_ONCE):
        yield encode(dict(items[start : start + _AT_ONCE]))[1:-1]


class TunnelSection:
    """The open tunnels. There may be tens of thousands, so their items are changed in place, and written without an encoder."""

    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self._new: set[int] = set()
        self._changed: set[int] = set()
        self._gone: dict[int, None] = {}

    def put(self, tunnel: Tunnel, now: float) -> None:
        """Add a tunnel, or bring its item up to date.

        Args:
            tunnel: The tunnel.
            now: Seconds since 1970.
        """
        item = self.items.get(tunnel.id)
        if item is None:
            self._add(tunnel, now)
            return
        bytes_in, bytes_out = tunnel.bytes_in, tunnel.bytes_out
        # Without new bytes it has not been active, so that most tunnels need no more than this.
        if bytes_in != item["bytes_in"] or bytes_out != item["bytes_out"]:
            item["bytes_in"], item["bytes_out"] = bytes_in, bytes_out
            item["last_active_at"] = round(now - tunnel.idle, 1)
            self._changed.add(tunnel.id)

    def _add(self, tunnel: Tunnel, now: float) -> None:
        number = tunnel.id
        self.items[number] = {
            "id": str(number),
            "client": str(tunnel.client),
            "group": tunnel.group,
            "target": str(tunnel.target),
            "protocol": tunnel.protocol,
            "opened_at": round(now - tunnel.age, 3),
            "last_active_at": round(now - tunnel.idle, 1),
            "bytes_in": tunnel.bytes_in,
            "bytes_out": tunnel.bytes_out,
        }
        self._new.add(number)
        self._gone.pop(number, None)

    def keep_only(self, tunnels: Collection[Tunnel]) -> None:
        """Remove all others."""
        if len(tunnels) == len(self.items):
            return
        present = {tunnel.id for tunnel in tunnels}
        for number in [number for number in self.items if number not in present]:
            del self.items[number]
            self._new.discard(number)
            self._changed.discard(number)
            self._gone[number] = None

    def values(self) -> list[Item]:
        """All items."""
        return list(self.items.values())

    def fragments(self) -> Iterator[str]:
        """The JSON of all items, in parts of a few."""
        return in_braces(in_parts([(item["id"], item) for item in self.items.values()]))

    def take_changes(self) -> tuple[Iterator[str] | None, list[str]]:
        """The JSON of what has changed since the last call, in parts of a few, `None` if nothing has; and the ids of what has gone."""
        new, changed = [(str(number), self.items[number]) for number in self._new], list(self._changed - self._new)
        gone = [str(number) for number in self._gone]
        self._new, self._changed, self._gone = set(), set(), {}
        parts = in_braces(chain(in_parts(new), self._changes_in_parts(changed))) if new or changed else None
        return parts, gone

    def _changes_in_parts(self, changed: Sequence[int]) -> Iterator[str]:
        for start in range(0, len(changed), _AT_ONCE):
            some = [(number, self.items[number]) for number in changed[start : start + _AT_ONCE]]
            yield ",".join(
                f'"{number}":{{"bytes_in":{item["bytes_in"]},"bytes_out":{item["bytes_out"]},"last_active_at":{item["last_active_at"]}}}'
                for number, item in some
            )
