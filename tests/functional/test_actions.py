"""What becomes of a request whose rule is found: weighted forwards, redirects, fixed answers, transforms, fields of the listener."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter

import pytest

import albkit as alb
from tests.support.balancing import balancing, listener, named
from tests.support.clock import FakeClock
from tests.support.gateway import running
from tests.support.peers import RawClient, Response, free_port, request, response, target
from tests.support.tunnels import UPGRADE, echo, switching


def dice() -> FakeClock:
    """A clock whose chance is chance, and the same in every run."""
    chance = random.Random(2026)
    return FakeClock([chance.random() for _ in range(2000)])


def group_cookies(answer: Response) -> dict[bytes, bytes]:
    """The group's cookies that a response sets: name to value."""
    pairs = [line.split(b";")[0].split(b"=", 1) for line in answer.all(b"set-cookie")]
    return {name: value for name, value in pairs if name.startswith(b"AWSALBTG")}


# Forward.


async def test_weights_share_new_clients_between_groups() -> None:
    """9 to 1 over 400 requests is 360 to 40, within four standard deviations."""
    async with named("blue", "green") as (blue, green):
        split = {alb.TargetGroup("blue", blue.address): 9, alb.TargetGroup("green", green.address): 1}
        async with balancing(listener(alb.Forward(split)), clock=dice()) as it:
            client = await it.client()
            seen = Counter([(await client.get()).body for _ in range(400)])
    # Four standard deviations of the binomial distribution are 24.
    assert 336 <= seen[b"blue"] <= 384
    assert seen[b"blue"] + seen[b"green"] == 400


async def test_group_of_weight_nothing_gets_nothing() -> None:
    """Weight 0 takes a group out; all weights 0 is a 503."""
    async with named("blue", "green") as (blue, green):
        on, off = alb.TargetGroup("blue", blue.address), alb.TargetGroup("green", green.address)
        nowhere = alb.Rule(1, alb.PathPattern("/nowhere"), alb.Forward({on: 0, off: 0}))
        async with balancing(listener(alb.Forward({on: 1, off: 0}), nowhere)) as it:
            client = await it.client()
            assert {(await client.get()).body for _ in range(30)} == {b"blue"}
            assert (await client.get("/nowhere")).status == 503
            assert it.counters["Failure_NoTargets"] == 1


@pytest.mark.parametrize("name", [b"AWSALBTG", b"AWSALBTGCORS"])
async def test_client_stays_with_its_group_over_a_restart(name: bytes) -> None:
    """Either cookie is enough, in another load balancer of the same description too; the CORS one says SameSite=None."""
    async with named("blue", "green") as (blue, green):
        split = {alb.TargetGroup("blue", blue.address): 1, alb.TargetGroup("green", green.address): 1}
        door = listener(alb.Forward(split, stickiness=600))
        async with balancing(door) as it:
            client = await it.client()
            answer = await client.get()
            home = answer.body
            plain, cors = answer.all(b"set-cookie")
            assert (plain.split(b"=")[0], cors.split(b"=")[0]) == (b"AWSALBTG", b"AWSALBTGCORS")
            assert cors.endswith(b"; Path=/; SameSite=None")
            value = group_cookies(answer)[name].decode()
            for _ in range(15):
                answer = await client.get("/", f"Cookie: a=b; {name.decode()}={value}")
                assert answer.body == home
                assert group_cookies(answer), "the cookies are renewed on every response"
        async with balancing(door) as it:
            client = await it.client()
            assert {(await client.get("/", f"Cookie: {name.decode()}={value}")).body for _ in range(15)} == {home}


async def test_forged_and_expired_group_cookies_are_a_fresh_choice() -> None:
    """Nonsense in the cookie chooses by weight, and sets a good one."""
    async with named("blue", "green") as (blue, green):
        split = {alb.TargetGroup("blue", blue.address): 1, alb.TargetGroup("green", green.address): 1}
        async with balancing(listener(alb.Forward(split, stickiness=600))) as it:
            client = await it.client()
            good = group_cookies(await client.get())[b"AWSALBTG"].decode()
            expired = "0" * 8 + good[8:]
            for cookie in (expired, "x", "g" * 40, good[:-1]):
                bodies = {(await client.get("/", f"Cookie: AWSALBTG={cookie}")).body for _ in range(30)}
                assert bodies == {b"blue", b"green"}, cookie


