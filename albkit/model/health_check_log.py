"""The health check log: one line for each health check of a target."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.log_destination import LogDestination

__all__ = ("HealthCheckLog",)


@attrs.frozen
class HealthCheckLog(LogDestination):
    """A health check log: one line for each result of a health check (docs/alb.md 7.3).

    A check that says nothing about the target has no line: the target was deregistered meanwhile, or the event loop was blocked.

    Lines are written, dropped, and files rotated and reopened, as for `AccessLog`.

    Args:
        destination: The path of a file, or a function that is called with each line, without a line end, as text of printable ASCII. The
            function runs in the thread of the log, not in the event loop; it may block.
        format: `"alb"`, the fields of ALB's health check log, or `"json"`, one object per line, which also has the reason of each failure
            in words. Default: `"alb"`.
        rotate_size: Bytes, 1024 or more. A file that would become larger is renamed to `NAME.1`, `NAME.1` to `NAME.2` and so on, and a new
            file is begun. Default: `None`, no limit.
        rotate_interval: Seconds, 1 or more. A new file is begun at each multiple of this time since 1970 (UTC): 86400 begins one each
            midnight. Default: `None`.
        keep: How many renamed files to keep, 1 to 100000; older ones are deleted. Default: `10`.
        buffer_size: Bytes of lines that may wait to be written, 4096 to 1073741824. Default: `4194304`.

    Example:
        alb.HealthCheckLog("checks.log")

    Raises:
        ConfigurationError: lists every fault.
    """

    format: str = attrs.field(default=cast("str", default("HealthCheckLog", "format")))
