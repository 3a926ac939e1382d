"""What is known of one exchange, tunnel or refused connection when it is over: all that an access log, a metric or an event needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from albkit.errors import Failure
    from albkit.model.message import ClientAddress, RequestHead
    from albkit.state.counters import Counters
    from albkit.state.target import TargetState
    from albkit.state.target_group import TargetGroupState

__all__ = ("ExchangeRecord",)


class ExchangeRecord:
    """One exchange. Whoever takes a step notes it here; `finish` reads it at the end.

    Times are seconds of the monotonic clock; 0 means that the step was not taken. Every step overwrites what an earlier attempt noted, so
    that the last attempt is the one that is told.
    """

    __slots__ = (
        "action",
        "answered_at",
        "attempts",
        "client",
        "elb_status_code",
        "ended_at",
        "failed_attempts",
        "failure",
        "group",
        "matched_rule_priority",
        "received_at",
        "received_bytes",
        "redirect_url",
        "request",
        "rules_evaluated",
        "sent_at",
        "sent_bytes",
        "target",
        "target_status_code",
    )

    def __init__(self, client: ClientAddress) -> None:
        self.client = client
        """Where the connection comes from; once the request was read, the client that a trusted proxy names."""
        self.request: RequestHead | None = None
        """`None` if its head was refused. Its `trace_id` is the one that the target was sent."""
        self.received_at = 0.0
        """The request head has come."""
        self.sent_at = 0.0
        """The request head was sent to the target."""
        self.answered_at = 0.0
        """The response head has come from the target."""
        self.ended_at = 0.0
        """The exchange, tunnel or connection is over."""
        self.matched_rule_priority = -1
        """0 for the default action, -1 before a rule was found."""
        self.rules_evaluated = 0
        self.action = ""
        """What the rule did, in the words of ALB's access log: `forward`, `redirect` or `fixed-response`; `hook` if an action of the
        program answered. Empty before a rule was found."""
        self.redirect_url = b""
        """The Location that a `Redirect` sent."""
        self.group: TargetGroupState | None = None
        self.target: TargetState | None = None
        """The target of the last attempt."""
        self.attempts = 0
        self.failed_attempts: list[tuple[TargetState, Failure]] | None = None
        """The attempts that failed, in their order; `None` if none did. The last one's failure is also `failure` if no other followed."""
        self.elb_status_code = 0
        """What the client was told; 0 when nothing could be told."""
        self.target_status_code = 0
        """What the target answered; 0 if it did not."""
        self.received_bytes = 0
        """From the client, head included; of a tunnel, in all."""
        self.sent_bytes = 0
        """To the client, head included; of a tunnel, in all."""
        self.failure: Failure | None = None
        """Why it ended, if not in good order. `failure.kind.reason` is the error reason."""

    def attempt_failed(self, target: TargetState, failure: Failure) -> None:
        """One attempt has failed; another may follow."""
        # Its frames hold this exchange, and a tunnel may keep the record for days.
        failure.__traceback__ = None
        if self.failed_attempts is None:
            self.failed_attempts = []
        self.failed_attempts.append((target, failure))

    def count(self, counters: Counters) -> None:
        """Add this to the counters. To be called once, at the end."""
        target = self.target
        status = self.target_status_code
        size = self.received_bytes + self.sent_bytes
        if target is not None:
            target.counters.transferred(size)
            if status:
                target.counters.responded(status)
        else:
            counters.transferred(size)
        failure = self.failure
        if self.rules_evaluated:
            counters.rules_evaluated(self.rules_evaluated)
        request = self.request
        if request is not None and (request.classification is not None or request.irregular_names):
            counters.head_judged(request)
        if failure is not None:
            counters.failed(failure)
            # If a target answered first, the client was told the target's status, unless that answer was taken back.
            if not status or self.elb_status_code == failure.kind.status:
                counters.responded(self.elb_status_code)
        elif not status and 300 <= self.elb_status_code < 400:
            counters.responded(self.elb_status_code)
