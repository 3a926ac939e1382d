"""The lines of the logger `albkit`, by what they are about."""

from __future__ import annotations

import logging
from collections.abc import Iterable

__all__ = ("about", "failures")


def about(records: Iterable[logging.LogRecord], *events: str) -> list[logging.LogRecord]:
    """The lines whose `albkit_event` is one of these."""
    return [record for record in records if getattr(record, "albkit_event", "") in events]


def failures(records: Iterable[logging.LogRecord]) -> list[logging.LogRecord]:
    """The lines about exchanges, tunnels and connections that failed."""
    return about(records, "exchange_failed")
