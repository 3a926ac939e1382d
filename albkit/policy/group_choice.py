"""Which target group of a forward action gets a request: the one in the client's cookie, else one by weight (docs/alb.md 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from albkit.clock import Clock
from albkit.model.actions.forward import Forward
from albkit.model.message import RequestHead
from albkit.model.stickiness.lb_cookie import LbCookie
from albkit.policy.client_cookie import ClientCookie
from albkit.policy.stickiness.cookies import marked_secure, plain_and_cors
from albkit.policy.target_choice import TargetChoice
from albkit.policy.weights import index_at

__all__ = ("GroupChoice",)

_PLAIN = b"AWSALBTG="
_CORS = b"AWSALBTGCORS="


class GroupChoice:
    """Chooses a group for each request of one forward action.

    Args:
        forward: The action.
        choices: The target choice of every group, by the name of the group.
        clock: The source of random numbers and bytes.
    """

    __slots__ = ("_chance", "_choices", "_cookie", "_rebalance", "_sums", "only")

    def __init__(self, forward: Forward, choices: Mapping[str, TargetChoice], clock: Clock) -> None:
        self._choices = tuple(choices[group.name] for group, _ in forward.groups)
        self._sums = list(accumulate(weight for _, weight in forward.groups))
        self._chance = clock.random
        self._rebalance = forward.on_failure == "rebalance"
        self._cookie: ClientCookie[TargetChoice] | None = None
        if forward.stickiness is not None:
            kept = forward.stickiness if isinstance(forward.stickiness, LbCookie) else LbCookie(forward.stickiness)
            keys = {choice: choice.group.group.name for choice in self._choices}
            write = plain_and_cors(_PLAIN, _CORS)
            self._cookie = ClientCookie((_CORS, _PLAIN), write, keys, kept.duration, kept.secrets, clock.entropy)
        self.only = self._choices[0] if len(self._choices) == 1 and self._cookie is None else None
        """The only group, if there is nothing to choose and no cookie to set; else `None`."""

    def pick(self, request: RequestHead, now: float) -> tuple[TargetChoice | None, bytes]:
        """Return the group for a request, `None` if all weights are 0, and the header lines that bind the client to it, empty for none."""
        if self._cookie is None:
            return self._by_weight(), b""
        bound = self._cookie.find(request.cookie, now) if request.cookie else None
        if bound is not None and not bound.group.eligible and self._rebalance and bound.bound(request, now) is None:
            bound = self._by_weight_among_alive()
        choice = bound if bound is not None else self._by_weight()
        return choice, marked_secure(self._cookie.lines(choice, now, request.cookie), request) if choice is not None else b""

    def refuses(self, request: RequestHead, now: float) -> bool:
        """Return whether the request has a cookie that should bind it to a group, but that binds it to none."""
        cookie = self._cookie
        return cookie is not None and cookie.came(request.cookie) and cookie.find(request.cookie, now) is None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups."""
        return tuple(choice.group.group.name for choice in self._choices)

    def _by_weight(self) -> TargetChoice | None:
        total = self._sums[-1]
        if not total:
            return None
        return self._choices[index_at(self._sums, self._chance() * total)]

    def _by_weight_among_alive(self) -> TargetChoice | None:
        weights = [weight - before for weight, before in zip(self._sums, (0, *self._sums), strict=False)]
        alive = [(choice, weight) for choice, weight in zip(self._choices, weights, strict=True) if choice.group.eligible and weight]
        if not alive:
            return None
        sums = list(accumulate(weight for _, weight in alive))
        return alive[index_at(sums, self._chance() * sums[-1])][0]
