"""What every built-in algorithm provides."""

from __future__ import annotations

from collections.abc import Sequence

from albkit.clock import Clock
from albkit.policy.weights import Chance
from albkit.state.target import TargetState

__all__ = ("BuiltInAlgorithm",)


class BuiltInAlgorithm:
    """The base class of built-in algorithms. `ALGORITHMS` in this package's `__init__` lists them.

    The methods are those of `albkit.extensions.Algorithm`, which algorithms of the program's own have as well. An algorithm can also have
    `choose_for`, `answered` and `transferred` (`RequestAlgorithm`, `ListeningAlgorithm`).

    An algorithm keeps ready what it needs, so that choosing among a thousand targets requires no scan. It reads weights from the targets.

    Args:
        clock: The source of time and random numbers.
    """

    def __init__(self, clock: Clock) -> None:
        raise NotImplementedError

    def joined(self, target: TargetState) -> None:
        """Add a target that can be chosen from now on. Also called for a target that joins again, with another weight."""
        raise NotImplementedError

    def left(self, target: TargetState) -> None:
        """Remove a target that cannot be chosen any more."""
        raise NotImplementedError

    def started(self, target: TargetState) -> None:
        """Note that a request was sent to the target. Not called for an algorithm that does not override this method."""

    def finished(self, target: TargetState) -> None:
        """Note that a request to the target is over. Not called for an algorithm that does not override this method."""

    def choose(self, candidates: Sequence[TargetState], chance: Chance) -> TargetState | None:
        """Return one of the candidates: of all targets that have joined, or of fewer for a retry.

        The number of candidates distinguishes the two cases, because a retry excludes targets that were tried. For all targets, use what
        was kept ready. A retry looks at its candidates only.
        """
        raise NotImplementedError
