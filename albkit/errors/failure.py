"""The failure of one exchange."""

from __future__ import annotations

from albkit.errors.failure_kinds import FailureKind, Side

__all__ = ("Failure",)


_BLAMELESS = frozenset(
    (
        FailureKind.TARGET_REFUSED_STREAM,  # The RFC's way to end a connection in good order (RFC 9113 section 8.7).
        FailureKind.TARGET_WITHOUT_WEBSOCKETS,
        FailureKind.RESPONSE_NOT_SWITCHED,
    )
)
"""Failures of targets that say nothing about their health. A client can cause the last two at will, with WebSocket requests for pages."""


class Failure(Exception):
    """One exchange has failed. Code decides by `kind` only; `detail` is for the reader of the log."""

    def __init__(self, kind: FailureKind, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail
        self.is_stale = False
        """Whether a kept connection ended before a byte of the answer came, so that the target may have closed it before it got the
        request. Set by the connection, which alone knows that. It has nothing to do with `kind.retry`."""

    @property
    def blames_target(self) -> bool:
        """Whether the failure counts against the target, for ejection and anomaly detection."""
        return self.kind.side is Side.TARGET and not self.is_stale and self.kind not in _BLAMELESS

    def __str__(self) -> str:
        return f"{self.kind.reason}: {self.kind.sentence}" + (f" ({self.detail})" if self.detail else "")
