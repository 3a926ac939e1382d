"""Targets that are asked whether they are well, and what the answers do to the requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

import albkit as alb
from albkit.events import TargetStateChanged
from tests.functional.test_tls_targets import secure
from tests.support.balancing import Balancing, balancing, listener
from tests.support.peers import Conversation, Script, Target, free_port, response, target
from tests.support.tunnels import RAW_SWITCHED, SWITCHED, upgraded

QUICK = {"interval": 0.02, "timeout": 1.0}
HEALTHY, UNHEALTHY, INITIAL, DRAINING = (
    alb.TargetHealthState.HEALTHY,
    alb.TargetHealthState.UNHEALTHY,
    alb.TargetHealthState.INITIAL,
    alb.TargetHealthState.DRAINING,
)


class Patient:
    """A target that answers requests with its name, and checks with whatever it is told to."""

    def __init__(self, name: str = "patient") -> None:
        self.name = name
        self.answer: bytes | Script = response(200)
        self.checks: list[bytes] = []

    async def __call__(self, conversation: Conversation) -> None:
        while True:
            head = await conversation.head()
            if b"ELB-HealthChecker" not in head:
                conversation.send(response(200, self.name.encode()))
                continue
            self.checks.append(head)
            if callable(self.answer):
                await self.answer(conversation)
            else:
                conversation.send(self.answer)
                await conversation.drain()


def checked(*targets: object, check: alb.HealthCheck | None = None, **settings: object) -> alb.Listener:
    """A listener in front of one group with a health check."""
    check = check if check is not None else alb.HealthCheck("/healthz", unhealthy_threshold=2, healthy_threshold=2, **QUICK)  # type: ignore[arg-type]
    group = alb.TargetGroup("group", list(targets), health_check=check, **settings)  # type: ignore[arg-type]
    return listener(alb.Forward(group), name="door")


def states(it: Balancing) -> dict[str, alb.TargetHealthState]:
    """Of every target, by address."""
    return {str(one.target): one.state for one in it.load_balancer.describe_target_health("group")}


async def until(holds: Callable[[], bool]) -> None:
    """Wait until that is so."""
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def one(patient: Patient, check: alb.HealthCheck | None = None, **settings: object) -> AsyncIterator[tuple[Balancing, Target]]:
    """A load balancer in front of one patient."""
    async with target(patient) as origin, balancing(checked(origin.address, check=check, **settings)) as it:
        yield it, origin


async def test_check_asks_as_alb_does() -> None:
    """Path, Host as the target's address, ALB's user agent; nothing of what clients' requests get, and the connection closes."""
    patient = Patient()
    async with one(patient, alb.HealthCheck("/up?deep=1", **QUICK)) as (it, origin):  # type: ignore[arg-type]
        await until(lambda: len(patient.checks) >= 2)
        lines = patient.checks[0].decode().split("\r\n")
        assert lines[0] == "GET /up?deep=1 HTTP/1.1"
        assert f"Host: {origin.address}" in lines
        assert "User-Agent: ELB-HealthChecker/2.0" in lines
        assert "Connection: close" in lines
        assert len(lines) == 6
        assert len(origin.conversations) >= 2
        assert "RequestCount" not in it.counters


async def test_new_target_is_initial_until_its_first_check_passes() -> None:
    """One is enough; then it is healthy, and everybody who wants to know is told."""
    release = asyncio.Event()

    async def late(conversation: Conversation) -> None:
        await release.wait()
        conversation.send(response(200))

    patient = Patient()
    patient.answer = late
    async with one(patient) as (it, origin):
        told: list[TargetStateChanged] = []
        it.load_balancer.subscribe(lambda event: told.append(event) if isinstance(event, TargetStateChanged) else None)
        await until(lambda: bool(patient.checks))
        (described,) = it.load_balancer.describe_target_health("group")
        assert (described.state, described.reason) == (INITIAL, "Elb.InitialHealthChecking")
        assert described.description == "Initial health checks in progress"
        release.set()
        await until(lambda: bool(told))
        assert (told[0].state, told[0].reason, str(told[0].target)) == (HEALTHY, None, origin.address)
        assert it.load_balancer.counters["HealthyHostCount"] == 1


