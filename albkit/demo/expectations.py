"""What a step of the tour expects, and what it says if it sees something else."""

from __future__ import annotations

__all__ = ("Unexpected", "expect", "expect_that")


class Unexpected(Exception):
    """A step has seen something unexpected."""


def expect(what: str, expected: object, seen: object) -> None:
    """Compare two values.

    Raises:
        Unexpected: they differ.
    """
    if seen != expected:
        raise Unexpected(f"{what}: expected {expected!r}, saw {seen!r}")


def expect_that(held: bool, expected: str, seen: object) -> None:
    """Check anything else.

    Raises:
        Unexpected: it does not hold.
    """
    if not held:
        raise Unexpected(f"expected {expected}, saw {seen!r}")
