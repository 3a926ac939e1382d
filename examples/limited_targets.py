"""Limit concurrency and queue requests: two workers with two slots each, a burst, a client that disconnects, and an added slot.

Model servers need this: each extra concurrent request slows down all the others. Run it without arguments. It starts its own workers, shows
which requests are answered, queued and rejected, and exits. If a step does not behave as described, it exits with status 1.
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
QUEUE = 6
CLIENTS = 12


class Worker:
    """A target that holds each request until `done` is released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.now = self.most = 0
        self.port = 0
        self.done = asyncio.Semaphore(0)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Stream the answer, as models do. The request occupies its slot until the last chunk."""
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
        """Listen on a free loopback port."""
        app = web.Application()
        app.router.add_post("/generate", self.generate)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]

    def target(self, slots: int) -> alb.Target:
        """Describe this worker for its target group."""
        return alb.Target("127.0.0.1", self.port, max_concurrency=slots)


async def main() -> None:
    """Send a burst of requests, then let the workers answer them one by one."""
    logging.getLogger("albkit").setLevel(logging.ERROR)  # Each rejected request logs a line at WARNING.
    async with AsyncExitStack() as stack:
        workers = [Worker(), Worker()]
        for worker in workers:
            await worker.start(stack)
        # Size a real queue by how long clients wait: at 6 answers a second, 60 places are 10 seconds.
        group = alb.TargetGroup("model", [worker.target(SLOTS) for worker in workers], waiting_line=QUEUE, waiting_timeout=20)
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

        print(f"{CLIENTS} clients send a request, one after the other:")
        asking: list[asyncio.Task[str]] = []
        for number in range(CLIENTS):
            asking.append(asyncio.create_task(ask(number)))
            await until(known(min(number + 1, 2 * SLOTS + QUEUE)), "each request is in progress or queued")
        rejected = asking[2 * SLOTS + QUEUE :]
        await asyncio.wait(rejected, timeout=5)
        print(f"  {working()} in progress, {waiting()} queued, rejected with {[task.result() for task in rejected]}")
        check([task.result() for task in rejected] == ["503", "503"], "requests beyond the queue get 503 at once")

        print("client 4, the first in the queue, disconnects:")
        asking[4].cancel()
        await until(lambda: waiting() == QUEUE - 1, "its place in the queue is free")
        print(f"  {waiting()} queued")

        print("two requests finish:")
        for worker in workers:
            worker.done.release()
        await until(lambda: waiting() == QUEUE - 3, "the next two leave the queue")
        await until(lambda: working() == 2 * SLOTS, "all slots are in use")
        begun = sorted(int(prompt) for worker in workers for prompt in worker.begun)
        print(f"  started so far: {begun}; {waiting()} queued")
        check(begun == [0, 1, 2, 3, 5, 6], "the queue keeps its order")

        print("the first worker gets twice as many slots:")
        await lb.register_targets("model", workers[0].target(2 * SLOTS))
        await until(lambda: waiting() == 1, "the new slots are used at once")
        await until(lambda: working() == 3 * SLOTS, "all slots are in use")
        print(f"  {working()} in progress, {waiting()} queued")

        for worker in workers:
            for _ in range(CLIENTS):
                worker.done.release()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        counts = {said: answers.count(said) for said in ("200 let me think: 42", "503")}
        print(f"in total: {counts}, 1 disconnected; most concurrent requests per worker: {[worker.most for worker in workers]}")
        check(list(counts.values()) == [9, 2], "all other requests are answered")
        check([worker.most for worker in workers] == [2 * SLOTS, SLOTS], "no worker ever exceeds its slots")
        print(f"TargetControlRequestRejectCount {lb.counters['TargetControlRequestRejectCount']}")


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, for at most eight seconds."""
    deadline = time.monotonic() + 8
    while not holds():
        check(time.monotonic() < deadline, what)
        await asyncio.sleep(0.005)


def check(happened: bool, what: str) -> None:
    """Exit with status 1 if `happened` is false."""
    if not happened:
        raise SystemExit(f"expected, but did not happen: {what}")


if __name__ == "__main__":
    asyncio.run(main())
