"""Which target group a forward action sends to: its client's, else by weight (alb-reference 4.1)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate

from albkit.model.actions import Forward
from albkit.policy.stickiness import ClientCookie
from albkit.policy.target_choice import TargetChoice

__all__ = ("GroupChoice",)

_NAMES = (b"AWSALBTGCORS=", b"AWSALBTG=")


class GroupChoice:
    """Picks a group for each request of one forward action.

    Args:
        forward: The action.
        choices: Of every group, by name.
        chance: Numbers of [0, 1).
    """

    __slots__ = ("_chance", "_choices", "_cookie", "_rebalance", "_sums", "only")

    def __init__(self, forward: Forward, choices: Mapping[str, TargetChoice], chance: Callable[[], float]) -> None:
        self._choices = tuple(choices[group.name] for group, _ in forward.groups)
        self._sums = list(accumulate(weight for _, weight in forward.groups))
        self._chance = chance
        self._rebalance = forward.on_failure == "rebalance"
        keys = {choice: choice.group.group.name for choice in self._choices}
        self._cookie = ClientCookie(_NAMES, keys, forward.stickiness) if forward.stickiness is not None else None
        self.only = self._choices[0] if len(self._choices) == 1 and self._cookie is None else None
        """The one group, where there is nothing to choose and no cookie to set."""

    def pick(self, cookies: bytes, now: float) -> tuple[TargetChoice | None, bytes]:
        """The group for a request, `None` where all weights are 0, and the cookies that bind its client to it (empty for none)."""
        if self._cookie is None:
            return self._by_weight(), b""
        bound = self._cookie.find(cookies, now) if cookies else None
        if bound is not None and not bound.group.eligible and self._rebalance:
            bound = self._by_weight_among_alive()
        choice = bound if bound is not None else self._by_weight()
        return choice, self._cookie.lines(choice, now) if choice is not None else b""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        return tuple(choice.group.group.name for choice in self._choices)

    def _by_weight(self) -> TargetChoice | None:
        total = self._sums[-1]
        if not total:
            return None
        return self._choices[bisect_right(self._sums, self._chance() * total, hi=len(self._sums) - 1)]

    def _by_weight_among_alive(self) -> TargetChoice | None:
        weights = [weight - before for weight, before in zip(self._sums, (0, *self._sums), strict=False)]
        alive = [(choice, weight) for choice, weight in zip(self._choices, weights, strict=True) if choice.group.eligible and weight]
        if not alive:
            return None
        sums = list(accumulate(weight for _, weight in alive))
        return alive[bisect_right(sums, self._chance() * sums[-1], hi=len(sums) - 1)][0]
