"""Five kinds of sticky sessions, and where a session goes when its target dies, recovers, and is deregistered.

Each target keeps its sessions in memory and counts requests, as many applications do: `a3` is the third request of a session at target a.
Run it without arguments. It starts its own targets, shows which target answered each request, and exits. If a step does not behave as
described, it exits with status 1.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack

import aiohttp
from aiohttp import web

import albkit as alb

VISITS = 3


class Shop:
    """A target: an application that keeps its sessions in memory and appends its name to their ids, as Tomcat does with `jvmRoute`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.visits: dict[str, int] = {}
        self.runner: web.AppRunner | None = None

    async def page(self, request: web.Request) -> web.Response:
        """Find or create the session, and answer with its request count."""
        session = request.cookies.get("JSESSIONID", "")
        if session not in self.visits:
            session = f"{secrets.token_hex(8)}.{self.name}"
            self.visits[session] = 0
        self.visits[session] += 1
        answer = web.Response(text=f"{self.name}{self.visits[session]}")
        answer.set_cookie("JSESSIONID", session)
        return answer

    async def up(self) -> None:
        """Start, on the same port as before if there was one."""
        app = web.Application()
        app.router.add_get("/", self.page)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]

    async def down(self) -> None:
        """Close the port and all connections. Sessions stay in memory: this simulates a network failure, not a crash."""
        if self.runner is not None:
            await self.runner.cleanup()

    @property
    def target(self) -> alb.Target:
        """Describe this target for its group."""
        return alb.Target("127.0.0.1", self.port, route=self.name)


def user(request: alb.Request) -> str | None:
    """A custom sticky key: the user. This example reads a request header; in production, read a verified token."""
    return request.headers.get("X-User")


Kind = alb.LbCookie | alb.AppCookie | alb.RouteSuffix | alb.SourceAddress | Callable[[alb.Request], str | None]

# Each kind, and whether a session returns to its first target once that target has recovered.
KINDS: dict[str, tuple[Kind, bool]] = {
    "LbCookie": (alb.LbCookie(duration=3600, secrets=[secrets.token_urlsafe(32)]), False),
    "AppCookie": (alb.AppCookie("JSESSIONID", duration=3600), False),
    "RouteSuffix": (alb.RouteSuffix("JSESSIONID"), False),
    "SourceAddress": (alb.SourceAddress(), True),
    "a key": (user, True),
}


class Visitor:
    """A client that checks that one target answers all its requests."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client

    async def visit(self) -> tuple[str, str]:
        """Send a few requests. Return the name of their target, and the answers. All requests must reach the same target."""
        answers = []
        for _ in range(VISITS):
            async with self.client.get("/", headers={"X-User": "ann"}) as answer:
                check(answer.status == 200, "every request is answered")
                answers.append(await answer.text())
        check(len({answer[0] for answer in answers}) == 1, f"a session has one target, not {answers}")
        return answers[0][0], " ".join(answers)


async def show(stack: AsyncExitStack, kind: str) -> None:
    """Show one kind of stickiness with three targets."""
    stickiness, goes_back = KINDS[kind]
    shops = {name: Shop(name) for name in "abc"}
    for shop in shops.values():
        await shop.up()
        stack.push_async_callback(shop.down)
    # By default, a target that refuses connections is ejected for 10 seconds. ejection=None avoids that wait.
    group = alb.TargetGroup("shop", [shop.target for shop in shops.values()], stickiness=stickiness, ejection=None)
    lb = await stack.enter_async_context(alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")))
    jar = aiohttp.CookieJar(unsafe=True)  # unsafe=True accepts cookies from IP addresses.
    client = await stack.enter_async_context(aiohttp.ClientSession(lb.listeners[0].url, cookie_jar=jar))
    visitor = Visitor(client)

    first, said = await visitor.visit()
    row = [said]

    await shops[first].down()
    second, said = await visitor.visit()
    check(second != first, "a session whose target is dead moves to another target")
    row.append(said)

    await shops[first].up()
    third, said = await visitor.visit()
    check(third == (first if goes_back else second), "cookies and routes stay at the new target, keys return to the first")
    row.append(said)

    await lb.deregister_targets("shop", shops[third].target)
    await lb.drained("shop", shops[third].target, timeout=5)
    fourth, said = await visitor.visit()
    check(fourth != third, "a session whose target is deregistered moves to another target")
    row.append(said)
    ours = sorted({cookie.key for cookie in jar} - {"JSESSIONID"})
    print(f"{kind:14}", *(f"{cell:16}" for cell in row), ", ".join(ours) or "-")


async def main() -> None:
    """Show all kinds in a table, then rotate a secret."""
    titles = ("at first", "target dies", "target recovers", "deregistered")
    print(f"{'':14}", *(f"{title:16}" for title in titles), "load balancer cookies")
    for kind in KINDS:
        async with AsyncExitStack() as stack:
            await show(stack, kind)
    await rotate()


async def rotate() -> None:
    """Rotate the secret of a stickiness cookie without losing a session."""
    print("\nrotate the secret:")
    async with AsyncExitStack() as stack:
        shops = [Shop("a"), Shop("b")]
        for shop in shops:
            await shop.up()
            stack.push_async_callback(shop.down)
        old, new = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

        def listener_with(*keys: str) -> alb.Listener:
            group = alb.TargetGroup("shop", [shop.target for shop in shops], stickiness=alb.LbCookie(3600, secrets=keys))
            return alb.Listener(0, alb.Forward(group), host="127.0.0.1", name="front")

        lb = await stack.enter_async_context(alb.LoadBalancer(listener_with(old)))
        jar = aiohttp.CookieJar(unsafe=True)
        client = await stack.enter_async_context(aiohttp.ClientSession(lb.listeners[0].url, cookie_jar=jar))
        number = itertools.count(1)
        first = ""
        for keys, said in (((old,), "old secret only"), ((new, old), "new secret signs, both are accepted"), ((new,), "new secret only")):
            await lb.apply(listener_with(*keys))
            target, visits = await Visitor(client).visit()
            first = first or target
            check(target == first, "a session survives the rotation of secrets")
            print(f"{next(number)}. {said}: {visits}")
        check(lb.counters["StickinessCookieRefusedCount"] == 0, "no cookie is rejected")


def check(happened: bool, what: str) -> None:
    """Exit with status 1 if `happened` is false."""
    if not happened:
        raise SystemExit(f"expected, but did not happen: {what}")


if __name__ == "__main__":
    asyncio.run(main())
