"""Binds sessions to targets by a key of the request, such as the client's address."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from albkit.errors import Failure, FailureKind, name_of, told
from albkit.model.message import RequestHead, ResponseHead
from albkit.policy.ejection import has_enough
from albkit.policy.hash_ring import HashRing, place_of
from albkit.state.target import TargetState

__all__ = ("KeyStickiness", "client_address")

_log = logging.getLogger("albkit")


def client_address(request: RequestHead) -> str:
    """Return the client's address, without its port."""
    return request.client.host


class KeyStickiness:
    """Binds a session to the target that its key belongs to on a hash ring.

    Args:
        key: Returns the key of a request; `None` if it has none. It may be a callable of the program's own.
    """

    __slots__ = ("_eligible", "_key", "_ring", "_stale")

    def __init__(self, key: Callable[[RequestHead], str | None]) -> None:
        self._key = key
        self._ring = HashRing()
        self._eligible: Sequence[TargetState] = ()
        self._stale = False
        """Whether the ring does not match `_eligible` yet. It is updated with the next request, not with every change."""

    def target(self, request: RequestHead, _now: float) -> TargetState | None:
        key = self._ask(request)
        if key is None:
            return None
        if self._stale:
            self._stale = False
            self._ring.settle(self._eligible)
        return self._ring.find(place_of(key), _takes_one_more)

    def refuses(self, _request: RequestHead, _now: float) -> bool:
        return False

    def fields(self, _member: TargetState, _request: RequestHead, _response: ResponseHead, _now: float) -> bytes:
        return b""

    def come(self, member: TargetState) -> None: ...

    def go(self, member: TargetState) -> None: ...

    def settle(self, eligible: Sequence[TargetState]) -> None:
        self._eligible = eligible
        self._stale = True

    def _ask(self, request: RequestHead) -> str | None:
        try:
            key = self._key(request)
            if key is None or isinstance(key, str):
                # A subclass of str may override any method: make a plain str of it while errors still count as errors of the key.
                return None if key is None else str.__str__(key)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a key of the program's own may raise anything
            name = name_of(self._key)
            _log.exception("the sticky key %s failed", name, extra={"albkit_event": "hook_failed", "albkit_hook": name})
            raise Failure(FailureKind.HOOK_FAILED, f"the sticky key {name_of(self._key)}: {told(error)}") from None
        raise Failure(FailureKind.HOOK_FAILED, f"the sticky key {name_of(self._key)} returned {told(key)}, which is neither text nor None")


def _takes_one_more(member: TargetState) -> bool:
    """Return whether a target can get a request now.

    A target on probation gets one request at a time. Further keys that belong to it go to the next target on the ring, instead of waiting.
    """
    return not has_enough(member)
