"""A load balancer in a process of its own, so that its memory can be measured and its descriptors limited.

    python -m tests.support.gateway_process LOOP TARGET...

Prints its port, and runs until its standard input ends. Each line of that says what the program around the load balancer is to do: open so
many files at a time (a number), open as many as it can and keep them (`hold`), or close those (`free`). Each time it prints how many it
could open, and the counters.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import albkit as alb


def open_files(files: ExitStack, wanted: int) -> int:
    """Open so many files if that many can be opened; how many it were."""
    for count in range(wanted):
        try:
            files.enter_context(Path(os.devnull).open())  # noqa: SIM115 - the stack is the context
        except OSError:
            return count
    return wanted


def obey(word: str, held: ExitStack) -> int:
    if word == "hold":
        return open_files(held, sys.maxsize)
    held.close()
    with ExitStack() as files:
        return open_files(files, 0 if word == "free" else int(word))


async def main(targets: list[str]) -> None:
    loop = asyncio.get_running_loop()
    group = alb.TargetGroup("group", targets, ejection=None)
    async with alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")) as load_balancer:
        print(load_balancer.listeners[0].port, flush=True)  # noqa: T201 - the port is what this process has to say
        held = ExitStack()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            opened = obey(line.strip(), held)
            print(json.dumps({"opened": opened, "counters": dict(load_balancer.counters)}), flush=True)  # noqa: T201 - this is what it was asked


if __name__ == "__main__":
    if sys.argv[1] == "uvloop":
        import uvloop

        uvloop.run(main(sys.argv[2:]))
    else:
        asyncio.run(main(sys.argv[2:]))
