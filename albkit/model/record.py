"""All that is known when an exchange is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from albkit.errors import Failure
    from albkit.model.message import ClientAddress, RequestHead

__all__ = ("ExchangeRecord",)


class ExchangeRecord:
    """One exchange, filled in as it goes and read by the report floor at its end."""

    __slots__ = (
        "attempts",
        "client",
        "elb_status_code",
        "failure",
        "group",
        "matched_rule_priority",
        "received_bytes",
        "request",
        "sent_bytes",
        "started",
        "target",
        "target_status_code",
    )

    def __init__(self, client: ClientAddress) -> None:
        self.client = client
        self.started = 0.0
        """When its request head had come, by the monotonic clock; 0 where none has."""
        self.request: RequestHead | None = None
        self.matched_rule_priority = -1
        """0 for the default action, -1 before a rule was found."""
        self.group = ""
        self.target = ""
        self.attempts = 0
        self.elb_status_code = 0
        """What the client was told; 0 when nothing could be told."""
        self.target_status_code = 0
        self.received_bytes = 0
        """From the client, head included; of a tunnel, in all."""
        self.sent_bytes = 0
        self.failure: Failure | None = None
