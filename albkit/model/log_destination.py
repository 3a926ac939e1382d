"""What all logs have in common: where the lines go, how files are rotated, and how much may wait to be written."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any, cast

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults

__all__ = ("LogDestination",)


def _destination(value: Any) -> Any:
    """Turn a `pathlib.Path` into text."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


# The defaults are those of the attribute table; they are the same for all logs.
@attrs.frozen
class LogDestination:
    """The destination of a log: the base of the classes of logs, which document these settings."""

    destination: str | Callable[[str], object] = attrs.field(converter=_destination)
    rotate_size: int | None = attrs.field(default=None, kw_only=True)
    rotate_interval: float | None = attrs.field(default=None, kw_only=True)
    keep: int = attrs.field(default=cast("int", default("AccessLog", "keep")), kw_only=True)
    buffer_size: int = attrs.field(default=cast("int", default("AccessLog", "buffer_size")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        """Check the settings, and the `format` that each subclass adds with its own default."""
        faults = Faults(type(self).__name__)
        wrong = _fault_of(self.destination)
        if wrong:
            faults.add("destination", wrong)
        faults.attribute(self, "keep", "buffer_size")
        for name in ("rotate_size", "rotate_interval"):
            if getattr(self, name) is not None:
                faults.attribute(self, name)
                if callable(self.destination):
                    faults.add(name, "only files can be rotated; leave it out, or give a path as the destination")
        faults.attribute(self, "format")
        faults.raise_if_any()

    @property
    def path(self) -> str | None:
        """The path of the file; `None` if the lines go to a function."""
        return self.destination if isinstance(self.destination, str) else None

    @property
    def way_of_writing(self) -> tuple[object, ...]:
        """What must be equal in all logs that share a file."""
        return self.rotate_size, self.rotate_interval, self.keep, self.buffer_size


def _fault_of(destination: object) -> str | None:
    if isinstance(destination, str):
        if not destination:
            return "is empty; give the path of a file, or a function"
        if "\0" in destination:
            return f"{destination!r} is not a path: it contains a NUL character"
        return f"{destination!r} is a folder; add the name of a file" if destination.endswith("/") else None
    if not callable(destination):
        return f"{destination!r} is neither a path nor a function; give the path of a file, or a function that takes a line"
    if inspect.iscoroutinefunction(destination) or inspect.iscoroutinefunction(getattr(destination, "__call__", None)):  # noqa: B004
        return f"{destination!r} is a coroutine function, and is called in a thread without an event loop; give an ordinary function"
    try:
        hash(destination)
    except TypeError:
        return f"{destination!r} is not hashable; give a function, or a method of a hashable object"
    return None