async def test_session_of_an_empty_group_is_rebalanced() -> None:
    """The group has lost its last target: the client gets another group, and its cookie."""
    async with named("blue", "green") as (blue, green):
        split = {alb.TargetGroup("blue", blue.address): 1, alb.TargetGroup("green", green.address): 1}
        async with balancing(listener(alb.Forward(split, stickiness=600))) as it:
            client = await it.client()
            answer = await client.get()
            home = answer.body.decode()
            other = "green" if home == "blue" else "blue"
            cookie = f"Cookie: AWSALBTG={group_cookies(answer)[b'AWSALBTG'].decode()}"
            await it.load_balancer.deregister_targets(home, blue.address if home == "blue" else green.address)
            for _ in range(10):
                answer = await client.get("/", cookie)
                assert (answer.status, answer.body) == (200, other.encode())
            cookie = f"Cookie: AWSALBTG={group_cookies(answer)[b'AWSALBTG'].decode()}"
            await it.load_balancer.register_targets(home, blue.address if home == "blue" else green.address)
            assert {(await client.get("/", cookie)).body for _ in range(10)} == {other.encode()}


async def test_session_of_an_empty_group_fails_where_that_is_asked_for() -> None:
    """`on_failure="fail"` answers 503, as ALB does."""
    async with named("blue", "green") as (blue, green):
        split = {alb.TargetGroup("blue", blue.address): 1, alb.TargetGroup("green", green.address): 1}
        async with balancing(listener(alb.Forward(split, stickiness=600, on_failure="fail"))) as it:
            client = await it.client()
            answer = await client.get()
            home = answer.body.decode()
            cookie = f"Cookie: AWSALBTG={group_cookies(answer)[b'AWSALBTG'].decode()}"
            await it.load_balancer.deregister_targets(home, blue.address if home == "blue" else green.address)
            for _ in range(5):
                assert (await client.get("/", cookie)).status == 503
            assert it.counters["HTTPCode_ELB_503_Count"] == 5


async def test_cookies_of_group_and_target_bind_together() -> None:
    """Both kinds of stickiness at once: the same group, and in it the same target."""
    async with named("b1", "b2", "g1", "g2") as (b1, b2, g1, g2):
        blue = alb.TargetGroup("blue", [b1.address, b2.address], stickiness=alb.LbCookie())
        green = alb.TargetGroup("green", [g1.address, g2.address], stickiness=alb.LbCookie())
        async with balancing(listener(alb.Forward({blue: 1, green: 1}, stickiness=600))) as it:
            client = await it.client()
            answer = await client.get()
            cookies = [line.split(b";")[0] for line in answer.all(b"set-cookie")]
            assert {cookie.split(b"=")[0] for cookie in cookies} == {b"AWSALB", b"AWSALBCORS", b"AWSALBTG", b"AWSALBTGCORS"}
            field = "Cookie: " + b"; ".join(cookies).decode()
            assert {(await client.get("/", field)).body for _ in range(20)} == {answer.body}


# Redirect and FixedResponse.


@pytest.mark.parametrize(
    ("redirect", "path", "location"),
    [
        (alb.Redirect(protocol="HTTPS", port=443), "/a?b=c", "https://example.com:443/a?b=c"),
        (alb.Redirect(path="/new/#{path}", status_code=301), "/old/x%20y?q", "http://example.com:{port}/new/old/x%20y?q"),
        (alb.Redirect(host="www.#{host}", query="from=#{host}&#{query}"), "/?a=1", "http://www.example.com:{port}/?from=example.com&a=1"),
        (alb.Redirect(host="other.example", port=8443, protocol="HTTPS", path="/", query=""), "/x?y", "https://other.example:8443/"),
    ],
)
async def test_redirect_tells_the_place(redirect: alb.Redirect, path: str, location: str) -> None:
    """Location with its port spelled out, the status asked for, a short page, and a counter."""
    async with balancing(listener(redirect)) as it:
        client = await it.client()
        answer = await client.get(path, host="Example.com:81")
        assert answer.status == redirect.status_code
        assert answer.get(b"location") == location.format(port=it.port).encode()
        assert str(redirect.status_code).encode() in answer.body
        head = await client.get(path, method="HEAD")
        assert (head.status, head.get(b"content-length")) == (redirect.status_code, str(len(answer.body)).encode())
        assert it.counters["HTTP_Redirect_Count"] == 2
        assert it.counters["HTTPCode_ELB_3XX_Count"] == 2
        assert "RequestCount" not in it.counters


