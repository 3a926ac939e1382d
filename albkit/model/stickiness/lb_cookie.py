"""The stickiness `LbCookie`."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.stickiness.fields import as_secrets, check_secrets
from albkit.model.stickiness.stickiness import BuiltInStickiness
from albkit.model.validation import Faults

__all__ = ("LbCookie",)


@attrs.frozen
class LbCookie(BuiltInStickiness):
    """Stickiness by a cookie that the load balancer sets, as ALB's `lb_cookie` (docs/alb.md 5.3).

    The first response of a group sets the cookies `AWSALB` and `AWSALBCORS`. A request with one of them goes to the same target. Every
    response renews the cookies, including a `101`. They contain a digest of group and target, so that every load balancer with the same
    configuration accepts them, before and after a restart. A cookie that cannot be accepted is ignored: the request is balanced normally.

    Example:
        alb.LbCookie(3600, while_draining="honor")

    Args:
        duration: Seconds that a session stays with its target after its latest response, 1 to 604800 (7 days).
        secrets: One secret or a list, each text or bytes of at least 16 bytes. With secrets, cookie values are encrypted and authenticated
            (AES-256-GCM): nobody else can create or read one. The first secret encrypts, and all of them decrypt. To change secrets, put
            the new one first, and drop the old one after `duration` seconds. Needs `pip install 'albkit[secrets]'`. Without
            secrets, values need no key, and a client that forges one can only choose its target.
        while_draining: What happens to the sessions of a target that is deregistered. `"rebalance"`, as ALB: they go to another
            target. `"honor"`: they stay until the deregistration delay is over, and only new sessions go elsewhere.

    Raises:
        ConfigurationError: listing every fault.
    """

    reads_requests = True
    reason = "bound by its cookie"

    duration: float = cast("float", default("LbCookie", "duration"))
    secrets: tuple[bytes, ...] = attrs.field(default=(), converter=as_secrets, kw_only=True, repr=False)
    while_draining: str = attrs.field(default=cast("str", default("LbCookie", "while_draining")), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("LbCookie")
        faults.attribute(self, "duration", "while_draining")
        check_secrets(faults, self.secrets)
        faults.raise_if_any()
