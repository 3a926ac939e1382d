"""What every built-in kind of stickiness provides."""

from __future__ import annotations

from typing import ClassVar

__all__ = ("BuiltInStickiness",)


class BuiltInStickiness:
    """The base class of built-in kinds of stickiness. `STICKINESS` in this package's `__init__` lists them.

    These classes hold the settings. `albkit.policy.stickiness` has a class for each of them that binds sessions to targets.
    """

    __slots__ = ()

    reads_requests: ClassVar[bool]
    """Whether it needs more than the client's address. If so, groups of TCP and TLS listeners cannot use it."""

    reason: ClassVar[str]
    """Why a request goes to its target, as `explain` prints it."""
