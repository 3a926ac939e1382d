"""Every kind of session, over real connections: it stays, and where it cannot stay it moves without an error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import albkit as alb
from tests.support.balancing import Balancing, balancing, listener
from tests.support.clock import FakeClock, first_in_order
from tests.support.gateway import Running, running
from tests.support.peers import Conversation, RawClient, Response, Target, free_port, request, response, target
from tests.support.tunnels import SWITCHED, UPGRADE, holding

__all__ = ("KINDS", "Browser", "Kind", "Shop", "key_of", "moved", "shops")

SECRET, OTHER_SECRET = "correct horse battery", "staple of another day"
QUICK = {"interval": 0.02, "timeout": 1.0, "healthy_threshold": 2, "unhealthy_threshold": 2}


class Shop:
    """A target that keeps sessions: names itself in the body, and sets a session's cookies where a request brings none of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.well = True
        self.heads: list[bytes] = []
        """Of all requests but health checks."""
        self.origin: Target

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            head, _ = await conversation.request()
            if b"ELB-HealthChecker" in head:
                conversation.send(response(200 if self.well else 500))
                continue
            self.heads.append(head)
            fields = []
            if b"SESSION=" not in head.replace(b"JSESSIONID=", b""):
                fields.append(b"Set-Cookie: SESSION=of-%s; Path=/" % self.name.encode())
            if b"8A5F." + self.name.encode() not in head:
                fields.append(b"Set-Cookie: JSESSIONID=8A5F.%s; Path=/" % self.name.encode())
            if b"\r\nUpgrade:" in head:
                conversation.send(
                    SWITCHED[:-2] + b"".join(field + b"\r\n" for field in (*fields, b"X-Name: " + self.name.encode())) + b"\r\n"
                )
                await holding(conversation)
            conversation.send(response(200, self.name.encode(), *fields))
            await conversation.drain()

    @property
    def declared(self) -> alb.Target:
        """As a target that names its route."""
        return alb.Target("127.0.0.1", self.origin.port, route=self.name)


@contextlib.asynccontextmanager
async def shops(*names: str) -> AsyncIterator[list[Shop]]:
    """Targets that keep sessions."""
    async with contextlib.AsyncExitStack() as stack:
        found = [Shop(name) for name in names]
        for shop in found:
            shop.origin = await stack.enter_async_context(target(shop))
        yield found


class Browser:
    """A client that brings back the cookies that it was given."""

    def __init__(self, gateway: Running, *fields: str) -> None:
        self.gateway = gateway
        self.fields = fields
        self.jar: dict[str, str] = {}
        self.client: RawClient | None = None

    async def get(self, path: str = "/", *fields: str, anew: bool = False) -> Response:
        """One request, on a connection of its own where that is asked for."""
        if self.client is None or anew:
            self.client = await self.gateway.client()
        if self.jar:
            fields = (*fields, "Cookie: " + "; ".join(f"{name}={value}" for name, value in self.jar.items()))
        answer = await self.client.get(path, *self.fields, *fields)
        for line in answer.all(b"set-cookie"):
            name, _, value = line.partition(b";")[0].decode().partition("=")
            self.jar[name] = value
        if answer.status == 101:
            self.client = None
        return answer

    async def upgrade(self) -> Response:
        """Ask for a tunnel, on a connection of its own."""
        return await self.get("/ws", *UPGRADE, anew=True)


def key_of(request: alb.Request) -> str | None:
    """Whose request it is, by a field."""
    return request.headers.get("X-Tenant")


class Kind:
    """One kind of session, and how a client takes part in it."""

    def __init__(self, setting: Any, *fields: str, in_path: bool = False, cookie: str | None = None) -> None:
        self.setting = setting
        self.fields = fields
        self.in_path = in_path
        self.cookie = cookie
        """What the load balancer sets, where it sets something."""

    def browser(self, gateway: Running) -> Browser:
        return Browser(gateway, *self.fields)

    async def ask(self, browser: Browser, *, anew: bool = False) -> Response:
        """A request of the session."""
        if not self.in_path:
            return await browser.get(anew=anew)
        session = browser.jar.pop("JSESSIONID", "")
        answer = await browser.get(f"/basket;jsessionid={session}/x" if session else "/", anew=anew)
        browser.jar.setdefault("JSESSIONID", session)
        return answer


