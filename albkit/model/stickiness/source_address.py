"""The stickiness `SourceAddress`."""

from __future__ import annotations

import attrs

from albkit.model.stickiness.stickiness import BuiltInStickiness

__all__ = ("SourceAddress",)


@attrs.frozen
class SourceAddress(BuiltInStickiness):
    """Stickiness by the client's address, without its port.

    A digest assigns each address to a target. Nothing is stored, and load balancers with the same targets agree. When one of N targets is
    added or removed, about one in N addresses moves. Clients behind the same NAT gateway share an address, and so a target.

    Example:
        alb.SourceAddress()
    """

    reads_requests = False
    reason = "bound by its client address"
