"""The algorithm `ip_hash`."""

from __future__ import annotations

from albkit.clock import Clock
from albkit.model.message import RequestHead
from albkit.policy.algorithms.hashing import Hashing

__all__ = ("IpHash", "client_address")


def client_address(request: RequestHead) -> str:
    """Return the client's address, without its port."""
    return request.client.host


class IpHash(Hashing):
    """Chooses the target that the client's address belongs to.

    Args:
        _clock: Not used: all algorithms are made with the same argument.
    """

    def __init__(self, _clock: Clock) -> None:
        super().__init__(client_address)
