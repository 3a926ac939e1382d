"""The errors that clients of the admin API get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from albkit.errors import ConfigurationError

__all__ = ("Fault", "Problem", "faults_of_configuration")

_MOST_FAULTS = 100
_LONGEST = 500

Fault = tuple[str, str]
"""The path of a part of the request, and what is wrong with it."""


class Problem(Exception):
    """An answer other than success.

    Args:
        status: The status of the answer.
        error: What is wrong, and what to do.
        faults: All that is wrong with the request.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, error: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error
        self.faults = tuple(faults)
        self.headers = headers or {}

    @classmethod
    def of_faults(cls, faults: Sequence[Fault]) -> Problem:
        """The answer to a request with faults."""
        return cls(422, "the request has a fault" if len(faults) == 1 else f"the request has {len(faults)} faults", faults)

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        shown = [{"path": path, "message": message[:_LONGEST]} for path, message in self.faults[:_MOST_FAULTS]]
        if len(self.faults) > _MOST_FAULTS:
            shown.append({"path": "", "message": f"and {len(self.faults) - _MOST_FAULTS} more"})
        return {"error": self.error[:_LONGEST], "faults": shown}


def faults_of_configuration(error: ConfigurationError, inside: str) -> Iterable[Fault]:
    """Return the faults of a configuration error, below the path of a part of the request."""
    for fault in error.faults:
        path, separator, message = fault.partition(": ")
        if separator and path.startswith("["):
            yield inside + path, message
        else:
            yield inside, fault
