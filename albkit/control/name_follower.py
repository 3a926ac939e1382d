"""Keeps groups whose targets have names in step with what the names stand for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from albkit.model.dns_name import DnsName
from albkit.model.target import Target
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.resolver import NameAnswer, Resolver, UnresolvedError

__all__ = ("NameFollower",)

_log = logging.getLogger("albkit")

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Seconds between two queries that a name server does not answer; each pause is twice the one before."""

Change = Callable[[TargetChoice, Iterable[Target]], None]


class _Following:
    """One name of one group."""

    __slots__ = ("asked", "choice", "empty_since", "found", "is_failing", "is_over", "name", "task")

    def __init__(self, choice: TargetChoice, name: DnsName) -> None:
        self.choice = choice
        self.name = name
        self.found: dict[str, Target] = {}
        """By address: what the name stands for."""
        self.empty_since: float | None = None
        self.is_failing = False
        self.is_over = False
        """Whether it is forgotten: no answer to it matters any more, also one whose wait could not be cancelled."""
        self.asked = asyncio.Event()
        """The first answer has come, or was not to be had."""
        self.task: asyncio.Task[None] | None = None


class NameFollower:
    """Asks for every name when its answer is too old, and registers and deregisters the targets that have come and gone.

    Args:
        runtime: Of the load balancer.
        register: Takes targets into a group.
        deregister: Takes them out.
    """

    def __init__(self, runtime: Runtime, register: Change, deregister: Change) -> None:
        self._runtime = runtime
        self._register = register
        self._deregister = deregister
        self._resolver = Resolver()
        self._followed: dict[tuple[TargetChoice, DnsName], _Following] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, choice: TargetChoice, names: Collection[DnsName]) -> None:
        """Follow these names for a group from now on, and no others; targets that only others stood for are deregistered."""
        for key in [key for key in self._followed if key[0] is choice and key[1] not in names]:
            following = self._followed[key]
            self._forget(key)
            self._change(following, {}, dropped=True)
        for name in names:
            if (choice, name) not in self._followed:
                following = self._followed[choice, name] = _Following(choice, name)
                task = following.task = self._runtime.loop.create_task(self._keep_up(following))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def found(self, choice: TargetChoice) -> dict[str, Target]:
        """The targets that the group's names stand for, by address; where several stand for one, as the name that came first says."""
        found: dict[str, Target] = {}
        for (of, _), following in self._followed.items():
            if of is choice:
                found = following.found | found
        return found

    async def first_answers(self) -> None:
        """Return when every name has been asked for once, whatever came of it."""
        for following in tuple(self._followed.values()):
            await following.asked.wait()

    def hurry(self) -> None:
        """Let whoever waits for first answers go on without them."""
        for following in self._followed.values():
            following.asked.set()

    def forget(self, choice: TargetChoice) -> None:
        """Follow none of the group's names any more; its targets stay as they are."""
        for key in [key for key in self._followed if key[0] is choice]:
            self._forget(key)

    def close(self) -> None:
        """Follow nothing any more."""
        for key in tuple(self._followed):
            self._forget(key)

    async def closed(self) -> None:
        """Wait until the queries that were under way are given up."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _forget(self, key: tuple[TargetChoice, DnsName]) -> None:
        following = self._followed.pop(key)
        following.is_over = True
        following.asked.set()
        if following.task is not None:
            following.task.cancel()

    async def _keep_up(self, following: _Following) -> None:
        pause = _FIRST_PAUSE
        name = following.name
        while not following.is_over:
            try:
                answer = await self._resolver.look_up(name)
                if following.is_over:
                    return
                delay = self._take(following, answer)
                pause = _FIRST_PAUSE
            except UnresolvedError as error:
                self._fail(following, str(error))
                delay, pause = pause, min(2 * pause, _LONGEST_PAUSE)
            except Exception:  # noqa: BLE001 - whatever it is, the name must be asked for again
                _log.exception("looking up %s failed inside the load balancer", name)
                self._fail(following, "an internal error")
                delay = _LONGEST_PAUSE
            following.asked.set()
            await asyncio.sleep(min(max(delay, name.min_ttl), name.max_ttl))

    def _fail(self, following: _Following, why: str) -> None:
        self._runtime.counters.look_up_failed()
        if not following.is_failing:
            following.is_failing = True
            group = following.choice.group.group.name
            _log.warning("cannot look up %s of target group %s, its %d targets stay: %s", following.name, group, len(following.found), why)

    def _take(self, following: _Following, answer: NameAnswer) -> float:
        """Put an answer in force; seconds until the name is to be asked for again."""
        group = following.choice.group.group.name
        if following.is_failing:
            following.is_failing = False
            _log.info("%s of target group %s can be looked up again", following.name, group)
        if answer.targets:
            following.empty_since = None
            self._change(following, {str(target): target for target in answer.targets})
            return answer.ttl
        now = self._runtime.clock.monotonic()
        if following.empty_since is None:
            following.empty_since = now
            _log.warning("%s of target group %s stands for no address now", following.name, group)
        left = following.empty_since + following.name.hold - now
        if left <= 0:
            self._change(following, {})
            return answer.ttl
        return min(answer.ttl, left)

    def _change(self, following: _Following, found: dict[str, Target], *, dropped: bool = False) -> None:
        """The name stands for these targets from now on; where it is `dropped` it is among those followed no more."""
        choice = following.choice
        before = self.found(choice)
        if dropped:
            before = before | following.found
        following.found = found
        after = self.found(choice)
        fixed = {str(target) for target in choice.group.group.fixed_targets}
        new = [target for address, target in after.items() if address not in fixed and before.get(address) != target]
        gone = [target for address, target in before.items() if address not in fixed and address not in after]
        if new:
            self._register(choice, new)
        if gone:
            self._deregister(choice, gone)
