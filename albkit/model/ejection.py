"""When a target that fails is left out for a while."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults

__all__ = ("CONNECTION_FAILURES", "Ejection")


@attrs.frozen(kw_only=True)
class Ejection:
    """For `TargetGroup(ejection=...)`: targets that fail their requests get no new ones for a while, whatever their health checks say.

    What is watched is the traffic itself, so no health check is needed. An ejected target keeps its tunnels and what is going on; sessions
    bound to it go elsewhere. When it comes back it is on probation until it has answered `probation` requests: of those that no session
    binds it gets one at a time, and one failure ejects it again, for longer.

    Args:
        consecutive_failures: Requests in a row that found no connection or no answer, 1 to 1000, 5 by default; `None` for no such limit.
        anomalies: Whether a target is ejected whose share of errors (5xx, and failures) stands out from its peers', where at least three
            are healthy (docs/alb.md 5.2); `True` by default. With `anomaly_mitigation="on"` it gets a smaller share instead.
        duration: Seconds of the first ejection, 30 by default; each further one in a row is twice as long.
        max_duration: Seconds of the longest, 300 by default.
        max_percent: How many of a group's targets may be ejected at any time, 1 to 100 percent, 50 by default. One always may, but never
            the last one. Where all that are left have failed their latest request as well and a standby is well they may be, too: then
            it takes over.
        probation: Answers in a row, 1 to 1000, 5 by default, behind which a target counts as any other again.

    Raises:
        ConfigurationError: listing every fault.
    """

    consecutive_failures: int | None = cast("int", default("Ejection", "consecutive_failures"))
    anomalies: bool = cast("bool", default("Ejection", "anomalies"))
    duration: float = cast("float", default("Ejection", "duration"))
    max_duration: float = cast("float", default("Ejection", "max_duration"))
    max_percent: int = cast("int", default("Ejection", "max_percent"))
    probation: int = cast("int", default("Ejection", "probation"))

    def __attrs_post_init__(self) -> None:
        faults = Faults("Ejection")
        faults.attribute(self, "anomalies", "duration", "max_duration", "max_percent", "probation")
        if self.consecutive_failures is not None:
            faults.attribute(self, "consecutive_failures")
        elif self.anomalies is False:
            faults.add(
                "", "neither consecutive_failures nor anomalies: nothing would ever be ejected; drop the Ejection, or one of the two"
            )
        faults.raise_if_any()


CONNECTION_FAILURES = Ejection(consecutive_failures=1, anomalies=False, duration=10, max_duration=60, max_percent=100, probation=1)
"""What `TargetGroup(ejection="auto")` stands for in a group without a health check, where nobody else would notice a target that is dead.

Only connections that do not come about count. One is enough, since the next client would wait for the same target as long; and one that
does come about makes the target as any other again.
"""