@pytest.mark.parametrize(
    ("answer", "reason", "description"),
    [
        pytest.param(response(500), "Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]", id="500"),
        pytest.param(response(301), "Target.ResponseCodeMismatch", "Health checks failed with these codes: [301]", id="redirect"),
        pytest.param(b"nonsense\r\n\r\n", "Target.FailedHealthChecks", "Health checks failed: ResponseNotHttp", id="nonsense"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "Target.FailedHealthChecks", "more than 32768 bytes", id="endless-head"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "Target.FailedHealthChecks", "no final response", id="interim-without-end"),
        pytest.param(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "Target.ResponseCodeMismatch",
            "[101]",
            id="switched-unasked",
        ),
    ],
)
async def test_wrong_answer_fails_the_check_and_says_why(answer: bytes, reason: str, description: str) -> None:
    """In ALB's words; a healthy target that fails twice in a row becomes unhealthy."""
    patient = Patient()
    async with one(patient) as (it, _):
        await until(lambda: HEALTHY in states(it).values())
        patient.answer = answer
        await until(lambda: UNHEALTHY in states(it).values())
        (described,) = it.load_balancer.describe_target_health("group")
        assert described.reason == reason
        assert description in described.description
        assert it.load_balancer.counters["UnHealthyHostCount"] == 1


async def test_target_that_never_answers_times_out_and_disturbs_nobody() -> None:
    """Checks of the other go on in time; no check of the silent one begins before its last is over."""

    async def never(_: Conversation) -> None:
        await asyncio.Event().wait()

    silent, good = Patient(), Patient()
    silent.answer = never
    check = alb.HealthCheck(interval=0.02, timeout=0.1, unhealthy_threshold=2)
    async with target(silent) as first, target(good) as second, balancing(checked(first.address, second.address, check=check)) as it:
        await until(lambda: UNHEALTHY in states(it).values())
        assert states(it) == {first.address: UNHEALTHY, second.address: HEALTHY}
        silent_one = it.load_balancer.describe_target_health("group", first.address)[0]
        assert (silent_one.reason, silent_one.description) == ("Target.Timeout", "Request timed out")
        assert len(good.checks) > 2 * len(silent.checks)


async def test_target_that_refuses_connections_fails() -> None:
    """And becomes healthy when it listens, once it has passed so often as it must."""
    address = f"127.0.0.1:{free_port()}"
    async with balancing(checked(address)) as it:
        await until(lambda: UNHEALTHY in states(it).values())
        (described,) = it.load_balancer.describe_target_health("group")
        assert described.reason == "Target.FailedHealthChecks"
        assert "Connect call failed" in described.description or "refused" in described.description.lower()


async def test_unhealthy_target_gets_no_requests_and_comes_back_after_several_checks() -> None:
    """Flapping does not bring it back: the passes must stand in a row."""
    sick, well = Patient("sick"), Patient("well")
    check = alb.HealthCheck(unhealthy_threshold=1, healthy_threshold=3, **QUICK)  # type: ignore[arg-type]
    async with target(sick) as first, target(well) as second, balancing(checked(first.address, second.address, check=check)) as it:
        await until(lambda: set(states(it).values()) == {HEALTHY})
        sick.answer = response(503)
        await until(lambda: states(it)[first.address] is UNHEALTHY)
        client = await it.client()
        assert {(await client.get()).body for _ in range(6)} == {b"well"}
        turn = 0

        async def flapping(conversation: Conversation) -> None:
            nonlocal turn
            turn += 1
            conversation.send(response(503 if turn % 3 == 0 else 200))

        sick.answer = flapping
        await until(lambda: turn >= 9)
        assert states(it)[first.address] is UNHEALTHY
        sick.answer = response(200)
        await until(lambda: states(it)[first.address] is HEALTHY)
        assert {(await client.get()).body for _ in range(6)} == {b"well", b"sick"}


async def test_group_without_healthy_targets_fails_open() -> None:
    """An answer of a sick target is better than none; the requests are counted."""
    patient = Patient()
    patient.answer = response(500)
    async with one(patient) as (it, _):
        await until(lambda: UNHEALTHY in states(it).values())
        client = await it.client()
        assert (await client.get()).body == b"patient"
        assert it.counters["UnhealthyRoutingRequestCount"] == 1


