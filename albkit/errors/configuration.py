"""The error of a configuration that cannot work."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ("ConfigurationError",)


class ConfigurationError(ValueError):
    """A configuration that cannot work.

    `faults` lists every fault, each as `path: what is wrong and what would be right`. The path starts at the object that was being built
    (`rules[2].conditions[0]: ...`). Correct all of them, then build the object again.
    """

    def __init__(self, subject: str, faults: Iterable[str]) -> None:
        self.subject = subject
        self.faults = tuple(faults)
        super().__init__(subject, self.faults)

    def __str__(self) -> str:
        return f"{self.subject}: " + "; ".join(self.faults)
