"""Many rules and many targets: made ready in many turns of the loop, put in force in one, and compared without a scan per rule."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

import albkit as alb
from albkit.control import reload
from tests.support.balancing import Balancing, balancing, listener, named
from tests.support.peers import RawClient, free_port

RULES = 400
GROUPS = 4
TARGETS = 30


def description(turn: int, *, rules: int = RULES, status: int = 200) -> list[alb.Listener]:
    """Everything in it says which turn it is of: the weights of all targets, and where every rule sends to."""
    groups = [
        alb.TargetGroup(f"g{number}", [alb.Target(f"192.0.2.{place}", 8000 + number, weight=turn) for place in range(1, TARGETS + 1)])
        for number in range(GROUPS)
    ]
    by_path = [
        alb.Rule(place, [alb.HostHeader(f"h{place}.example.com"), alb.PathPattern(f"/{place}*")], alb.Forward(groups[place % GROUPS]))
        for place in range(1, rules + 1)
    ]
    return [listener(alb.FixedResponse(status, f"turn {turn}"), *by_path, name="main")]


def turn_in_force(it: Balancing) -> int:
    """The one turn that all rules and all targets are of."""
    table = it.load_balancer.listeners[0].listener_runtime.rules
    described = {
        int(table.default.action.routing.body.removeprefix("turn ")),  # type: ignore[union-attr]
        *(rule.rule.action.groups[0][0].targets[0].weight for rule in table.rules if rule.rule is not None),  # type: ignore[union-attr]
    }
    weights = {member.weight for choice in it.runtime.choices.values() for member in choice.group.members.values()}
    turns = described | weights
    assert len(turns) == 1, f"half of it is in force: rules of {described}, weights of {weights}"
    return turns.pop()


async def test_large_description_is_made_ready_in_many_turns_and_put_in_force_in_one() -> None:
    """The loop goes on meanwhile, and whoever looks sees the old description whole, then the new one."""
    async with balancing(*description(1)) as it:
        seen: list[int] = []

        async def look() -> None:
            while True:
                seen.append(turn_in_force(it))
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        await asyncio.sleep(0)
        await it.load_balancer.apply(description(2))
        await asyncio.sleep(0)
        looking.cancel()
        assert seen == sorted(seen)
        assert seen.count(1) >= RULES // 16
        assert seen[-1] == 2


async def test_new_listener_with_many_rules_is_made_ready_in_many_turns() -> None:
    """It opens when it knows all of them."""
    async with balancing(listener(alb.FixedResponse(200), name="other")) as it:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        await it.load_balancer.apply(description(1))
        counting.cancel()
        assert turns >= RULES // 16
        assert turn_in_force(it) == 1


async def test_apply_cancelled_in_any_turn_has_done_all_or_nothing() -> None:
    """Also where it was making rules ready."""
    async with balancing(*description(1)) as it:
        ended = False
        wait = 0
        while not ended:
            applying = asyncio.create_task(it.load_balancer.apply(description(2)))
            for _ in range(wait):
                await asyncio.sleep(0)
            ended = applying.done()
            applying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await applying
            if turn_in_force(it) == 2:
                await it.load_balancer.apply(description(1))
            assert len(it.runtime.choices) == GROUPS
            wait += 1
        assert wait > RULES // 16


async def test_new_listener_with_many_rules_cancelled_in_any_turn_leaves_no_socket_open() -> None:
    """Its port is free again at once."""
    port = free_port()
    rules = [alb.Rule(place, alb.PathPattern(f"/{place}"), alb.FixedResponse(200)) for place in range(1, 200)]
    door = alb.Listener(port, alb.FixedResponse(200), rules, host="127.0.0.1", name="new")
    other = listener(alb.FixedResponse(200), name="other")
    async with balancing(other) as it:
        ended = False
        wait = 0
        while not ended:
            applying = asyncio.create_task(it.load_balancer.apply([other, door]))
            for _ in range(wait):
                await asyncio.sleep(0)
            ended = applying.done()
            applying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await applying
            if len(it.load_balancer.listeners) == 1:
                with socket.socket() as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("127.0.0.1", port))
                    sock.listen()
            else:
                await it.load_balancer.apply(other)
            wait += 1
        assert wait > 10


async def test_two_large_descriptions_at_once_come_one_behind_the_other() -> None:
    """Never a mixture."""
    async with balancing(*description(1)) as it:
        both = asyncio.gather(it.load_balancer.apply(description(2)), it.load_balancer.apply(description(3)))
        while not both.done():
            assert turn_in_force(it) in (1, 2, 3)
            await asyncio.sleep(0)
        assert turn_in_force(it) == 3


async def test_requests_go_on_while_a_large_description_comes() -> None:
    """Every answer is of the old description or of the new one, on one connection."""
    async with balancing(*description(1)) as it:
        client = await it.client()
        applying = asyncio.create_task(it.load_balancer.apply(description(2)))
        bodies = []
        while not applying.done():
            bodies.append((await client.get()).body)
        await applying
        bodies.append((await client.get()).body)
        assert bodies == sorted(bodies)
        assert {bodies[0], bodies[-1]} == {b"turn 1", b"turn 2"}


async def test_same_large_description_made_anew_keeps_the_compiled_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal, though no object of it is the same: nothing is compiled, and each group is compared once, not once for each rule."""
    async with balancing(*description(1)) as it:
        table = it.load_balancer.listeners[0].listener_runtime.rules
        again = description(1)
        compared = 0
        equal: Callable[[object, object], bool] = alb.TargetGroup.__eq__

        def counting(one: object, other: object) -> bool:
            nonlocal compared
            compared += one is not other
            return equal(one, other)

        monkeypatch.setattr(alb.TargetGroup, "__eq__", counting)
        await it.load_balancer.apply(again)
        assert it.load_balancer.listeners[0].listener_runtime.rules is table
        assert compared <= 4 * GROUPS