KINDS = {
    "lb-cookie": Kind(alb.LbCookie(), cookie="AWSALB"),
    "lb-cookie-sealed": Kind(alb.LbCookie(secrets=SECRET), cookie="AWSALB"),
    "app-cookie": Kind(alb.AppCookie("SESSION"), cookie="AWSALBAPP-0"),
    "app-cookie-sealed": Kind(alb.AppCookie("SESSION", secrets=[SECRET, OTHER_SECRET]), cookie="AWSALBAPP-0"),
    "route-in-cookie": Kind(alb.RouteSuffix("JSESSIONID")),
    "route-in-path": Kind(alb.RouteSuffix("JSESSIONID"), in_path=True),
    "source-address": Kind(alb.SourceAddress()),
    "key": Kind(key_of, "X-Tenant: 4711"),
}
any_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
any_cookie = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if kind.cookie], ids=[name for name, kind in KINDS.items() if kind.cookie]
)


async def stays(kind: Kind, browser: Browser, count: int = 6) -> bytes:
    """A session's target, after so many requests on old and new connections that all went there."""
    seen = [(await kind.ask(browser, anew=bool(turn % 2))).body for turn in range(count)]
    assert len(set(seen)) == 1, seen
    return seen[0]


async def moved(kind: Kind, browser: Browser, before: bytes) -> bytes:
    """The session's new target: the first request is answered by another one, and all further ones by the same."""
    answer = await kind.ask(browser)
    assert (answer.status, answer.body != before) == (200, True), answer
    assert await stays(kind, browser) == answer.body, "the session did not stay where it went"
    return answer.body


# Staying.


@any_kind
async def test_session_stays_over_many_requests_and_connections(kind: Kind) -> None:
    """Also while many others come and go in between."""
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        first = (await kind.ask(browser)).body
        for _ in range(4):
            for _ in range(4):
                await Browser(gateway, "X-Tenant: another").get()
            assert await stays(kind, browser, 4) == first


@any_kind
async def test_sessions_spread_over_the_targets(kind: Kind) -> None:
    """One session each, 24 of them; a single source address has a single target."""
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        seen = set()
        for number in range(24):
            fields = (f"X-Tenant: {number}",) if kind.fields else ()
            seen.add((await Browser(gateway, *fields).get()).body)
        assert len(seen) == (1 if isinstance(kind.setting, alb.SourceAddress) else 3)


@any_kind
async def test_session_holds_over_restart_and_in_two_load_balancers_at_once(kind: Kind) -> None:
    """They share nothing but the description, and its order does not matter."""
    async with shops("a", "b", "c") as found:
        targets = [shop.declared for shop in found]
        async with running(*targets, stickiness=kind.setting) as gateway:
            browser = kind.browser(gateway)
            first = await stays(kind, browser)
            async with running(*reversed(targets), stickiness=kind.setting) as other:
                for turn in range(6):
                    browser.gateway = (gateway, other)[turn % 2]
                    assert (await kind.ask(browser, anew=True)).body == first
        async with running(targets[1], targets[0], targets[2], stickiness=kind.setting) as again:
            browser.gateway, browser.client = again, None
            assert await stays(kind, browser) == first
            assert "StickinessCookieRefusedCount" not in again.counters


@any_kind
async def test_same_load_balancer_started_again_keeps_the_session(kind: Kind) -> None:
    """Stop and start of one object."""
    async with shops("a", "b", "c") as found:
        group = alb.TargetGroup("group", [shop.declared for shop in found], stickiness=kind.setting)
        balancer = alb.LoadBalancer(listener(alb.Forward(group)), stop_timeout=0.2)
        seen = set()
        browser = kind.browser(Running(balancer))
        for _ in range(3):
            async with balancer:
                seen.add(await stays(kind, browser))
                for client in browser.gateway.clients:
                    await client.close()
                browser.client = None
        assert len(seen) == 1


async def test_secrets_are_changed_one_after_the_other() -> None:
    """A value of the old secret is read while that is still known, and written anew with the new one; then the old one may go."""
    async with shops("a", "b", "c") as found:
        targets = [shop.declared for shop in found]
        kind = KINDS["lb-cookie-sealed"]
        async with running(*targets, stickiness=alb.LbCookie(secrets=SECRET)) as gateway:
            browser = Browser(gateway)
            first = await stays(kind, browser)
            old = dict(browser.jar)
        async with running(*targets, stickiness=alb.LbCookie(secrets=[OTHER_SECRET, SECRET])) as gateway:
            browser.gateway, browser.client = gateway, None
            assert await stays(kind, browser) == first
        async with running(*targets, stickiness=alb.LbCookie(secrets=OTHER_SECRET)) as gateway:
            browser.gateway, browser.client = gateway, None
            assert await stays(kind, browser) == first
            assert "NonStickyRequestCount" not in gateway.counters
            browser.jar = old
            assert (await browser.get()).status == 200
            assert gateway.counters["StickinessCookieRefusedCount"] == 1


