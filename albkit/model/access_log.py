"""The access log: one line for each request, tunnel, and connection of a TCP or TLS listener."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.log_destination import LogDestination

__all__ = ("AccessLog",)


@attrs.frozen
class AccessLog(LogDestination):
    """An access log: one line for each request, each tunnel, and each connection of a TCP or TLS listener, written at its end.

    A thread of its own writes the lines, several at a time, within a tenth of a second. So a slow disk delays no request. If a file cannot
    be written, or a function does not return, lines wait in memory. When `buffer_size` is reached, further lines are dropped, counted in
    `LogLinesDroppedCount`, and reported once on the logger `albkit`. Writing is tried again until it succeeds.

    A file is created with mode 0o640 and appended to. Call `LoadBalancer.reopen_logs` after another program has renamed it; `albkit.run`
    does so on SIGUSR1. Several listeners may log to the same file, if their settings of rotation and `buffer_size` are equal. A named pipe
    may have no reader yet.

    Args:
        destination: The path of a file, or a function that is called with each line, without a line end, as text of printable ASCII. The
            function runs in the thread of the log, not in the event loop; it may block.
        format: `"alb"`, the fields of ALB's access log (docs/alb.md 7.1), and NLB's for TCP and TLS listeners; `"json"`, one object per
            line; or `"combined"`, the format of Apache and nginx, for HTTP and HTTPS listeners. Default: `"alb"`.
        rotate_size: Bytes, 1024 or more. A file that would become larger is renamed to `NAME.1`, `NAME.1` to `NAME.2` and so on, and a new
            file is begun. Default: `None`, no limit.
        rotate_interval: Seconds, 1 or more. A new file is begun at each multiple of this time since 1970 (UTC): 86400 begins one each
            midnight. Default: `None`.
        keep: How many renamed files to keep, 1 to 100000; older ones are deleted. Default: `10`.
        buffer_size: Bytes of lines that may wait to be written, 4096 to 1073741824. Default: `4194304`.

    Example:
        alb.AccessLog("access.log", rotate_interval=86400)

    Raises:
        ConfigurationError: lists every fault.
    """

    format: str = attrs.field(default=cast("str", default("AccessLog", "format")))
