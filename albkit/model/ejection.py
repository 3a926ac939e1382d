"""When a failing target gets no requests for a while."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults

__all__ = ("CONNECTION_FAILURES", "Ejection")


@attrs.frozen(kw_only=True)
class Ejection:
    """For `TargetGroup(ejection=...)`: targets that fail their requests get no new ones for a while, whatever their health checks say.

    Ejection watches the traffic itself, so it needs no health check. An ejected target keeps its tunnels and the exchanges in progress;
    sessions bound to it go to other targets. After its return, the target is on probation until it has answered `probation` requests: apart
    from sessions bound to it, it gets one request at a time, and one failure ejects it again, for longer.

    Args:
        consecutive_failures: Requests in a row without a connection or a response, 1 to 1000, or `None` for no such limit. Default: `5`.
        anomalies: Whether to eject a target whose error rate (5xx, and failures) stands out from that of its peers, if at least three are
            healthy (docs/alb.md 5.2). With `anomaly_mitigation="on"` the target gets a smaller share instead. Default: `True`.
        duration: Seconds of the first ejection; each further one in a row is twice as long. Default: `30`.
        max_duration: Seconds of the longest ejection. Default: `300`.
        max_percent: How many of a group's targets may be ejected at the same time, 1 to 100 percent. One target always may, but never the
            last one. If all others have failed their latest request too, and a standby target works, they may all be ejected, so that the
            standby takes over. Default: `50`.
        probation: Responses in a row, 1 to 1000, after which a target counts as any other again. Default: `5`.

    Raises:
        ConfigurationError: lists every fault.
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
                "", "consecutive_failures is None and anomalies is False, so nothing would be ejected; set one, or use ejection=None"
            )
        faults.raise_if_any()


CONNECTION_FAILURES = Ejection(consecutive_failures=1, anomalies=False, duration=10, max_duration=60, max_percent=100, probation=1)
"""What `TargetGroup(ejection="auto")` means in a group without a health check, in which nothing else would notice a dead target.

Only failed connections count. One is enough, because the next client would wait for the same target for as long; and one successful
connection ends the probation.
"""
