"""Names of the program's own objects, and texts from outside, for logs and faults."""

from __future__ import annotations

__all__ = ("escaped", "name_of", "told")

_LONGEST_ESCAPED = 200
"""Characters of a text from outside that are kept, before they are escaped."""
_LONGEST_TOLD = 500
"""Characters of a `repr` that are kept."""


def escaped(text: str) -> str:
    """Return a text of a client, a target, a name server or the system for the log: bounded, in one line of printable ASCII."""
    return ascii(text[:_LONGEST_ESCAPED])[1:-1]


def told(thing: object) -> str:
    """Return the `repr` of an object of the program's own, for the log. If `repr` raises, the default of `object` takes its place."""
    try:
        text = repr(thing)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a __repr__ of the program's own may raise anything
        text = object.__repr__(thing)
    return str.__getitem__(text, slice(_LONGEST_TOLD))


def name_of(thing: object) -> str:
    """Return the name of a callable of the program's own, for the log, or its `repr` if it has none."""
    try:
        name = getattr(thing, "__qualname__", None)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - as above
        name = None
    return name if type(name) is str else told(thing)