async def test_redirect_above_8_kib_is_507() -> None:
    """A Location of 8 KiB is sent, one of a byte more is a 507 with a counter of its own."""
    async with balancing(listener(alb.Redirect(protocol="HTTPS", port=443))) as it:
        client = await it.client()
        room = 8192 - len("https://example.com:443/")
        answer = await client.get("/" + "a" * room)
        assert (answer.status, len(answer.get(b"location") or b"")) == (302, 8192)
        assert (await client.get("/" + "a" * (room + 1))).status == 507
        assert it.counters["HTTP_Redirect_Url_Limit_Exceeded_Count"] == 1
        assert it.counters["HTTP_Redirect_Count"] == 1
        assert it.counters["HTTPCode_ELB_5XX_Count"] == 1
        assert (await client.get()).status == 302


async def test_redirect_does_not_let_a_client_write_fields() -> None:
    """Whatever stands in path and query stays in the Location line."""
    async with balancing(listener(alb.Redirect(path="/new/#{path}"))) as it:
        answer = await (await it.client()).get("/a%0d%0aSet-Cookie:%20x?%0d%0a%0d%0a")
        assert answer.all(b"set-cookie") == []
        assert (answer.get(b"location") or b"").endswith(b"/new/a%0d%0aSet-Cookie:%20x?%0d%0a%0d%0a")


async def test_redirect_that_is_likely_wrong_is_told_when_it_comes_into_force(caplog: pytest.LogCaptureFixture) -> None:
    """At the start and with a new description; once for each."""
    doubtful = alb.Listener(0, alb.Redirect(protocol="HTTPS", host="www.example.com"), host="127.0.0.1", name="front")
    good = alb.Listener(0, alb.Redirect(protocol="HTTPS", port=443), host="127.0.0.1", name="front")

    def told() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        return lines

    async with balancing(doubtful) as it:
        (line,) = told()
        assert line.startswith("the redirect of listener front, default_actions: it leads to https:// on the port of this listener")
        assert "port=443" in line
        await it.load_balancer.apply(doubtful)
        await it.load_balancer.apply(good)
        assert told() == []
        await it.load_balancer.apply(doubtful)
        assert len(told()) == 1


async def test_fixed_response_says_what_was_asked() -> None:
    """Status, text and type with its charset; HEAD gets the length without the text; a request body is read over."""
    gone = alb.FixedResponse(410, "vergriffen \N{PENSIVE FACE}", "text/html")
    async with balancing(listener(gone, alb.Rule(1, alb.PathPattern("/empty"), alb.FixedResponse(204)))) as it:
        client = await it.client()
        answer = await client.get()
        assert answer.status_line == b"HTTP/1.1 410 Gone"
        assert answer.body.decode() == gone.body
        assert answer.get(b"content-type") == b"text/html; charset=utf-8"
        assert answer.get(b"server") == b"awselb/2.0"
        client.send(request("POST", "/", "Content-Length: 5", body=b"hello"))
        assert (await client.response()).status == 410
        head = await client.get(method="HEAD")
        assert head.get(b"content-length") == str(len(gone.body.encode())).encode()
        empty = await client.get("/empty")
        assert (empty.status, empty.get(b"content-length"), empty.body) == (204, None, b"")
        assert it.counters["HTTP_Fixed_Response_Count"] == 4
        assert "RequestCount" not in it.counters


