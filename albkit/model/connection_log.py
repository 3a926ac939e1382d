"""The connection log: one line for each connection of a client."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.log_destination import LogDestination

__all__ = ("ConnectionLog",)


@attrs.frozen
class ConnectionLog(LogDestination):
    """A connection log: one line for each connection of a client, when it is established or has failed (docs/alb.md 7.2).

    A connection with TLS is established when its handshake is complete, any other one when it is accepted, or when its PROXY protocol
    header has arrived. Failed handshakes, connections that a limit rejects, and connections that end too early have a line as well.
    `conn_trace_id` is the same as in the access log.

    Lines are written, dropped, and files rotated and reopened, as for `AccessLog`.

    Args:
        destination: The path of a file, or a function that is called with each line, without a line end, as text of printable ASCII. The
            function runs in the thread of the log, not in the event loop; it may block.
        format: `"alb"`, the fields of ALB's connection log, or `"json"`, one object per line, which also has the reason of each failure in
            words. Default: `"alb"`.
        rotate_size: Bytes, 1024 or more. A file that would become larger is renamed to `NAME.1`, `NAME.1` to `NAME.2` and so on, and a new
            file is begun. Default: `None`, no limit.
        rotate_interval: Seconds, 1 or more. A new file is begun at each multiple of this time since 1970 (UTC): 86400 begins one each
            midnight. Default: `None`.
        keep: How many renamed files to keep, 1 to 100000; older ones are deleted. Default: `10`.
        buffer_size: Bytes of lines that may wait to be written, 4096 to 1073741824. Default: `4194304`.

    Example:
        alb.ConnectionLog("connections.log")

    Raises:
        ConfigurationError: lists every fault.
    """

    format: str = attrs.field(default=cast("str", default("ConnectionLog", "format")))
