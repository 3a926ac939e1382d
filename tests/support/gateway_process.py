"""A load balancer in a process of its own, so that its memory can be measured.

    python -m tests.support.gateway_process LOOP TARGET...

Prints its port, and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import sys

import albkit as alb


async def main(targets: list[str]) -> None:
    group = alb.TargetGroup("group", targets)
    async with alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")) as load_balancer:
        print(load_balancer.listeners[0].port, flush=True)  # noqa: T201 - the port is what this process has to say
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.run(main(sys.argv[2:]))
    else:
        asyncio.run(main(sys.argv[2:]))
