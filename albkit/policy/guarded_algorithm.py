"""An algorithm of a target group, called so that it can harm nothing but the request that it is asked about."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from albkit.clock import Clock
from albkit.errors import Failure, FailureKind, name_of, told
from albkit.model.message import RequestHead
from albkit.policy.algorithms import algorithm_for, counts_requests
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("GuardedAlgorithm",)

_log = logging.getLogger("albkit")


class GuardedAlgorithm:
    """Calls the algorithm. If it raises or returns nonsense, the request fails with a 500; a notification that fails is only logged.

    Args:
        group: The group whose setting names the algorithm.
        clock: A source of time and randomness.
    """

    __slots__ = ("_algorithm", "_chance", "_choose_for", "_group", "hears_answers", "hears_traffic", "notifies", "setting")

    def __init__(self, group: TargetGroupState, clock: Clock) -> None:
        self._group = group
        self._chance = clock.random
        self.setting = group.group.algorithm
        """`TargetGroup.algorithm`, for which it was created."""
        self._algorithm = algorithm_for(self.setting, clock)
        self._choose_for: Callable[..., TargetState | None] | None = getattr(self._algorithm, "choose_for", None)
        self.notifies = counts_requests(self._algorithm)
        """Whether to call `started` and `finished`. Algorithms that count nothing need no notification."""
        self.hears_answers = callable(getattr(self._algorithm, "answered", None))
        self.hears_traffic = callable(getattr(self._algorithm, "transferred", None))

    def choose(self, candidates: Sequence[TargetState], request: RequestHead) -> TargetState | None:
        """Return one of the candidates for a request; `None` if the algorithm chooses none.

        Raises:
            Failure: 500, it failed, or chose something that is not eligible.
        """
        try:
            if self._choose_for is not None:
                member = self._choose_for(request, candidates, self._chance)
            else:
                member = self._algorithm.choose(candidates, self._chance)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - an algorithm of the program may raise anything
            self._log_failure("choose")
            raise Failure(FailureKind.HOOK_FAILED, f"the algorithm of group {self._group.group.name}: {told(error)}") from None
        return self._checked(member)

    def peek(self, candidates: Sequence[TargetState], request: RequestHead) -> TargetState | None:
        """Return what `choose` would return now, apart from random choices, without advancing any rotation."""
        # A shallow copy, so that the turn of a rotation is counted in the copy only.
        algorithm = copy(self._algorithm)
        if self._choose_for is not None:
            return self._checked(algorithm.choose_for(request, candidates, self._chance))
        return self._checked(algorithm.choose(candidates, self._chance))

    def _checked(self, member: Any) -> TargetState | None:
        # issubclass() of the type, because isinstance() reads the object's __class__, which may lie or raise.
        if member is None or (issubclass(type(member), TargetState) and member.eligible):
            return member  # type: ignore[no-any-return]
        raise self.no_candidate(member)

    def no_candidate(self, chosen: object) -> Failure:
        """Return the failure of a choice that was not offered."""
        return Failure(
            FailureKind.HOOK_FAILED, f"the algorithm of group {self._group.group.name} chose {told(chosen)}, which is not a candidate"
        )

    # Notifications.

    def joined(self, member: TargetState) -> None:
        """A member can be chosen from now on."""
        self._notify(self._algorithm.joined, member)

    def left(self, member: TargetState) -> None:
        """A member cannot be chosen any more."""
        self._notify(self._algorithm.left, member)

    def started(self, member: TargetState) -> None:
        """A request is sent to a member."""
        self._notify(self._algorithm.started, member)

    def finished(self, member: TargetState) -> None:
        """A request to a member is over."""
        self._notify(self._algorithm.finished, member)

    def answered(self, member: TargetState, seconds: float) -> None:
        """A member has answered after so many seconds, for an algorithm that measures it."""
        self._notify_optional("answered", member, seconds)

    def transferred(self, member: TargetState, count: int) -> None:
        """So many bytes were transferred for a member, for an algorithm that measures it."""
        self._notify_optional("transferred", member, count)

    def _notify(self, method: Callable[[TargetState], None], member: TargetState) -> None:
        try:
            method(member)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - an algorithm of the program must not break the exchange that it is notified of
            self._log_failure(name_of(method).rpartition(".")[2])

    def _notify_optional(self, name: str, member: TargetState, figure: float) -> None:
        # Another algorithm may have replaced the one that was asked when the request started, and may lack the method.
        try:
            method = getattr(self._algorithm, name, None)
            if method is not None:
                method(member, figure)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - as in `_notify`
            self._log_failure(name)

    def _log_failure(self, method: str) -> None:
        group = self._group.group.name
        fields = {"albkit_event": "hook_failed", "albkit_hook": f"algorithm.{method}", "albkit_group": group}
        _log.exception("the algorithm of group %s failed in %s", group, method, extra=fields)