@pytest.mark.parametrize(
    ("minimum", "open_with_one_of_three"),
    [(1, False), (2, True), ("33%", False), ("34%", True), ((1, "34%"), True), ((2, "10%"), True)],
)
async def test_group_fails_open_below_its_minimum(minimum: object, *, open_with_one_of_three: bool) -> None:
    """A count, a percentage, or whichever of the two is breached."""
    patients = [Patient(name) for name in ("a", "b", "c")]
    for patient in patients[1:]:
        patient.answer = response(500)
    async with contextlib.AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(target(patient)) for patient in patients]
        door = checked(*(origin.address for origin in origins), minimum_healthy_targets=minimum)
        it = await stack.enter_async_context(balancing(door))
        await until(lambda: list(states(it).values()) == [HEALTHY, UNHEALTHY, UNHEALTHY])
        client = await it.client()
        answered = {(await client.get()).body for _ in range(9)}
        assert answered == ({b"a", b"b", b"c"} if open_with_one_of_three else {b"a"})


async def test_check_may_ask_another_port() -> None:
    """Where the health of a target is told by a process beside it."""
    async with target() as origin, target(Patient()) as beside:
        patient = beside.script
        assert isinstance(patient, Patient)
        check = alb.HealthCheck(port=beside.port, **QUICK)  # type: ignore[arg-type]
        async with balancing(checked(origin.address, check=check)) as it:
            await until(lambda: HEALTHY in states(it).values())
            assert f"Host: 127.0.0.1:{beside.port}\r\n".encode() in patient.checks[0]
            assert not origin.heads


async def test_check_over_tls_verifies_nothing() -> None:
    """As ALB: a check asks whether the target is well, not who it is."""
    patient = Patient()
    async with secure(patient) as origin, balancing(checked(f"https://{origin.address}")) as it:
        await until(lambda: HEALTHY in states(it).values())