@pytest.mark.parametrize("status", [204, 205])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_fixed_response_without_content_sends_none(status: int, method: str) -> None:
    """Whatever text was configured; a 205 says that its length is 0, and what follows on the connection is the next answer."""
    async with balancing(
        listener(alb.FixedResponse(200, "next"), alb.Rule(1, alb.PathPattern("/a"), alb.FixedResponse(status, "body")))
    ) as it:
        client = await it.client()
        client.send(request(method, "/a") + request("GET", "/b"))
        answer = await client.response(method)
        assert (answer.status, answer.get(b"content-length")) == (status, b"0" if status == 205 else None)
        answer = await client.response()
        assert (answer.status, answer.body) == (200, b"next")


async def test_fixed_response_of_1024_characters_of_four_bytes_is_sent_whole() -> None:
    """The limit is on characters, the length on the wire in bytes."""
    text = "\N{PENSIVE FACE}" * 1024
    async with balancing(listener(alb.FixedResponse(200, text))) as it:
        answer = await (await it.client()).get()
        assert (answer.get(b"content-length"), answer.body.decode()) == (b"4096", text)


# Transforms.


async def test_transforms_arrive_at_the_target() -> None:
    """Path, query and Host are rewritten behind the rule's choice; X-Forwarded-* and the body stay; the next request is rewritten anew."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        rewrites = [alb.UrlRewrite(r"^/v([0-9]+)/(.*)$", "/$2?version=$1"), alb.HostHeaderRewrite(r"^(.*)\.example\.com", "$1.internal")]
        rule = alb.Rule(1, alb.PathPattern("/v*"), alb.Forward(group), transforms=rewrites)
        async with balancing(listener(alb.Forward(group), rule)) as it:
            client = await it.client()
            for number in (1, 2):
                client.send(request("POST", f"/v{number}/x", "Content-Length: 3", host="A.example.com", body=b"abc"))
                assert (await client.response()).status == 200
                head = origin.heads[-1]
                assert head.startswith(f"POST /x?version={number} HTTP/1.1\r\n".encode())
                assert b"\r\nHost: a.internal" in head
                assert head.lower().count(b"\r\nhost:") == 1
            assert (await client.get("/other", host="A.example.com")).status == 200
            assert origin.heads[-1].startswith(b"GET /other HTTP/1.1\r\n")
            assert b"\r\nHost: a.example.com" in origin.heads[-1]
            assert (await client.get("/vx/y", host="plain")).status == 200
            assert origin.heads[-1].startswith(b"GET /vx/y HTTP/1.1\r\n"), "where nothing matches the request passes unchanged"


@pytest.mark.parametrize("preserve", [False, True])
async def test_host_header_rewrite_sees_the_clients_host_and_no_appended_port(preserve: bool) -> None:
    """Whether or not the client names the port; what goes on has the port that it would have had."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        rewrite = alb.HostHeaderRewrite(r"^mywebsite-(.+)\.com$", "internal.dev.$1.myweb.com")
        rule = alb.Rule(1, alb.PathPattern("/*"), alb.Forward(group), transforms=rewrite)
        async with balancing(listener(alb.Forward(group), rule), preserve_host_header=preserve) as it:
            client = await it.client()
            for host, port in (("mywebsite-shop.com", "" if preserve else f":{it.port}"), (f"mywebsite-shop.com:{it.port}", f":{it.port}")):
                for _ in range(2):
                    assert (await client.get(host=host)).status == 200
                    assert f"\r\nHost: internal.dev.shop.myweb.com{port}\r\n".encode() in origin.heads[-1]
            client.send(f"GET http://mywebsite-a.com/ HTTP/1.1\r\nHost: {'x' * 3}:{it.port}\r\n\r\n".encode())
            assert (await client.response()).status == 200
            assert b"\r\nHost: internal.dev.a.myweb.com" in origin.heads[-1]


