"""Reads the request fields of a trace context, and replaces them (W3C Trace Context and W3C Baggage).

A propagator of a tracing library decides what the fields mean. What it reads comes from clients, and what it writes may contain parts of
that, so both are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from albkit.model.message import RequestHead
from albkit.wire.http1.fields import PLAIN, REQUEST_FIELDS

__all__ = ("ContextFields", "replace_context")

_TRACE_ID: Final = "x-amzn-trace-id"
_LONGEST: Final = 8192
"""Characters of one value. Both W3C Baggage and OpenTelemetry's propagators end there."""
_MOST_WRITTEN: Final = 16 * 1024
"""Bytes of all fields that a propagator writes."""
_MOST_STATES: Final = 32
"""W3C Trace Context section 3.3.1.1."""
_MOST_BAGGAGE: Final = 180
"""W3C Baggage section 3.3.2 in its first edition, as in OpenTelemetry."""
_LONGEST_BAGGAGE: Final = 4096
"""Characters of one entry."""

# The grammars of OpenTelemetry's propagators, which write a line to the log for each violation. A client could fill the log with them.
# Each part ends at a character that the next one does not match, so no expression backtracks far.
_STATE = re.compile(r"(?:[a-z][_0-9a-z\-*/]{0,255}|[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]")
_KEY = r"[!#-'*+\-.0-9A-Z^-z|~]+"
_TEXT = r"[!#-+\--:<-\[\]-~]*"
_PAIR = rf"{_KEY}[ \t]*=[ \t]*{_TEXT}[ \t]*"
_BAGGAGE = re.compile(rf"[ \t]*{_PAIR}(?:;[ \t]*(?:{_PAIR}|{_KEY}[ \t]*))*")
_WRITABLE = re.compile(r"[!-~](?:[\t -~]*[!-~])?")
"""A field value without anything that could end the line or be read in two ways."""


class ContextFields:
    """The fields of a request as a propagator reads them: those that would be forwarded, and X-Amzn-Trace-Id.

    Of the W3C fields it shows what is well-formed. A `traceparent` that comes twice counts as absent, because nobody can know which one is
    right; the W3C asks for a new trace then.

    Args:
        request: A parsed request to which the load balancer has added no fields yet.
    """

    __slots__ = ("_lower", "_text", "_trace_id")

    def __init__(self, request: RequestHead) -> None:
        # Each field stands between two line ends, so that one search finds its name at the start of a line only.
        self._text = text = b"\r\n".join((*request.lines, b""))
        self._lower = text.lower()
        self._trace_id = request.trace_id

    def values(self, name: str) -> list[str]:
        """Return the values of a field by its name, in any case; empty if there is none, or none that is well-formed."""
        lower = name.lower()
        if lower == _TRACE_ID:
            return [self._trace_id.decode("latin-1")] if self._trace_id else []
        values = self._raw(lower)
        if not values or lower not in _JUDGES:
            return values
        if lower == "traceparent":
            return values if len(values) == 1 and len(values[0]) <= _LONGEST else []
        # Several fields are one list (RFC 9110 section 5.3).
        value = _JUDGES[lower](values[0] if len(values) == 1 else ",".join(values))
        return [value] if value else []

    def _raw(self, lower: str) -> list[str]:
        start = f"\r\n{lower}:".encode("utf-8", "replace")
        values = []
        found = self._lower.find(start)
        while found >= 0:
            begin = found + len(start)
            end = self._text.index(b"\r\n", begin)
            # latin-1 gives every byte a character, so that no value is cut or rejected before the propagator has seen it.
            values.append(self._text[begin:end].strip(b" \t").decode("latin-1"))
            found = self._lower.find(start, end)
        return values

    def names(self) -> list[str]:
        """The names of all fields, in lower case."""
        names = [line.partition(b":")[0].decode("latin-1") for line in self._lower.split(b"\r\n")[1:-1]]
        return [*names, _TRACE_ID] if self._trace_id else names

    def has_any(self, starts: Iterable[bytes]) -> bool:
        """Whether one of the fields is there. Each is given as CR LF, the name in lower case, and a colon."""
        lower = self._lower
        for start in starts:  # noqa: SIM110 - a generator costs more than the search
            if start in lower:
                return True
        return False


def _wellformed_parent(value: str) -> str:
    return value


def _wellformed_state(value: str) -> str:
    """The value, or nothing if any part of it is wrong: a part may mean nothing without the others (W3C Trace Context section 3.3)."""
    if len(value) > _LONGEST:
        return ""
    states = [state for state in (one.strip(" \t") for one in value.split(",")) if state]
    if len(states) > _MOST_STATES or not all(map(_STATE.fullmatch, states)):
        return ""
    return ",".join(states)


def _wellformed_baggage(value: str) -> str:
    """The entries that are right. Each means something of its own."""
    if len(value) > _LONGEST:
        return ""
    entries = [entry.strip(" \t") for entry in value.split(",", _MOST_BAGGAGE)[:_MOST_BAGGAGE]]
    right = ",".join(entry for entry in entries if len(entry) <= _LONGEST_BAGGAGE and _BAGGAGE.fullmatch(entry))
    # Blanks are only allowed around delimiters and mean nothing, but some versions of the propagator do not accept them.
    return right.replace(" ", "").replace("\t", "")


_JUDGES = {"traceparent": _wellformed_parent, "tracestate": _wellformed_state, "baggage": _wellformed_baggage}


def replace_context(request: RequestHead, removed: frozenset[bytes], written: Mapping[str, str]) -> list[str]:
    """Replace the trace context in the lines that are forwarded.

    Args:
        request: A request to which the load balancer has added no fields yet.
        removed: Names of the client's fields to remove, in lower case; empty if it has sent none.
        written: The new fields.

    Returns:
        The names of fields that were left out, because a target could read them as something else: a name that means something to the
        load balancer or is no token, or a value that is too long or contains more than visible ASCII, spaces and tabs.
    """
    lines = request.lines
    if removed:
        lines[1:] = [line for line in lines[1:] if line[: line.find(b":")].lower() not in removed]
    refused = []
    room = _MOST_WRITTEN
    for name, value in written.items():
        if not isinstance(name, str) or not isinstance(value, str) or len(value) > _LONGEST or not _WRITABLE.fullmatch(value):
            refused.append(str(name))
            continue
        if name.lower() == _TRACE_ID:
            # The load balancer writes this field itself, and continues what it finds here.
            request.trace_id = value.encode("ascii")
            continue
        raw = name.encode("utf-8", "replace")
        room -= len(raw) + len(value)
        if room < 0 or REQUEST_FIELDS[raw] != PLAIN:
            refused.append(name)
            continue
        lines.append(raw + b": " + value.encode("ascii"))
    return refused