async def test_check_by_connecting_alone_needs_no_answer() -> None:
    """For targets that have nothing to say of themselves."""

    async def silent(conversation: Conversation) -> None:
        await conversation.read_to_end()

    check = alb.HealthCheck(protocol="TCP", unhealthy_threshold=1, **QUICK)  # type: ignore[arg-type]
    async with target(silent) as origin, balancing(checked(origin.address, check=check)) as it:
        await until(lambda: HEALTHY in states(it).values())
        await origin.close()
        await until(lambda: UNHEALTHY in states(it).values())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        pytest.param(None, HEALTHY, None, id="right"),
        pytest.param(SWITCHED, UNHEALTHY, "Target.FailedHealthChecks", id="wrong-accept"),
        pytest.param(RAW_SWITCHED, UNHEALTHY, "Target.FailedHealthChecks", id="no-accept"),
        pytest.param(response(200), UNHEALTHY, "Target.ResponseCodeMismatch", id="200"),
    ],
)
async def test_check_by_a_websocket_handshake(answer: bytes | None, state: alb.TargetHealthState, reason: str | None, *, tls: bool) -> None:
    """The whole handshake has to be right; the target gets a Close behind it."""
    from albkit.wire.http1.upgrade import websocket_accept
    from tests.support.frames import read_frame

    codes: list[int] = []

    async def switches(conversation: Conversation) -> None:
        head = await conversation.head()
        assert head.startswith(b"GET /ws HTTP/1.1\r\n")
        key = next(line for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: ")).partition(b": ")[2]
        conversation.send(answer or SWITCHED.replace(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", websocket_accept(key)))
        if answer is None:
            codes.append((await read_frame(conversation)).code)

    check = alb.HealthCheck("/ws", protocol="WEBSOCKET", unhealthy_threshold=1, **QUICK)  # type: ignore[arg-type]
    scheme = "https://" if tls else ""
    async with (secure if tls else target)(switches) as origin, balancing(checked(scheme + origin.address, check=check)) as it:
        await until(lambda: INITIAL not in states(it).values())
        (described,) = it.load_balancer.describe_target_health("group")
        assert (described.state, described.reason) == (state, reason)
        if answer is None:
            await until(lambda: bool(codes))
            assert codes[0] == 1000


async def test_probe_of_the_programs_own_decides() -> None:
    """True is well; anything else, raising and taking too long is not, each with its reason."""
    answers: list[object] = [True]
    asked: list[str] = []

    async def probe(one_target: alb.Target) -> bool:
        asked.append(str(one_target))
        answer = answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return answer  # type: ignore[return-value]

    check = alb.HealthCheck(probe=probe, interval=0.01, timeout=0.05, unhealthy_threshold=1, healthy_threshold=1)
    async with balancing(checked("127.0.0.1:9", check=check)) as it:
        for answer, state, description in (
            (True, HEALTHY, ""),
            (False, UNHEALTHY, "Health checks failed"),
            (True, HEALTHY, ""),
            ("disk full", UNHEALTHY, "Health checks failed: disk full"),
            (True, HEALTHY, ""),
            (asyncio.CancelledError(), UNHEALTHY, "Health checks failed: the probe was cancelled from within"),
            (True, HEALTHY, ""),
            (LookupError("no such shard"), UNHEALTHY, "Health checks failed: LookupError('no such shard')"),
            (True, HEALTHY, ""),
            (None, UNHEALTHY, "Request timed out"),
        ):
            answers[0] = answer
            await until(lambda state=state: states(it)["127.0.0.1:9"] is state)  # type: ignore[misc]
            assert it.load_balancer.describe_target_health("group")[0].description == description
        assert set(asked) == {"127.0.0.1:9"}


async def test_drained_target_is_not_asked_any_more_and_begins_anew_when_it_comes_back() -> None:
    """`initial` again; a tunnel keeps it draining meanwhile."""
    from tests.support.tunnels import holding

    class Switching(Patient):
        async def __call__(self, conversation: Conversation) -> None:
            head = await conversation.head()
            if b"ELB-HealthChecker" in head:
                self.checks.append(head)
                conversation.send(response(200))
                return
            conversation.send(SWITCHED)
            await holding(conversation)

    patient = Switching()
    async with one(patient, deregistration_delay=60) as (it, origin):
        await until(lambda: HEALTHY in states(it).values())
        await upgraded(it)
        await it.load_balancer.deregister_targets("group", origin.address)
        assert states(it) == {origin.address: DRAINING}
        await asyncio.sleep(0.05)
        seen = len(patient.checks)
        await asyncio.sleep(0.1)
        assert len(patient.checks) == seen
        await it.load_balancer.register_targets("group", origin.address)
        assert states(it) == {origin.address: INITIAL}
        await until(lambda: states(it) == {origin.address: HEALTHY})


async def test_registered_target_is_asked_from_then_on() -> None:
    """And gets requests when it has passed."""
    async with target(Patient("first")) as first, target(Patient("second")) as second, balancing(checked(first.address)) as it:
        await until(lambda: HEALTHY in states(it).values())
        await it.load_balancer.register_targets("group", second.address)
        assert states(it)[second.address] is INITIAL
        await until(lambda: states(it)[second.address] is HEALTHY)
        client = await it.client()
        assert {(await client.get()).body for _ in range(4)} == {b"first", b"second"}


async def test_apply_changes_the_check_and_keeps_what_is_known() -> None:
    """A changed path keeps the states; no check any more makes targets unavailable; a first check makes them initial."""
    patient = Patient()
    async with target(patient) as origin, balancing(checked(origin.address)) as it:
        await until(lambda: HEALTHY in states(it).values())
        await it.load_balancer.apply(checked(origin.address, check=alb.HealthCheck("/new", **QUICK)))  # type: ignore[arg-type]
        assert states(it) == {origin.address: HEALTHY}
        await until(lambda: patient.checks[-1].startswith(b"GET /new "))
        plain = alb.TargetGroup("group", origin.address)
        await it.load_balancer.apply(listener(alb.Forward(plain), name="door"))
        assert states(it) == {origin.address: alb.TargetHealthState.UNAVAILABLE}
        await asyncio.sleep(0.05)
        seen = len(patient.checks)
        await asyncio.sleep(0.1)
        assert len(patient.checks) == seen
        await it.load_balancer.apply(checked(origin.address))
        assert states(it) == {origin.address: INITIAL}
        await until(lambda: HEALTHY in states(it).values())


async def test_thousand_targets_are_not_asked_in_the_same_moment() -> None:
    """Their first checks are spread, and so are all that follow."""

    async def probe(_: alb.Target) -> bool:
        return True

    addresses = [f"127.0.0.1:{port}" for port in range(20_000, 21_000)]
    check = alb.HealthCheck(probe=probe, interval=0.5)
    async with balancing(checked(*addresses, check=check)) as it:
        registration = it.load_balancer._registration
        assert registration is not None
        # As they were meant to be: when each begins depends on how busy the machine is.
        due = sorted(watch.due for watch in registration._checker._watches.values())
        assert 0.3 < due[999] - due[0] <= 1
        tenths = [int((at - due[0]) / 0.05) for at in due]
        assert max(tenths.count(tenth) for tenth in set(tenths)) < 400
        await until(lambda: set(states(it).values()) == {HEALTHY})


async def test_stop_ends_the_checks_that_are_going_on() -> None:
    """No task and no socket of a check is left; a second start asks anew."""

    async def never(_: Conversation) -> None:
        await asyncio.Event().wait()

    patient = Patient()
    patient.answer = never
    async with target(patient) as origin:
        check = alb.HealthCheck(interval=0.02, timeout=60)
        load_balancer = alb.LoadBalancer(checked(origin.address, check=check), stop_timeout=0.1)
        for turn in (1, 2):
            async with load_balancer:
                await until(lambda turn=turn: len(patient.checks) >= turn)  # type: ignore[misc]


async def test_standby_gets_requests_only_while_no_other_is_healthy() -> None:
    """And none any more when the others are back."""
    first, spare = Patient("first"), Patient("spare")
    check = alb.HealthCheck(unhealthy_threshold=1, healthy_threshold=1, **QUICK)  # type: ignore[arg-type]
    async with target(first) as origin, target(spare) as standby:
        spare_target = alb.Target("127.0.0.1", standby.port, standby=True)
        async with balancing(checked(origin.address, spare_target, check=check)) as it:
            await until(lambda: set(states(it).values()) == {HEALTHY})
            client = await it.client()
            assert {(await client.get()).body for _ in range(4)} == {b"first"}
            first.answer = response(500)
            await until(lambda: states(it)[origin.address] is UNHEALTHY)
            assert {(await client.get()).body for _ in range(4)} == {b"spare"}
            assert "UnhealthyRoutingRequestCount" not in it.counters
            first.answer = response(200)
            await until(lambda: states(it)[origin.address] is HEALTHY)
            assert {(await client.get()).body for _ in range(4)} == {b"first"}


async def test_check_that_fails_inside_the_load_balancer_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ALB's `Elb.InternalError`, the traceback in the log, and the target is asked again."""

    async def broken(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("albkit.proxy.target.health_probe.HealthProber.ask", broken)
    async with one(Patient()) as (it, _):
        await until(lambda: UNHEALTHY in states(it).values())
        assert it.load_balancer.describe_target_health("group")[0].reason == "Elb.InternalError"
        assert "broken on purpose" in caplog.text
        monkeypatch.undo()
        await until(lambda: HEALTHY in states(it).values())


async def test_unhealthy_target_keeps_its_reason_until_it_has_passed_often_enough() -> None:
    """And nobody is told of a change that is none."""
    patient = Patient()
    check = alb.HealthCheck(unhealthy_threshold=1, healthy_threshold=3, **QUICK)  # type: ignore[arg-type]
    async with one(patient, check) as (it, _):
        await until(lambda: HEALTHY in states(it).values())
        told: list[tuple[str, str | None]] = []
        it.load_balancer.subscribe(
            lambda event: told.append((event.state, event.reason)) if isinstance(event, TargetStateChanged) else None
        )
        patient.answer = response(500)
        await until(lambda: UNHEALTHY in states(it).values())
        patient.answer = response(200)
        await until(lambda: HEALTHY in states(it).values())
        assert told == [("unhealthy", "Target.ResponseCodeMismatch"), ("healthy", None)]


async def test_shorter_interval_holds_at_once() -> None:
    """Nobody waits for the old one to pass."""
    patient = Patient()
    async with target(patient) as origin, balancing(checked(origin.address, check=alb.HealthCheck(interval=300))) as it:
        await until(lambda: HEALTHY in states(it).values())
        await it.load_balancer.apply(checked(origin.address, check=alb.HealthCheck(interval=0.05)))
        await until(lambda: len(patient.checks) >= 4)


async def test_host_that_cannot_be_looked_up_fails_the_check(caplog: pytest.LogCaptureFixture) -> None:
    """With its reason, and without a traceback for every check."""
    async with balancing(checked("a..b:80")) as it:
        await until(lambda: UNHEALTHY in states(it).values())
        assert it.load_balancer.describe_target_health("group")[0].reason == "Target.FailedHealthChecks"
        assert "Traceback" not in caplog.text


async def test_target_that_ignores_the_goodbye_of_a_websocket_check_is_well() -> None:
    """Its 101 was right, and that was the question."""
    from albkit.wire.http1.upgrade import websocket_accept

    async def deaf(conversation: Conversation) -> None:
        head = await conversation.head()
        key = next(line for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: ")).partition(b": ")[2]
        conversation.send(SWITCHED.replace(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", websocket_accept(key)))
        await asyncio.Event().wait()

    check = alb.HealthCheck(protocol="WEBSOCKET", interval=0.05, timeout=0.2)
    async with target(deaf) as origin, balancing(checked(origin.address, check=check)) as it:
        await until(lambda: HEALTHY in states(it).values())


async def test_targets_that_a_group_begins_with_share_alike_whoever_is_checked_first() -> None:
    """Slow start is for those that come later; switching checks on is no new beginning either."""
    patients = [Patient(name) for name in ("a", "b", "c")]
    async with contextlib.AsyncExitStack() as stack:
        addresses = [(await stack.enter_async_context(target(patient))).address for patient in patients]
        it = await stack.enter_async_context(balancing(checked(*addresses, slow_start=60)))
        client = await it.client()
        for _ in range(2):
            await until(lambda: set(states(it).values()) == {HEALTHY})
            bodies = [(await client.get()).body for _ in range(30)]
            assert {bodies.count(name) for name in (b"a", b"b", b"c")} == {10}
            unchecked = alb.TargetGroup("group", addresses, slow_start=60)
            await it.load_balancer.apply(listener(alb.Forward(unchecked), name="door"))
            await it.load_balancer.apply(checked(*addresses, slow_start=60))
        await until(lambda: set(states(it).values()) == {HEALTHY})
        late = await stack.enter_async_context(target(Patient("late")))
        await it.load_balancer.register_targets("group", late.address)
        await until(lambda: states(it)[late.address] is HEALTHY)
        assert [(await client.get()).body for _ in range(40)].count(b"late") <= 2


async def test_probe_that_does_not_end_when_it_is_cancelled_holds_no_stop_up() -> None:
    """Clients are told and everything is closed; what the program's own code goes on with is its own affair."""
    release = asyncio.Event()
    asked = asyncio.Event()

    async def stubborn(_: alb.Target) -> bool:
        asked.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return True

    async with balancing(checked("127.0.0.1:9", check=alb.HealthCheck(probe=stubborn, interval=0.05, timeout=60))) as it:
        await asked.wait()
        async with asyncio.timeout(5):
            await it.load_balancer.stop()
        release.set()
        await asyncio.sleep(0)


async def test_probe_that_swallows_its_timeout_has_taken_too_long() -> None:
    """Whatever it says afterwards."""

    async def late(_: alb.Target) -> bool:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return True

    check = alb.HealthCheck(probe=late, interval=0.05, timeout=0.02, unhealthy_threshold=1)
    async with balancing(checked("127.0.0.1:9", check=check)) as it:
        await until(lambda: UNHEALTHY in states(it).values())
        assert it.load_balancer.describe_target_health("group")[0].reason == "Target.Timeout"


async def test_check_lets_the_target_end_its_answer() -> None:
    """It sees the end of the connection, not a reset in the midst of a body."""
    ends: list[bytes] = []

    async def slow(conversation: Conversation) -> None:
        conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n")
        await conversation.drain()
        for _ in range(4):
            await asyncio.sleep(0.005)
            conversation.send(bytes(10_000))
            await conversation.drain()
        ends.append(await conversation.read_to_end())

    patient = Patient()
    patient.answer = slow
    # On a busy machine too: a check that runs out of time resets its connection.
    async with one(patient, alb.HealthCheck("/healthz", interval=0.02, timeout=10)), asyncio.timeout(30):
        while len(ends) < 2:
            await asyncio.sleep(0.001)
    assert set(ends) == {b""}
