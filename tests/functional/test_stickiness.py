"""Sessions by cookie, over real connections."""

from __future__ import annotations

import pytest

import albkit as alb
from tests.support.gateway import running
from tests.support.peers import Conversation, Response, request, response, target


def cookie_of(answer: Response, name: bytes = b"AWSALB") -> str:
    """The value that a response sets."""
    (value,) = [line.split(b";")[0].split(b"=", 1)[1] for line in answer.all(b"set-cookie") if line.startswith(name + b"=")]
    return value.decode()


@pytest.mark.parametrize("name", ["AWSALB", "AWSALBCORS"])
async def test_session_stays_with_its_target(name: str) -> None:
    """Either cookie is enough; others around it do not matter."""
    async with (
        target() as a,
        target() as b,
        target() as c,
        running(a.address, b.address, c.address, stickiness=alb.LbCookie()) as gateway,
    ):
        client = await gateway.client()
        value = cookie_of(await client.get(), name.encode())
        for _ in range(6):
            answer = await client.get("/", f"Cookie: first=1; {name}={value}; last=2")
            assert cookie_of(answer)
        assert sorted(len(origin.heads) for origin in (a, b, c)) == [0, 0, 7]
        assert gateway.counters["NonStickyRequestCount"] == 1


async def test_cookies_are_renewed_on_every_response() -> None:
    """Expires is 7 days ahead whatever the duration; the CORS one says SameSite=None."""
    async with target() as origin, running(origin.address, stickiness=alb.LbCookie(duration=60)) as gateway:
        client = await gateway.client()
        for _ in range(2):
            answer = await client.get()
            plain, cors = answer.all(b"set-cookie")
            assert plain.startswith(b"AWSALB=")
            assert plain.endswith(b"; Path=/")
            assert cors.startswith(b"AWSALBCORS=")
            assert cors.endswith(b"; Path=/; SameSite=None")


async def test_targets_own_cookies_pass_beside_ours() -> None:
    """All of them, in their order, before ours."""
    answer = response(200, b"ok", b"Set-Cookie: a=1", b"Set-Cookie: b=2; Path=/x")
    async with target(None, answer) as origin, running(origin.address, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        names = [line.split(b"=")[0] for line in (await client.get()).all(b"set-cookie")]
        assert names == [b"a", b"b", b"AWSALB", b"AWSALBCORS"]


async def test_cookie_holds_over_restart_and_in_another_instance() -> None:
    """Nothing is shared but the configuration."""
    async with target() as a, target() as b, target() as c:
        addresses = [a.address, b.address, c.address]
        async with running(*addresses, stickiness=alb.LbCookie()) as gateway:
            value = cookie_of(await (await gateway.client()).get())
        first = [len(origin.heads) for origin in (a, b, c)].index(1)
        async with running(*reversed(addresses), stickiness=alb.LbCookie()) as gateway:
            client = await gateway.client()
            for _ in range(5):
                await client.get("/", f"Cookie: AWSALB={value}")
        assert len((a, b, c)[first].heads) == 6


@pytest.mark.parametrize(
    "cookie",
    [
        "garbage",
        "",
        "ffffffff" + "0" * 32,
        "ffffffff",
        "00000001" + "0" * 32,
        "f" * 5000,
        "%41%42",
        "a b",
        '"quoted"',
        "-fffffff" + "0" * 32,
    ],
)
async def test_cookie_that_cannot_be_used_is_a_fresh_pick(cookie: str) -> None:
    """Never an error."""
    async with target() as origin, running(origin.address, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        answer = await client.get("/", f"Cookie: AWSALB={cookie}")
        assert answer.status == 200
        # What may be another group's stays behind the new one.
        kept = cookie if cookie == "f" * 8 + "0" * 32 else ""
        assert len(cookie_of(answer)) == 40 + len(kept)
        assert cookie_of(answer).endswith(kept)
        assert gateway.counters["NonStickyRequestCount"] == 1


async def test_retry_keeps_the_session_with_its_target() -> None:
    """A kept connection that the target closed under the request is no reason to move."""

    async def once(conversation: Conversation) -> None:
        await conversation.head()
        conversation.send(response())
        await conversation.head()

    async with target(once) as a, target(once) as b, running(a.address, b.address, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        value = cookie_of(await client.get())
        for _ in range(4):
            answer = await client.get("/", f"Cookie: AWSALB={value}")
            assert answer.status == 200
            assert cookie_of(answer)[8:] == value[8:]
        assert gateway.counters["RetryCount"] == 4


async def test_session_moves_when_its_target_refuses() -> None:
    """And the cookie names the new one."""
    async with target() as a, target() as b, running(a.address, b.address, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        value = cookie_of(await client.get())
        await (a if a.heads else b).close()
        answer = await client.get("/", f"Cookie: AWSALB={value}")
        assert answer.status == 200
        assert cookie_of(answer)[8:] != value[8:]


async def test_own_answers_carry_no_session() -> None:
    """A fixed response binds nobody."""
    rules = [alb.Rule(1, alb.PathPattern("/fixed"), alb.FixedResponse(200, "x"))]
    async with target() as origin, running(origin.address, rules=rules, stickiness=alb.LbCookie()) as gateway:
        client = await gateway.client()
        client.send(request("GET", "/fixed"))
        assert (await client.response()).all(b"set-cookie") == []
