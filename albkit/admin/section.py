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


class _Row:
    """One tunnel. Slots and plain values, because there may be tens of thousands, and each is looked at every second."""

    __slots__ = ("active_at", "bytes_in", "bytes_out", "fixed", "is_changed", "is_new", "number")

    def __init__(self, tunnel: Tunnel, now: float) -> None:
        self.number = tunnel.id
        self.fixed = {
            "id": str(tunnel.id),
            "client": str(tunnel.client),
            "group": tunnel.group,
            "target": str(tunnel.target),
            "protocol": tunnel.protocol,
            "opened_at": round(now - tunnel.age, 3),
        }
        self.active_at = f"{now - tunnel.idle:.1f}"
        """As text, which all rows that change in the same second share."""
        self.bytes_in = tunnel.bytes_in
        self.bytes_out = tunnel.bytes_out
        self.is_new = True
        self.is_changed = True

    @property
    def item(self) -> Item:
        return self.fixed | {"last_active_at": float(self.active_at), "bytes_in": self.bytes_in, "bytes_out": self.bytes_out}


class TunnelSection:
    """The open tunnels."""

    def __init__(self) -> None:
        self._rows: dict[int, _Row] = {}
        self._changed: list[_Row] = []
        """Those that are new or have changed."""
        self._gone: list[str] = []

    def knows(self, tunnel: Tunnel) -> bool:
        """Whether it has an item."""
        return tunnel.id in self._rows

    def put(self, tunnels: Iterable[Tunnel], now: float) -> None:
        """Add tunnels, or bring them up to date.

        Args:
            tunnels: A few tunnels.
            now: Seconds since 1970.
        """
        rows, changed = self._rows, self._changed
        active_at = f"{now:.1f}"
        for tunnel in tunnels:
            row = rows.get(tunnel.id)
            if row is None:
                row = rows[tunnel.id] = _Row(tunnel, now)
                changed.append(row)
                continue
            bytes_in, bytes_out = tunnel.bytes_in, tunnel.bytes_out
            if bytes_in != row.bytes_in or bytes_out != row.bytes_out:
                row.bytes_in, row.bytes_out, row.active_at = bytes_in, bytes_out, active_at
                if not row.is_changed:
                    row.is_changed = True
                    changed.append(row)

    def keep_only(self, tunnels: Collection[Tunnel]) -> None:
        """Remove all others."""
        if len(tunnels) == len(self._rows):
            return
        present = {tunnel.id for tunnel in tunnels}
        for number in [number for number in self._rows if number not in present]:
            del self._rows[number]
            self._gone.append(str(number))

    def values(self) -> list[Item]:
        """All items."""
        return [row.item for row in self._rows.values()]

    def fragments(self) -> Iterator[str]:
        """The JSON of all items, in parts of a few."""
        return in_braces(_rows_in_parts(list(self._rows.values())))

    def take_changes(self) -> tuple[Iterator[str] | None, list[str]]:
        """The JSON of what has changed since the last call, in parts of a few, `None` if nothing has; and the ids of what has gone."""
        new = [row for row in self._changed if row.is_new and row.number in self._rows]
        changed = [row for row in self._changed if not row.is_new and row.number in self._rows]
        for row in self._changed:
            row.is_new = row.is_changed = False
        gone, self._gone, self._changed = self._gone, [], []
        return (in_braces(chain(_rows_in_parts(new), _changes_in_parts(changed))) if new or changed else None), gone


def _rows_in_parts(rows: Sequence[_Row]) -> Iterator[str]:
    for start in range(0, len(rows), _AT_ONCE):
        yield encode({row.fixed["id"]: row.item for row in rows[start : start + _AT_ONCE]})[1:-1]


def _changes_in_parts(rows: Sequence[_Row]) -> Iterator[str]:
    for start in range(0, len(rows), _AT_ONCE):
        # Without the encoder: half of the time for ten thousand of them.
        yield ",".join(
            [
                f'"{row.number}":{{"bytes_in":{row.bytes_in},"bytes_out":{row.bytes_out},"last_active_at":{row.active_at}}}'
                for row in rows[start : start + _AT_ONCE]
            ]
        )
