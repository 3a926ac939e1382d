"""Collects every fault of an object with its path, so that a person can correct all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from albkit.errors import ConfigurationError
from albkit.model import attributes

__all__ = ("Faults", "as_tuple")


def as_tuple(value: Any) -> tuple[Any, ...]:
    """One item or several, as a tuple, for arguments that accept one item or a list."""
    if value is None:
        return ()
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(value)
    return (value,)


class Faults:
    """The faults of one object while it is being built."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._faults: list[str] = []

    def add(self, path: str, what: str) -> None:
        """Add a fault."""
        self._faults.append(f"{path}: {what}" if path else what)

    def inside(self, path: str, error: ConfigurationError) -> None:
        """Add the faults of a part, below its path."""
        for fault in error.faults:
            separator = "" if not path or fault.startswith("[") else "."
            self._faults.append(f"{path}{separator}{fault}" if path else fault)

    def attribute(self, owner: object, *names: str) -> None:
        """Check settings of `owner` against the table in `attributes`."""
        kind = type(owner).__name__
        for name in names:
            wrong = attributes.fault(kind, name, getattr(owner, name))
            if wrong:
                self.add(name, wrong)

    def instances(self, path: str, values: Iterable[object], kinds: type[Any] | tuple[type[Any], ...], wanted: str) -> None:
        """Check the type of each of several values."""
        for index, value in enumerate(values):
            if not isinstance(value, kinds):
                self.add(f"{path}[{index}]", f"{value!r} is not {wanted}")

    def raise_if_any(self) -> None:
        """Stop building the object if there was a fault.

        Raises:
            ConfigurationError: with every fault that was added.
        """
        if self._faults:
            raise ConfigurationError(self._subject, self._faults)
