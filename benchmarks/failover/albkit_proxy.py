"""albkit configured for a service that must survive the loss of a target: health checks, short timeouts, ejection.

Commands on a unix socket drain a target and return it to service: `drain HOST:PORT`, `ready HOST:PORT`. The answer `ok` comes when it is
done.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import albkit as alb

_GROUP = "targets"
_DRAIN_TIMEOUT = 10
_EJECTION = getattr(alb, "Ejection", None)
"""Missing in older versions of albkit, which a baseline may be."""


class _Control:
    """Executes the commands on a unix socket."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._task: asyncio.Task[asyncio.Server] | None = None

    def open(self, load_balancer: alb.LoadBalancer) -> None:
        """Start to listen, until the event loop ends."""

        async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            word, _, target = (await reader.readline()).decode().strip().partition(" ")
            try:
                if word == "drain":
                    await load_balancer.deregister_targets(_GROUP, target)
                    await load_balancer.drained(_GROUP, target, _DRAIN_TIMEOUT)
                else:
                    await load_balancer.register_targets(_GROUP, target)
                writer.write(b"ok\n")
            except (TimeoutError, LookupError, ValueError) as error:
                writer.write(f"{error!r}\n".encode())
            writer.close()

        self._task = asyncio.get_running_loop().create_task(asyncio.start_unix_server(obey, self._path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    version = alb.__version__ if _EJECTION is not None else f"{alb.__version__}, which has no ejection"
    parser.add_argument("--version", action="version", version=version)
    parser.add_argument("control", help="path of the unix socket")
    parser.add_argument("port", type=int)
    parser.add_argument("targets", type=int, nargs="+", help="ports of 127.0.0.1")
    given = parser.parse_args()
    check = alb.HealthCheck("/health", interval=0.5, timeout=0.5, healthy_threshold=2, unhealthy_threshold=2)
    settings: dict[str, Any] = {} if _EJECTION is None else {"ejection": _EJECTION(consecutive_failures=3, duration=2)}
    group = alb.TargetGroup(_GROUP, [f"127.0.0.1:{port}" for port in given.targets], health_check=check, **settings)
    listener = alb.Listener(given.port, alb.Forward(group), host="127.0.0.1")
    control = _Control(given.control)
    alb.run(listener, ready=control.open, idle_timeout=2, limits=alb.Limits(connect_timeout=1), stop_timeout=3)


if __name__ == "__main__":
    main()