async def test_claim_of_a_token_keeps_a_tenant_together() -> None:
    """A key may look into anything that the request says; without one the algorithm chooses."""

    def tenant(request: alb.Request) -> str | None:
        token = request.headers.get("Authorization", "")
        return token.removeprefix("Bearer ").split(".")[1] if token.startswith("Bearer ") else None

    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=tenant) as gateway:
        seen = {(await Browser(gateway, f"Authorization: Bearer {head}.tenant-7.sig").get()).body for head in ("x", "y", "z", "w")}
        assert len(seen) == 1
        anonymous = b"".join([(await Browser(gateway).get()).body for _ in range(6)])
        assert sorted(anonymous) == sorted(b"aabbcc")
        assert gateway.counters["NonStickyRequestCount"] == 6


@pytest.mark.parametrize("first", [True, False])
async def test_route_in_the_path_outranks_the_one_in_the_cookie(first: bool) -> None:
    """And where it names nobody the cookie's holds."""
    async with (
        shops("a", "b", "c") as found,
        running(*(shop.declared for shop in found), stickiness=alb.RouteSuffix("JSESSIONID")) as gateway,
    ):
        client = await gateway.client()
        route = "b" if first else "nobody"
        for _ in range(4):
            answer = await client.get(f"/x;JSessionId=1.{route};v=2?q", 'Cookie: JSESSIONID="1.c"')
            assert answer.body == (b"b" if first else b"c")
        assert "StickinessCookieRefusedCount" not in gateway.counters


async def test_route_is_a_targets_address_where_it_names_none() -> None:
    """The dots of an address are no obstacle."""
    async with shops("a", "b") as found, running(*(shop.origin.address for shop in found), stickiness=alb.RouteSuffix("sid")) as gateway:
        client = await gateway.client()
        for shop in (*found, *reversed(found), *found):
            assert (await client.get("/", f"Cookie: sid=x.y.{shop.origin.address}")).body == shop.name.encode()


# The 101, and the retry.


@any_cookie
async def test_cookie_rides_on_the_101_and_names_its_target(kind: Kind) -> None:
    """Requests and upgrades with it go where the tunnel goes."""
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        answer = await browser.upgrade()
        name = answer.get(b"x-name")
        assert answer.status == 101
        assert kind.cookie is not None
        assert any(line.startswith(kind.cookie.encode() + b"=") for line in answer.all(b"set-cookie"))
        assert await stays(kind, browser) == name
        for _ in range(3):
            assert (await browser.upgrade()).get(b"x-name") == name
        assert gateway.counters["ActiveTunnelCount"] == 4
        (counter,) = [count for name, count in gateway.counters.items() if name in ("NonStickyRequestCount", "AppCookieNonStickinessCount")]
        assert counter == 1


@any_kind
async def test_upgrade_follows_the_session(kind: Kind) -> None:
    """It goes where the requests before it went."""
    if kind.in_path:
        return
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        first = await stays(kind, browser)
        for _ in range(3):
            assert (await browser.upgrade()).get(b"x-name") == first
        assert await stays(kind, browser) == first


@any_cookie
@pytest.mark.parametrize("how", ["refuses", "closes"])
async def test_cookie_of_a_retried_request_names_the_target_that_answered(kind: Kind, how: str) -> None:
    """Not the one that was tried first."""

    async def closing(conversation: Conversation) -> None:
        await conversation.head()

    async with target(closing) as broken, shops("a", "b") as found:
        bad = broken.address if how == "closes" else f"127.0.0.1:{free_port()}"
        targets = [bad, *(shop.declared for shop in found)]
        async with running(*targets, stickiness=kind.setting, clock=first_in_order()) as gateway:
            browser = kind.browser(gateway)
            answer = await browser.get()
            assert answer.status == 200
            assert gateway.counters["RetryCount"] == 1
            assert await stays(kind, browser) == answer.body
            assert gateway.counters["RetryCount"] == 1


# Moving.


@contextlib.asynccontextmanager
async def checked(setting: Any) -> AsyncIterator[tuple[Balancing, list[Shop]]]:
    """Three targets that are asked whether they are well, and are."""
    async with shops("a", "b", "c") as found:
        check = alb.HealthCheck("/up", **QUICK)  # type: ignore[arg-type]
        group = alb.TargetGroup("group", [shop.declared for shop in found], stickiness=setting, health_check=check)
        async with balancing(listener(alb.Forward(group)), clock=first_in_order()) as it:
            await until_healthy(it, 3)
            yield it, found


async def until_healthy(it: Balancing, count: int) -> None:
    """Wait until so many targets are healthy."""
    async with asyncio.timeout(5):
        while it.load_balancer.counters["HealthyHostCount"] != count:
            await asyncio.sleep(0.001)