@pytest.mark.parametrize("transform", [alb.UrlRewrite("^/", ""), alb.HostHeaderRewrite("^.*$", "a/b"), alb.HostHeaderRewrite("^.*$", "")])
async def test_transform_without_a_usable_result_is_500(transform: alb.UrlRewrite | alb.HostHeaderRewrite) -> None:
    """What is no path or no host is not sent; nothing reaches the target, and the connection goes on."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        rule = alb.Rule(1, alb.PathPattern("/a*"), alb.Forward(group), transforms=transform)
        async with balancing(listener(alb.Forward(group), rule)) as it:
            client = await it.client()
            assert (await client.get("/a")).status == 500
            assert it.counters["Failure_TransformFailed"] == 1
            assert origin.heads == []
            assert (await client.get("/b")).status == 200


# Fields of the listener.

FIELDS = {"Strict-Transport-Security": "max-age=1", "X-Frame-Options": "DENY", "Server": None}


async def test_listeners_fields_stand_on_every_response() -> None:
    """Proxied ones, our own, errors, and a 101; they replace the target's, once, and our Server is gone."""
    answer = response(200, b"ok", b"x-frame-options: ALLOW", b"X-Frame-Options: MAYBE", b"Server: theirs", b"X-Kept: 1")
    async with target(None, answer) as origin, target(switching(then=echo)) as upgrades:
        web = alb.TargetGroup("web", origin.address)
        rules = (
            alb.Rule(1, alb.PathPattern("/fixed"), alb.FixedResponse(200, "x")),
            alb.Rule(2, alb.PathPattern("/away"), alb.Redirect(path="/")),
            alb.Rule(3, alb.PathPattern("/empty"), alb.Forward(alb.TargetGroup("empty"))),
            alb.Rule(4, alb.PathPattern("/ws"), alb.Forward(alb.TargetGroup("ws", upgrades.address))),
            alb.Rule(5, alb.PathPattern("/dead"), alb.Forward(alb.TargetGroup("dead", f"127.0.0.1:{free_port()}"))),
        )
        async with balancing(listener(alb.Forward(web), *rules, response_headers=FIELDS)) as it:
            for path, status in (("/", 200), ("/fixed", 200), ("/away", 302), ("/empty", 503), ("/dead", 502), ("/ws", 101)):
                client = await it.client()
                client.send(request("GET", path, *(UPGRADE if path == "/ws" else ())))
                got = await client.response()
                assert got.status == status
                assert got.get(b"strict-transport-security") == b"max-age=1"
                assert got.get(b"x-frame-options") == b"DENY"
                assert got.get(b"server") == (b"theirs" if path == "/" else None)
                assert got.get(b"x-kept") == (b"1" if path == "/" else None)
            client.send(b"through")
            assert await client.read_exactly(7) == b"through"
            client = await it.client()
            client.send(b"nonsense\r\n\r\n")
            got = await client.response()
            assert (got.status, got.get(b"x-frame-options")) == (400, b"DENY")


async def test_listener_without_fields_leaves_responses_alone() -> None:
    """Another listener in front of the same group adds nothing."""
    async with target() as origin:
        group = alb.TargetGroup("group", origin.address)
        with_fields, without = listener(alb.Forward(group), response_headers={"X-Frame-Options": "DENY"}), listener(alb.Forward(group))
        async with balancing(with_fields, without) as it:
            assert (await (await it.client_of(0)).get()).get(b"x-frame-options") == b"DENY"
            assert (await (await it.client_of(1)).get()).get(b"x-frame-options") is None


# Algorithms.


async def test_least_outstanding_requests_avoids_a_busy_target() -> None:
    """While one target is at work, all else goes to the other."""
    async with named("a", "b") as (a, b):
        group = alb.TargetGroup("group", [a.address, b.address], algorithm="least_outstanding_requests")
        async with balancing(listener(alb.Forward(group))) as it:
            slow: RawClient = await it.client()
            slow.send(request("POST", "/", "Content-Length: 1"))
            async with asyncio.timeout(5):
                busy = b"a" if (await _first_of(a.arrived(), b.arrived())) == 0 else b"b"
            client = await it.client()
            assert {(await client.get()).body for _ in range(10)} == {b"a", b"b"} - {busy}
            slow.send(b"x")
            assert (await slow.response()).body == busy
            assert {(await client.get()).body for _ in range(4)} == {b"a", b"b"}