def changes() -> Iterator[tuple[str, Callable[[], list[alb.Listener]]]]:
    """Descriptions that differ from `description(1)` in one place."""

    def with_rule(*rules: alb.Rule, **settings: object) -> list[alb.Listener]:
        (before,) = description(1)
        kept = {rule.priority: rule for rule in before.rules} | {rule.priority: rule for rule in rules}
        return [listener(before.default_actions[0], *kept.values(), name="main", **settings)]

    def group() -> alb.TargetGroup:
        return description(1)[0].groups[0]

    path = alb.PathPattern("/x")
    yield "condition", lambda: with_rule(alb.Rule(RULES, path, alb.Forward(group())))
    yield "one more", lambda: with_rule(alb.Rule(RULES + 1, path, alb.FixedResponse(200)))
    yield "action", lambda: with_rule(alb.Rule(RULES, list(description(1)[0].rules[-1].conditions), alb.FixedResponse(200)))
    yield "weight of a group", lambda: with_rule(alb.Rule(RULES, list(description(1)[0].rules[-1].conditions), alb.Forward({group(): 7})))
    yield (
        "stickiness of a forward",
        lambda: with_rule(alb.Rule(RULES, list(description(1)[0].rules[-1].conditions), alb.Forward(group(), stickiness=7))),
    )
    yield "default", lambda: description(1, status=404)
    yield "setting", lambda: with_rule(response_headers={"X-A": "1"})


@pytest.mark.parametrize("changed", [pytest.param(changed, id=what) for what, changed in changes()])
async def test_small_change_of_a_large_description_is_seen(changed: Callable[[], list[alb.Listener]]) -> None:
    """Whatever part of it differs."""
    async with balancing(*description(1)) as it:
        table = it.load_balancer.listeners[0].listener_runtime.rules
        (new,) = changed()
        await it.load_balancer.apply(new)
        assert it.load_balancer.listeners[0].listener_runtime.rules is not table
        assert it.load_balancer.listeners[0].listener is new
        assert sorted(rule.rule.priority for rule in it.load_balancer.listeners[0].listener_runtime.rules.rules if rule.rule) == sorted(
            rule.priority for rule in new.rules
        )


async def test_target_registered_while_a_description_comes_must_go_with_it() -> None:
    """It is looked at when all is ready as well: then nothing has changed yet."""
    async with named("a") as (a,):

        def described(protocol: str | None, turn: int) -> alb.Listener:
            group = alb.TargetGroup("web", a.address, protocol=protocol)
            rules = [alb.Rule(place, alb.PathPattern(f"/{turn}/{place}"), alb.Forward(group)) for place in range(1, 100)]
            return listener(alb.Forward(group), *rules, name="main")

        async with balancing(described(None, 1)) as it:
            applying = asyncio.create_task(it.load_balancer.apply(described("HTTP", 2)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await it.load_balancer.register_targets("web", "https://192.0.2.1:443")
            with pytest.raises(alb.ConfigurationError, match="registered at run time"):
                await applying
            client: RawClient = await it.client()
            assert it.runtime.choices["web"].group.group.protocol is None
            assert len(it.load_balancer.listeners[0].listener.rules) == 99
            assert it.load_balancer.listeners[0].listener.rules[0].conditions == (alb.PathPattern("/1/1"),)
            await it.load_balancer.deregister_targets("web", "https://192.0.2.1:443")
            assert (await client.get()).body == b"a"


def test_reload_knows_every_setting_of_what_it_compares() -> None:
    """A field that is added to a description is compared as well."""
    assert "response_headers" in reload._SETTINGS_OF_LISTENER
    assert reload._SETTINGS_OF_FORWARD == ["stickiness", "on_failure", "tunnel"]