@any_kind
@pytest.mark.parametrize("how", ["unhealthy", "deregistered", "deregistered-with-a-request", "refuses"])
async def test_session_whose_target_fails_moves_and_stays(kind: Kind, how: str) -> None:
    """200 at once, by another target; there it stays, and no request costs an error."""
    by_key = isinstance(kind.setting, alb.SourceAddress) or kind.setting is key_of
    async with checked(kind.setting) as (it, found):
        browser = kind.browser(it)
        first = await stays(kind, browser)
        (shop,) = [shop for shop in found if shop.name.encode() == first]
        if how == "unhealthy":
            shop.well = False
            await until_healthy(it, 2)
        elif how == "refuses":
            await shop.origin.close()
            if by_key:
                # Nothing tells where a second try went: the key's next target has its turn once the first is known to be ill.
                assert (await kind.ask(browser)).status == 200
                await until_healthy(it, 2)
        else:
            if how == "deregistered-with-a-request":
                # A tunnel keeps it from being drained at once.
                assert (await browser.upgrade()).status == 101
            await it.load_balancer.deregister_targets("group", shop.declared)
        asked = len(shop.heads)
        second = await moved(kind, browser, first)
        assert len(shop.heads) == asked
        if how == "unhealthy":
            shop.well = True
            await until_healthy(it, 3)
            # Where nothing is kept the first one is the right one again.
            assert await stays(kind, browser) == (first if by_key else second)
        assert "HTTPCode_ELB_5XX_Count" not in it.counters


async def test_app_cookie_moves_for_good_without_the_applications_help() -> None:
    """The target that takes the session over sets no cookie of its own, and the session stays all the same."""
    kind = KINDS["app-cookie"]
    async with checked(kind.setting) as (it, found):
        browser = Browser(it)
        first = await stays(kind, browser)
        (shop,) = [shop for shop in found if shop.name.encode() == first]
        shop.well = False
        await until_healthy(it, 2)
        answer = await browser.get()
        assert [line for line in answer.all(b"set-cookie") if line.startswith(b"SESSION=")] == []
        assert answer.body != first
        assert await stays(kind, browser) == answer.body
        assert it.counters["AppCookieNonStickinessCount"] == 2


async def test_app_cookie_without_the_applications_cookie_binds_nobody() -> None:
    """Either one alone is a fresh pick, and the response takes ours back."""
    async with shops("a", "b") as found, running(*(shop.declared for shop in found), stickiness=alb.AppCookie("OTHER")) as gateway:
        browser = Browser(gateway)
        seen = [(await browser.get()).body for _ in range(4)]
        assert seen in ([b"a", b"b", b"a", b"b"], [b"b", b"a", b"b", b"a"])
        assert browser.jar["AWSALBAPP-0"] == "_remove_"
        assert gateway.counters["AppCookieNonStickinessCount"] == 4
        assert "StickinessCookieRefusedCount" not in gateway.counters


# Cookies that cannot be used.

