"""Two workers that take two requests at a time each, and a line in front of them: a burst, a client that gives up, and more room.

As for model servers, where one request more makes all slower. Run it as it stands: it starts workers of its own, shows who was answered
when, and ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

import albkit as alb

SLOTS = 2
LINE = 6
CLIENTS = 12


class Worker:
    """A target that works on a few prompts at a time, each until it is told that it is done."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.now = self.most = 0
        self.port = 0
        self.done = asyncio.Semaphore(0)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Answer piece by piece, as models do: the place is taken until the last one."""
        self.begun.append(request.query["prompt"])
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b"let me think")
            await self.done.acquire()
            await answer.write(b": 42")
            await answer.write_eof()
        finally:
            self.now -= 1
        return answer

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/generate", self.generate)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]

    def target(self, slots: int) -> alb.Target:
        """As its group knows it."""
        return alb.Target("127.0.0.1", self.port, max_concurrency=slots)


async def main() -> None:
    """Send a burst, and let the workers answer one after the other."""
    logging.getLogger("albkit").setLevel(logging.ERROR)  # Whoever is turned away is a line at WARNING.
    async with AsyncExitStack() as stack:
        workers = [Worker(), Worker()]
        for worker in workers:
            await worker.start(stack)
        # A real line is as long as clients are patient: at 6 answers a second, 60 places are 10 seconds.
        group = alb.TargetGroup("model", [worker.target(SLOTS) for worker in workers], waiting_line=LINE, waiting_timeout=20)
        lb = await stack.enter_async_context(alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")))
        client = await stack.enter_async_context(aiohttp.ClientSession(lb.listeners[0].url))

        async def ask(number: int) -> str:
            async with client.post("/generate", params={"prompt": str(number)}) as answer:
                return f"{answer.status} {await answer.text()}" if answer.status == 200 else str(answer.status)

        def waiting() -> int:
            return lb.counters["ActiveWaitingRequestCount"]

        def working() -> int:
            return sum(worker.now for worker in workers)

        def known(count: int) -> Callable[[], bool]:
            return lambda: working() + waiting() == count

        print(f"{CLIENTS} clients come, one behind the other:")
        asking: list[asyncio.Task[str]] = []
        for number in range(CLIENTS):
            asking.append(asyncio.create_task(ask(number)))
            await until(known(min(number + 1, 2 * SLOTS + LINE)), "who comes is worked on or waits")
        turned_away = asking[2 * SLOTS + LINE :]
        await asyncio.wait(turned_away, timeout=5)
        print(f"  {working()} are worked on, {waiting()} wait, {[task.result() for task in turned_away]} had to go")
        check([task.result() for task in turned_away] == ["503", "503"], "those for whom the line has no place get 503 at once")

        print("client 4, the first of the line, gives up:")
        asking[4].cancel()
        await until(lambda: waiting() == LINE - 1, "its place is free")
        print(f"  {waiting()} wait")

        print("two answers are over:")
        for worker in workers:
            worker.done.release()
        await until(lambda: waiting() == LINE - 3, "the next two are worked on")
        await until(lambda: working() == 2 * SLOTS, "all places are taken")
        begun = sorted(int(prompt) for worker in workers for prompt in worker.begun)
        print(f"  begun so far: {begun}; {waiting()} wait")
        check(begun == [0, 1, 2, 3, 5, 6], "the line keeps its order")

        print("the first worker gets more memory, and takes twice as many:")
        await lb.register_targets("model", workers[0].target(2 * SLOTS))
        await until(lambda: waiting() == 1, "the new room is taken at once")
        await until(lambda: working() == 3 * SLOTS, "all places are taken")
        print(f"  {working()} are worked on, {waiting()} waits")

        for worker in workers:
            for _ in range(CLIENTS):
                worker.done.release()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        counts = {said: answers.count(said) for said in ("200 let me think: 42", "503")}
        print(f"in the end: {counts}, 1 gave up; most at a time: {[worker.most for worker in workers]}")
        check(list(counts.values()) == [9, 2], "all others are answered")
        check([worker.most for worker in workers] == [2 * SLOTS, SLOTS], "no worker ever had more than it takes")
        print(f"TargetControlRequestRejectCount {lb.counters['TargetControlRequestRejectCount']}")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds, a few seconds at the most."""
    deadline = time.monotonic() + 8
    while not holds():
        check(time.monotonic() < deadline, what)
        await asyncio.sleep(0.005)


def check(happened: bool, what: str) -> None:
    """End with status 1 where something did not happen."""
    if not happened:
        raise SystemExit(f"this should have happened, and did not: {what}")


if __name__ == "__main__":
    asyncio.run(main())
