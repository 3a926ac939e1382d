"""Five ways to keep a session on its target, and what becomes of it when the target dies, comes back, and is deregistered.

Each target keeps its sessions in memory and counts visits, as many applications do: `a3` is the third visit of a session at target a. Run
it as it stands: it starts little targets of its own, shows where each visit went, and ends by itself.
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
    """A target: an application that knows its own sessions, and marks their ids with its name, as Tomcat does with `jvmRoute`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.visits: dict[str, int] = {}
        self.runner: web.AppRunner | None = None

    async def page(self, request: web.Request) -> web.Response:
        """Find the session or begin one, and tell how often it was here."""
        session = request.cookies.get("JSESSIONID", "")
        if session not in self.visits:
            session = f"{secrets.token_hex(8)}.{self.name}"
            self.visits[session] = 0
        self.visits[session] += 1
        answer = web.Response(text=f"{self.name}{self.visits[session]}")
        answer.set_cookie("JSESSIONID", session)
        return answer

    async def up(self) -> None:
        """Start, on the same port as before."""
        app = web.Application()
        app.router.add_get("/", self.page)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()
        self.port = self.runner.addresses[0][1]

    async def down(self) -> None:
        """Close the port and all connections. What is in memory stays: this is a network that fails, not a machine."""
        if self.runner is not None:
            await self.runner.cleanup()

    @property
    def target(self) -> alb.Target:
        """As its group knows it."""
        return alb.Target("127.0.0.1", self.port, route=self.name)


def user(request: alb.Request) -> str | None:
    """A key of our own: who is signed in. It stands in the client's field here; a real one reads a token."""
    return request.headers.get("X-User")


Kind = alb.LbCookie | alb.AppCookie | alb.RouteSuffix | alb.SourceAddress | Callable[[alb.Request], str | None]

# Each with whether a session goes back to its first target when that is well again.
KINDS: dict[str, tuple[Kind, bool]] = {
    "LbCookie": (alb.LbCookie(duration=3600, secrets=[secrets.token_urlsafe(32)]), False),
    "AppCookie": (alb.AppCookie("JSESSIONID", duration=3600), False),
    "RouteSuffix": (alb.RouteSuffix("JSESSIONID"), False),
    "SourceAddress": (alb.SourceAddress(), True),
    "a key": (user, True),
}


class Visitor:
    """A client with a cookie jar, that goes to one group."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self.client = client

    async def visit(self) -> tuple[str, str]:
        """Come a few times; the target of all visits, and what it said. The visits must not have been at several."""
        answers = []
        for _ in range(VISITS):
            async with self.client.get("/", headers={"X-User": "ann"}) as answer:
                check(answer.status == 200, "every visit is answered")
                answers.append(await answer.text())
        check(len({answer[0] for answer in answers}) == 1, f"a session has one target, not {answers}")
        return answers[0][0], " ".join(answers)


async def show(stack: AsyncExitStack, kind: str) -> None:
    """One kind of stickiness, in front of three targets of its own."""
    stickiness, goes_back = KINDS[kind]
    shops = {name: Shop(name) for name in "abc"}
    for shop in shops.values():
        await shop.up()
        stack.push_async_callback(shop.down)
    # By default a target that was dead is left out for 10 seconds: nobody shall wait for that here.
    group = alb.TargetGroup("shop", [shop.target for shop in shops.values()], stickiness=stickiness, ejection=None)
    lb = await stack.enter_async_context(alb.LoadBalancer(alb.Listener(0, alb.Forward(group), host="127.0.0.1")))
    jar = aiohttp.CookieJar(unsafe=True)  # "unsafe" takes cookies from bare IP addresses.
    client = await stack.enter_async_context(aiohttp.ClientSession(lb.listeners[0].url, cookie_jar=jar))
    visitor = Visitor(client)

    first, said = await visitor.visit()
    row = [said]

    await shops[first].down()
    second, said = await visitor.visit()
    check(second != first, "a session whose target is dead goes to another one")
    row.append(said)

    await shops[first].up()
    third, said = await visitor.visit()
    check(third == (first if goes_back else second), "cookies and routes stay where they went, keys go back")
    row.append(said)

    await lb.deregister_targets("shop", shops[third].target)
    await lb.drained("shop", shops[third].target, timeout=5)
    fourth, said = await visitor.visit()
    check(fourth != third, "a session whose target was deregistered goes to another one")
    row.append(said)
    ours = sorted({cookie.key for cookie in jar} - {"JSESSIONID"})
    print(f"{kind:14}", *(f"{cell:16}" for cell in row), ", ".join(ours) or "-")


async def main() -> None:
    """Show all kinds, one below the other."""
    titles = ("at first", "its target dies", "and comes back", "is deregistered")
    print(f"{'':14}", *(f"{title:16}" for title in titles), "cookies of the load balancer's")
    for kind in KINDS:
        async with AsyncExitStack() as stack:
            await show(stack, kind)
    await rotate()


async def rotate() -> None:
    """Change the secret of a cookie without losing a session."""
    print("\nthe secret is changed:")
    async with AsyncExitStack() as stack:
        shops = [Shop("a"), Shop("b")]
        for shop in shops:
            await shop.up()
            stack.push_async_callback(shop.down)
        old, new = secrets.token_urlsafe(32), secrets.token_urlsafe(32)

        def described(*keys: str) -> alb.Listener:
            group = alb.TargetGroup("shop", [shop.target for shop in shops], stickiness=alb.LbCookie(3600, secrets=keys))
            return alb.Listener(0, alb.Forward(group), host="127.0.0.1", name="front")

        lb = await stack.enter_async_context(alb.LoadBalancer(described(old)))
        jar = aiohttp.CookieJar(unsafe=True)
        client = await stack.enter_async_context(aiohttp.ClientSession(lb.listeners[0].url, cookie_jar=jar))
        number = itertools.count(1)
        first = ""
        for keys, said in (((old,), "the old one alone"), ((new, old), "the new one writes, both read"), ((new,), "the new one alone")):
            await lb.apply(described(*keys))
            target, visits = await Visitor(client).visit()
            first = first or target
            check(target == first, "a session outlasts a change of secrets")
            print(f"{next(number)}. {said}: {visits}")
        check(lb.counters["StickinessCookieRefusedCount"] == 0, "no cookie is refused")


def check(happened: bool, what: str) -> None:
    """End with status 1 where something did not happen."""
    if not happened:
        raise SystemExit(f"this should have happened, and did not: {what}")


if __name__ == "__main__":
    asyncio.run(main())
