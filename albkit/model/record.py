"""What is known about an exchange when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from albkit.errors import Failure
    from albkit.model.message import ClientAddress, RequestHead

__all__ = ("ExchangeRecord",)


class ExchangeRecord:
    """One exchange. The proxy fills it in as the exchange proceeds; logs and counters read it at the end."""

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
        """When the request head was complete, by the monotonic clock; 0 if it never was."""
        self.request: RequestHead | None = None
        self.matched_rule_priority = -1
        """0 for the default action, -1 before a rule was found."""
        self.group = ""
        self.target = ""
        self.attempts = 0
        self.elb_status_code = 0
        """The status that the client got; 0 if it got none."""
        self.target_status_code = 0
        self.received_bytes = 0
        """From the client, head included; for a tunnel, all of its bytes."""
        self.sent_bytes = 0
        self.failure: Failure | None = None
