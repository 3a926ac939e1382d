"""Which of the eligible targets gets a request that no session binds (alb-reference 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("round_robin",)


def round_robin(group: TargetGroupState, candidates: Sequence[TargetState]) -> TargetState | None:
    """Each candidate in turn; `None` when there is none."""
    if not candidates:
        return None
    turn = group.rotation
    group.rotation = turn + 1
    return candidates[turn % len(candidates)]