Spoil = Callable[[str], str]
SPOILT: dict[str, Spoil] = {
    "garbage": lambda _: "garbage",
    "truncated": lambda value: value[:-1],
    "half": lambda value: value[: len(value) // 2],
    "longer": lambda value: value + "0",
    "altered": lambda value: value[:-2] + ("A" if value[-2] != "A" else "B") + value[-1],
    "altered-in-front": lambda value: ("A" if value[0] != "A" else "B") + value[1:],
    "oversize": lambda value: value * (8192 // len(value)),
    "not-ascii": lambda value: "\xff" + value[1:],
    "quoted": lambda value: f'"{value}"',
    "percent": lambda value: f"%41{value[3:]}",
    "two-bad-ones": lambda value: f"garbage; {{name}}={value[:-1]}",
    "signs": lambda value: "+" * len(value),
    "controls": lambda value: "\t" * 3 + value[3:],
}


@any_cookie
async def test_cookie_that_cannot_be_used_is_a_fresh_pick(kind: Kind) -> None:
    """200, counted, and a good cookie comes back."""
    assert kind.cookie is not None
    name = kind.cookie
    async with shops("a", "b") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:

        def counted() -> tuple[int, int]:
            picks = sum(gateway.counters.get(name, 0) for name in ("NonStickyRequestCount", "AppCookieNonStickinessCount"))
            return gateway.counters.get("StickinessCookieRefusedCount", 0), picks

        for how, spoil in SPOILT.items():
            refused, picks = counted()
            browser = kind.browser(gateway)
            await browser.get()
            assert counted() == (refused, picks + 1), how
            good = browser.jar[name]
            if name == "AWSALB":
                del browser.jar["AWSALBCORS"]
            browser.jar[name] = spoil(good).replace("{name}", name)
            answer = await browser.get()
            assert answer.status == 200, how
            assert counted() == (refused + 1, picks + 2), how
            if name == "AWSALB":
                assert len(browser.jar[name]) == len(good), how
                assert await stays(kind, browser) == answer.body, how
                assert counted() == (refused + 1, picks + 2), how


@any_cookie
async def test_good_cookie_sent_twice_is_good(kind: Kind) -> None:
    """In one field or in two."""
    assert kind.cookie is not None
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        first = await stays(kind, browser)
        cookies = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
        client = await gateway.client()
        assert {(await client.get("/", f"Cookie: {cookies}; {cookies}")).body for _ in range(4)} == {first}
        two = [await client.get("/", f"Cookie: {cookies}", f"Cookie: {cookies}") for _ in range(4)]
        assert [(answer.status, answer.body) for answer in two] == [(200, first)] * 4
        assert "StickinessCookieRefusedCount" not in gateway.counters


@any_cookie
async def test_session_spread_over_two_cookie_fields_is_one(kind: Kind) -> None:
    """As a front end that speaks HTTP/2 may hand it on."""
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        first = await stays(kind, browser)
        client = await gateway.client()
        fields = [f"Cookie: {name}={value}" for name, value in browser.jar.items()]
        for order in (fields, fields[::-1]):
            answers = [await client.get("/", *order) for _ in range(4)]
            assert [(answer.status, answer.body) for answer in answers] == [(200, first)] * 4


@any_cookie
async def test_foreign_cookie_is_a_fresh_pick(kind: Kind) -> None:
    """Of a load balancer with other targets, or with a group of another name."""
    async with shops("a", "b", "c", "d") as found:
        async with running(*(shop.declared for shop in found[2:]), stickiness=kind.setting) as other:
            browser = kind.browser(other)
            await browser.get()
        async with running(*(shop.declared for shop in found[:2]), stickiness=kind.setting) as gateway:
            browser.gateway, browser.client = gateway, None
            assert (await browser.get()).status == 200
            assert gateway.counters["StickinessCookieRefusedCount"] == 1
        group = alb.TargetGroup("elsewhere", [shop.declared for shop in found], stickiness=kind.setting)
        async with balancing(listener(alb.Forward(group))) as it:
            browser = kind.browser(it)
            await browser.get()
        async with running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
            browser.gateway, browser.client = gateway, None
            assert (await browser.get()).status == 200
            assert gateway.counters["StickinessCookieRefusedCount"] == 1


@pytest.mark.parametrize("make", [alb.LbCookie, lambda *given, **more: alb.AppCookie("SESSION", *given, **more)], ids=["lb", "app"])
@pytest.mark.parametrize("secrets", [(), SECRET], ids=["plain", "sealed"])
async def test_expired_cookie_is_a_fresh_pick(make: Callable[..., Any], secrets: Any) -> None:
    """Renewed on every response it holds for ever; unused for its duration it is refused."""
    clock = FakeClock()
    async with shops("a", "b") as found:
        targets = [shop.declared for shop in found]
        async with running(*targets, stickiness=make(60, secrets=secrets), clock=clock, client_keep_alive=604800) as gateway:
            browser = Browser(gateway)
            first = (await browser.get(anew=True)).body
            for _ in range(5):
                clock.advance(59)
                assert (await browser.get(anew=True)).body == first
            clock.advance(61)
            assert (await browser.get(anew=True)).status == 200
            assert gateway.counters["StickinessCookieRefusedCount"] == 1


@pytest.mark.parametrize("give", ["plain", "of-another-secret"])
@any_cookie
async def test_forged_cookie_is_refused_where_there_are_secrets(kind: Kind, give: str) -> None:
    """What anybody can compute, and what somebody else has sealed, name no target."""
    if not kind.setting.secrets:
        return
    app = isinstance(kind.setting, alb.AppCookie)
    secrets = () if give == "plain" else "another secret altogether"
    forging = alb.AppCookie("SESSION", secrets=secrets) if app else alb.LbCookie(secrets=secrets)
    async with shops("a", "b") as found:
        targets = [shop.declared for shop in found]
        async with running(*targets, stickiness=forging) as gateway:
            forger = Browser(gateway)
            await stays(kind, forger)
        async with running(*targets, stickiness=kind.setting) as gateway:
            forger.gateway, forger.client = gateway, None
            forged = dict(forger.jar)
            for count in range(1, 5):
                forger.jar = dict(forged)
                assert (await forger.get()).status == 200
                assert gateway.counters["StickinessCookieRefusedCount"] == count
            assert [len(shop.heads) for shop in found].count(2) == 1, "the forged cookies all went to one target"


@pytest.mark.parametrize(
    "session",
    ["", ".", "x", "x.", "x.nobody", "x.nobody.a.", "." * 8000, "x" * 8000, "x.a" + "b" * 8000, '"x.nobody"', "\xff.\xfe", "a.b" * 2500],
)
@pytest.mark.parametrize("where", ["cookie", "path"])
async def test_route_that_names_nobody_is_a_fresh_pick(session: str, where: str) -> None:
    """200, and counted where there is something behind a separator."""
    async with shops("a", "b") as found, running(*(shop.declared for shop in found), stickiness=alb.RouteSuffix("JSESSIONID")) as gateway:
        client = await gateway.client()
        if where == "path":
            if not session.isascii() or '"' in session:
                return
            answer = await client.get(f"/x;jsessionid={session}/y")
        else:
            answer = await client.get("/", f"Cookie: a=1; JSESSIONID={session}; b=2")
        assert answer.status == 200
        assert gateway.counters["NonStickyRequestCount"] == 1
        assert gateway.counters.get("StickinessCookieRefusedCount", 0) == ("." in session)


# Keys that fail.


class Awkward:
    """A key whose request tells it what to do."""

    def __call__(self, request: alb.Request) -> Any:
        what = request.headers.get("X-Do", "")
        if what == "raise":
            raise LookupError("no such tenant")
        return {"": "tenant", "int": 7, "bytes": b"tenant", "none": None, "empty": ""}[what]


@pytest.mark.parametrize("what", ["raise", "int", "bytes"])
async def test_key_that_fails_costs_its_exchange_only(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """500, a counter and a log line that says what was wrong; the same connection goes on."""
    async with shops("a", "b") as found, running(*(shop.declared for shop in found), stickiness=Awkward()) as gateway:
        good, bad = Browser(gateway), Browser(gateway, f"X-Do: {what}")
        first = (await good.get()).body
        with caplog.at_level(logging.WARNING, "albkit"):
            assert (await bad.get()).status == 500
        told = caplog.text
        assert "Awkward" in told
        assert {"raise": "no such tenant", "int": "7", "bytes": "b'tenant'"}[what] in told
        assert gateway.counters["Failure_HookFailed"] == 1
        assert gateway.counters["HTTPCode_ELB_500_Count"] == 1
        bad.fields = ()
        assert {(await bad.get()).body, (await good.get()).body} == {first}
        assert (await bad.upgrade()).status == 101


@pytest.mark.parametrize("what", ["none", "empty"])
async def test_key_that_gives_none_leaves_it_to_the_algorithm(what: str) -> None:
    """Empty text is a key as any other."""
    async with shops("a", "b") as found, running(*(shop.declared for shop in found), stickiness=Awkward()) as gateway:
        browser = Browser(gateway, f"X-Do: {what}")
        assert len({(await browser.get()).body for _ in range(4)}) == (2 if what == "none" else 1)


# Groups.


def groups(found: list[Shop], stickiness: Any = None) -> list[alb.TargetGroup]:
    """Two groups of two targets."""
    return [
        alb.TargetGroup("blue", [shop.declared for shop in found[:2]], stickiness=stickiness),
        alb.TargetGroup("green", [shop.declared for shop in found[2:]], stickiness=stickiness),
    ]


def forward(both: list[alb.TargetGroup], stickiness: Any, **more: Any) -> alb.Listener:
    return listener(alb.Forward(dict.fromkeys(both, 1), stickiness=stickiness, **more))


def team(name: bytes | None) -> int:
    """Which group a target is of."""
    assert name is not None
    return name in b"cd"


GROUP_COOKIES = {"seconds": 600, "lb-cookie": alb.LbCookie(600), "sealed": alb.LbCookie(600, secrets=[SECRET, OTHER_SECRET])}
any_group_cookie = pytest.mark.parametrize("kept", GROUP_COOKIES.values(), ids=GROUP_COOKIES)


@any_group_cookie
async def test_group_cookie_keeps_a_client_with_its_group(kept: Any) -> None:
    """Over connections, a tunnel, a restart and a second load balancer; both targets of the group serve it."""
    async with shops("a", "b", "c", "d") as found:
        async with balancing(forward(groups(found), kept)) as it, balancing(forward(groups(found)[::-1], kept)) as other:
            browser = Browser(it)
            answer = await browser.upgrade()
            mine = team(answer.get(b"x-name"))
            assert {line.partition(b"=")[0] for line in answer.all(b"set-cookie")} >= {b"AWSALBTG", b"AWSALBTGCORS"}
            seen = []
            for turn in range(16):
                browser.gateway = (it, other)[turn % 2]
                seen.append((await browser.get(anew=True)).body)
            assert {team(name) for name in seen} == {mine}
            assert len(set(seen)) == 2
        async with balancing(forward(groups(found), kept)) as again:
            browser.gateway = again
            assert {team((await browser.get(anew=True)).body) for _ in range(12)} == {mine}


@any_group_cookie
async def test_group_cookie_that_cannot_be_used_is_a_fresh_pick(kept: Any) -> None:
    """200, counted, and a good cookie comes back."""
    async with shops("a", "b", "c", "d") as found, balancing(forward(groups(found), kept)) as it:
        for refused, (how, spoil) in enumerate(SPOILT.items(), 1):
            browser = Browser(it)
            await browser.get()
            good = browser.jar["AWSALBTG"]
            del browser.jar["AWSALBTGCORS"]
            browser.jar["AWSALBTG"] = spoil(good).replace("{name}", "AWSALBTG")
            mine = team((await browser.get()).body)
            assert it.counters["StickinessCookieRefusedCount"] == refused, how
            assert len(browser.jar["AWSALBTG"]) == len(good), how
            assert {team((await browser.get()).body) for _ in range(8)} == {mine}, how
            assert it.counters["StickinessCookieRefusedCount"] == refused, how


async def test_forged_group_cookie_is_refused_where_there_are_secrets() -> None:
    """Without secrets the same one would be honoured."""
    async with shops("a", "b", "c", "d") as found:
        async with balancing(forward(groups(found), 600)) as it:
            browser = Browser(it)
            await browser.get()
        async with balancing(forward(groups(found), alb.LbCookie(600, secrets=SECRET))) as it:
            browser.gateway, browser.client = it, None
            assert (await browser.get()).status == 200
            assert it.counters["StickinessCookieRefusedCount"] == 1


@pytest.mark.parametrize(
    "stickiness", [alb.LbCookie(), alb.LbCookie(secrets=SECRET), alb.AppCookie("SESSION")], ids=["plain", "sealed", "app"]
)
@any_group_cookie
async def test_group_cookie_and_target_cookie_go_together(kept: Any, stickiness: Any) -> None:
    """One for the group, one for the target in it; the group's outranks the target's."""
    async with shops("a", "b", "c", "d") as found, balancing(forward(groups(found, stickiness), kept)) as it:
        browser, other = Browser(it), Browser(it)
        own = "AWSALBAPP-0" if isinstance(stickiness, alb.AppCookie) else "AWSALB"
        first = (await browser.get()).body
        assert {"AWSALBTG", "AWSALBTGCORS", own} <= browser.jar.keys()
        assert {(await browser.get(anew=bool(turn % 2))).body for turn in range(8)} == {first}
        assert (await browser.upgrade()).get(b"x-name") == first
        while team((await other.get()).body) == team(first):
            other = Browser(it)
        # The group's cookie of one client, and all others of another one: the target's is foreign there.
        mixed = Browser(it)
        mixed.jar = browser.jar | {name: value for name, value in other.jar.items() if not name.startswith("AWSALBTG")}
        assert team((await mixed.get()).body) == team(first)
        assert it.counters["StickinessCookieRefusedCount"] == 1


@any_group_cookie
async def test_client_of_a_group_that_lost_its_targets_moves_where_that_is_allowed(kept: Any) -> None:
    """With on_failure="rebalance": 200 by the other group, and its cookie; it stays there when the first group is back."""
    async with shops("a", "b", "c", "d") as found, balancing(forward(groups(found, alb.LbCookie()), kept, on_failure="rebalance")) as it:
        browser = Browser(it)
        mine = team((await browser.get()).body)
        gone = [shop.declared for shop in (found[2:] if mine else found[:2])]
        await it.load_balancer.deregister_targets(("blue", "green")[mine], gone)
        seen = [await browser.get() for _ in range(4)]
        assert {(answer.status, team(answer.body)) for answer in seen} == {(200, 1 - mine)}
        assert len({answer.body for answer in seen}) == 1
        await it.load_balancer.register_targets(("blue", "green")[mine], gone)
        assert {(await browser.get()).body for _ in range(4)} == {seen[0].body}


async def test_group_cookie_holds_where_its_weight_has_become_nothing() -> None:
    """A canary that gets no new clients keeps those that it has."""
    async with shops("a", "b", "c", "d") as found:
        blue, green = groups(found)
        async with balancing(forward([blue, green], 600)) as it:
            browser = Browser(it)
            while not team((await browser.get()).body):
                browser = Browser(it)
            await it.load_balancer.apply(listener(alb.Forward({blue: 1, green: 0}, stickiness=600)))
            browser.gateway = it
            assert {team((await browser.get(anew=True)).body) for _ in range(6)} == {1}
            assert {team((await Browser(it).get()).body) for _ in range(6)} == {0}


async def test_targets_see_the_cookies_once_and_as_they_came() -> None:
    """Ours among them: nothing is added to the request and nothing taken from it."""
    async with shops("a") as (shop,), running(shop.declared, stickiness=alb.LbCookie()) as gateway:
        browser = Browser(gateway)
        await browser.get()
        sent = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
        await browser.get()
        assert re.findall(rb"(?i)\r\ncookie: *([^\r]*)", shop.heads[-1]) == [sent.encode()]


async def test_own_answers_and_other_rules_carry_no_session() -> None:
    """A 503 of ours for a session whose group is empty sets no cookie either."""
    async with shops("a") as (shop,), running(shop.declared, stickiness=alb.LbCookie()) as gateway:
        browser = Browser(gateway)
        await browser.get()
        await gateway.load_balancer.deregister_targets("group", shop.declared)
        answer = await browser.get()
        assert (answer.status, answer.all(b"set-cookie")) == (503, [])
        await gateway.load_balancer.register_targets("group", shop.declared)
        assert (await browser.get()).status == 200
        client = await gateway.client()
        client.send(request("GET", "/", "Cookie: " + "; ".join(f"{name}={value}" for name, value in browser.jar.items())) * 3)
        assert [(await client.response()).status for _ in range(3)] == [200] * 3


# What explain says.


@any_kind
async def test_explain_tells_the_sessions_target(kind: Kind) -> None:
    """As the next request finds it, and without a word of cookies where there is none."""
    if kind.in_path:
        return
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        first = await stays(kind, browser)
        headers = [("X-Tenant", "4711"), ("Cookie", "; ".join(f"{name}={value}" for name, value in browser.jar.items()))]
        told = gateway.load_balancer.explain("GET", "http://example.com/", headers=headers)
        assert told.target is not None
        assert told.target.route == first.decode()
        if kind.setting is key_of or isinstance(kind.setting, alb.SourceAddress):
            assert "cookie" not in str(told).splitlines()[-1]


@pytest.mark.parametrize("what", ["raise", "int"])
async def test_explain_tells_of_a_key_that_fails(what: str) -> None:
    """As of an algorithm that fails: 500 in its text, nothing raised."""
    async with shops("a") as (shop,), running(shop.declared, stickiness=Awkward()) as gateway:
        told = gateway.load_balancer.explain("GET", "http://example.com/", headers={"X-Do": what})
        assert told.target is None
        assert "500" in str(told)


# Several cookies of one name, and ids in the query.


@any_cookie
async def test_good_cookie_behind_stale_ones_of_its_name_keeps_the_session(kind: Kind) -> None:
    """Browsers send all that fit, of several paths and domains, in an order that nobody here knows."""
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=kind.setting) as gateway:
        browser = kind.browser(gateway)
        home = await stays(kind, browser)
        assert kind.cookie is not None
        good = f"{kind.cookie}={browser.jar[kind.cookie]}"
        client = await gateway.client()
        refused = gateway.counters.get("StickinessCookieRefusedCount", 0)
        for bad in ("stale", "f" * 40, "00000000" + "0" * 32, "_remove_"):
            for cookies in (f"{kind.cookie}={bad}; {good}", f"{good}; {kind.cookie}={bad}", f"{kind.cookie}={bad}; " * 5 + good):
                for fields in (
                    [f"Cookie: SESSION=1; {cookies}"],
                    ["Cookie: SESSION=1", *(f"Cookie: {one}" for one in cookies.split("; "))],
                ):
                    assert (await client.get("/", *fields)).body == home
        assert gateway.counters.get("StickinessCookieRefusedCount", 0) == refused


async def test_route_in_the_query_keeps_a_session_without_cookies() -> None:
    """A handshake of Socket.IO, whose ids end with the route of the server that made them."""
    setting = alb.RouteSuffix("io", query_parameter="sid")
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=setting) as gateway:
        client = await gateway.client()
        for name in ("b", "c", "a", "b", "b"):
            answer = await client.get(f"/socket.io/?EIO=4&transport=polling&sid=8A5F.{name}", "Cookie: io=1.a")
            assert answer.body == name.encode()


async def test_parameter_of_the_query_stands_for_the_applications_cookie() -> None:
    """The load balancer's own comes along; without the parameter it says nothing."""
    setting = alb.AppCookie("SESSION", query_parameter="sid")
    async with shops("a", "b", "c") as found, running(*(shop.declared for shop in found), stickiness=setting) as gateway:
        browser = Browser(gateway)
        first = await browser.get()
        cookie = f"Cookie: AWSALBAPP-0={browser.jar['AWSALBAPP-0']}"
        client = await gateway.client()
        assert {(await client.get("/?sid=x", cookie)).body for _ in range(6)} == {first.body}
        assert len({(await client.get("/", cookie)).body for _ in range(6)}) == 3
        assert len({(await client.get("/?sid=x")).body for _ in range(6)}) == 3
