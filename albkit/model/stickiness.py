"""How a session stays with its target."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults

__all__ = ("LbCookie",)


@attrs.frozen
class LbCookie:
    """Stickiness by a cookie of the load balancer's own, as ALB's `lb_cookie` (alb-reference 5.3).

    The first response of a group sets `AWSALB` and `AWSALBCORS`; a request that brings one back goes to the same target. The cookies
    are renewed on every response, on a `101` too. They hold a digest of group and target, so that every instance with the same
    configuration honours them, before and after a restart.

    Args:
        duration: Seconds that a session stays with its target after its latest response, 1 to 604800 (7 days); 86400 by default.

    Raises:
        ConfigurationError: the duration is out of range.
    """

    duration: float = cast("float", default("LbCookie", "duration"))

    def __attrs_post_init__(self) -> None:
        faults = Faults("LbCookie")
        faults.attribute(self, "duration")
        faults.raise_if_any()