async def _first_of(*waits: object) -> int:
    tasks = [asyncio.ensure_future(wait) for wait in waits]  # type: ignore[call-overload]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return tasks.index(next(iter(done)))


async def test_weighted_random_follows_the_weights() -> None:
    """3 to 1 over 400 requests, within four standard deviations; in no fixed order."""
    async with named("a", "b") as (a, b):
        targets = [alb.Target("127.0.0.1", a.port, weight=3), alb.Target("127.0.0.1", b.port, weight=1)]
        async with balancing(listener(alb.Forward(alb.TargetGroup("group", targets, algorithm="weighted_random"))), clock=dice()) as it:
            client = await it.client()
            seen = [(await client.get()).body for _ in range(400)]
    assert 265 <= seen.count(b"a") <= 335
    assert seen[:200] != seen[200:]


async def test_round_robin_follows_the_weights_in_turn() -> None:
    """3 to 1 is 300 and 100 of 400 exactly, and never more than three in a row."""
    async with named("a", "b") as (a, b):
        targets = [alb.Target("127.0.0.1", a.port, weight=3), alb.Target("127.0.0.1", b.port, weight=1)]
        async with running(*targets) as gateway:
            client = await gateway.client()
            seen = b"".join([(await client.get()).body for _ in range(400)])
    assert (seen.count(b"a"), seen.count(b"b")) == (300, 100)
    assert b"aaaa" not in seen


class Recorder:
    """An algorithm of a program's own that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, int]] = []
        self.fails = False
        self.answer: object = None

    def _note(self, what: str, one: alb.extensions.AlgorithmTarget) -> None:
        self.told.append((what, str(one.target), one.outstanding))

    def joined(self, one: alb.extensions.AlgorithmTarget, /) -> None:
        self._note("joined", one)

    def left(self, one: alb.extensions.AlgorithmTarget, /) -> None:
        self._note("left", one)

    def started(self, one: alb.extensions.AlgorithmTarget, /) -> None:
        self._note("started", one)

    def finished(self, one: alb.extensions.AlgorithmTarget, /) -> None:
        self._note("finished", one)

    def choose(self, candidates, chance, /):  # type: ignore[no-untyped-def]
        assert 0 <= chance() < 1
        if self.fails:
            raise RuntimeError("no idea")
        return self.answer or (candidates[-1] if candidates else None)


async def test_algorithm_of_ones_own_is_told_of_everything() -> None:
    """joined, started, finished, left, each once and with the right count; the last target is chosen as the algorithm says."""
    recorder = Recorder()
    async with named("a", "b") as (a, b):
        group = alb.TargetGroup("group", [a.address, b.address], algorithm=recorder)
        async with balancing(listener(alb.Forward(group))) as it:
            client = await it.client()
            assert [(await client.get()).body for _ in range(2)] == [b"b", b"b"]
            await it.load_balancer.deregister_targets("group", b.address)
            assert (await client.get()).body == b"a"
            await it.load_balancer.deregister_targets("group", a.address)
            assert (await client.get()).status == 503
        turn_b = [("started", b.address, 1), ("finished", b.address, 0)]
        turn_a = [("started", a.address, 1), ("finished", a.address, 0)]
        joined = [("joined", a.address, 0), ("joined", b.address, 0)]
        assert recorder.told == [*joined, *turn_b, *turn_b, ("left", b.address, 0), *turn_a, ("left", a.address, 0)]


async def test_algorithm_that_cannot_choose_costs_its_exchange_only() -> None:
    """Raising, and choosing what is no candidate, are 500 and counted as the program's own failure; the next request is fine."""
    recorder = Recorder()
    async with named("a") as (a,), balancing(listener(alb.Forward(alb.TargetGroup("group", a.address, algorithm=recorder)))) as it:
        client = await it.client()
        recorder.fails = True
        assert (await client.get()).status == 500
        recorder.fails = False
        assert (await client.get()).status == 200
        recorder.answer = "a target"
        assert (await client.get()).status == 500
        recorder.answer = None
        assert (await client.get()).status == 200
        assert it.counters["Failure_HookFailed"] == 2
        assert "Failure_InternalError" not in it.counters
