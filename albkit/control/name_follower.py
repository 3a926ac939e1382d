"""Keeps the targets of a group in step with the addresses of its DNS names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from albkit.errors import escaped
from albkit.model.dns_name import DnsName
from albkit.model.target import Target
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.resolver import NameAnswer, Resolver, UnresolvedError

__all__ = ("NameFollower",)

_log = logging.getLogger("albkit")

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""Seconds between two queries while a name server does not answer: the pause starts at the first value and doubles up to the second."""

Change = Callable[[TargetChoice, Iterable[Target]], None]


class _FollowedName:
    """One DNS name of one group."""

    __slots__ = ("choice", "empty_since", "first_answer", "found", "is_failing", "is_over", "name", "task")

    def __init__(self, choice: TargetChoice, name: DnsName) -> None:
        self.choice = choice
        self.name = name
        self.found: dict[str, Target] = {}
        """The targets that the name resolves to, by address."""
        self.empty_since: float | None = None
        self.is_failing = False
        self.is_over = False
        """Whether the name is no longer followed: later answers are ignored, even of a query that could not be cancelled."""
        self.first_answer = asyncio.Event()
        """Set when the first query is over, with an answer or without."""
        self.task: asyncio.Task[None] | None = None


class NameFollower:
    """Resolves every name when its last answer has expired, and registers and deregisters targets accordingly.

    Args:
        runtime: The runtime of the load balancer.
        register: Adds targets to a group.
        deregister: Removes targets from a group.
    """

    def __init__(self, runtime: Runtime, register: Change, deregister: Change) -> None:
        self._runtime = runtime
        self._register = register
        self._deregister = deregister
        self._resolver = Resolver()
        self._followed: dict[tuple[TargetChoice, DnsName], _FollowedName] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, choice: TargetChoice, names: Collection[DnsName]) -> None:
        """Follow exactly these names for a group. Targets that only other names resolved to are deregistered."""
        for key in [key for key in self._followed if key[0] is choice and key[1] not in names]:
            following = self._followed[key]
            self._forget(key)
            self._change(following, {}, dropped=True)
        for name in names:
            if (choice, name) not in self._followed:
                following = self._followed[choice, name] = _FollowedName(choice, name)
                task = following.task = self._runtime.loop.create_task(self._follow(following))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def found(self, choice: TargetChoice) -> dict[str, Target]:
        """The targets that the group's names resolve to, by address. If several names resolve to one address, the first name determines its
        settings."""
        found: dict[str, Target] = {}
        for (of, _), following in self._followed.items():
            if of is choice:
                found = following.found | found
        return found

    async def first_answers(self) -> None:
        """Wait until every name has been queried once, with or without an answer."""
        for following in tuple(self._followed.values()):
            await following.first_answer.wait()

    def stop_waiting(self) -> None:
        """Make `first_answers` return without waiting for more answers."""
        for following in self._followed.values():
            following.first_answer.set()

    def forget(self, choice: TargetChoice) -> None:
        """Stop following the group's names; its targets stay as they are."""
        for key in [key for key in self._followed if key[0] is choice]:
            self._forget(key)

    def close(self) -> None:
        """Stop following all names."""
        for key in tuple(self._followed):
            self._forget(key)

    async def closed(self) -> None:
        """Wait until cancelled queries have ended."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _forget(self, key: tuple[TargetChoice, DnsName]) -> None:
        following = self._followed.pop(key)
        # Cancelling the task is not enough: a query that has just finished would still apply its answer.
        following.is_over = True
        following.first_answer.set()
        if following.task is not None:
            following.task.cancel()

    async def _follow(self, following: _FollowedName) -> None:
        pause = _FIRST_PAUSE
        name = following.name
        while not following.is_over:
            try:
                # The loop runs until the name is forgotten; no error ends it.
                answer = await self._resolver.look_up(name)
                if following.is_over:
                    return
                delay = self._apply(following, answer)
                pause = _FIRST_PAUSE
            except UnresolvedError as error:
                self._failed(following, str(error))
                delay, pause = pause, min(2 * pause, _LONGEST_PAUSE)
            except Exception:  # noqa: BLE001 - no error may end the queries for this name
                fields = _fields("internal_error", following)
                _log.exception("resolving %s failed because of an error in the load balancer", name, extra=fields)
                self._failed(following, "an internal error")
                delay = _LONGEST_PAUSE
            following.first_answer.set()
            await asyncio.sleep(min(max(delay, name.min_ttl), name.max_ttl))

    def _failed(self, following: _FollowedName, why: str) -> None:
        self._runtime.counters.look_up_failed()
        if not following.is_failing:
            following.is_failing = True
            group = following.choice.group.group.name
            words = "cannot resolve %s of target group %s; its %d targets stay: %s"
            fields = {**_fields("name_unresolved", following), "albkit_detail": escaped(why)}
            _log.warning(words, following.name, group, len(following.found), escaped(why), extra=fields)

    def _apply(self, following: _FollowedName, answer: NameAnswer) -> float:
        """Apply an answer, and return the seconds until the next query."""
        group = following.choice.group.group.name
        if following.is_failing:
            following.is_failing = False
            fields = _fields("name_resolved", following)
            _log.info("%s of target group %s can be resolved again", following.name, group, extra=fields)
        if answer.targets:
            following.empty_since = None
            self._change(following, {str(target): target for target in answer.targets})
            return answer.ttl
        now = self._runtime.clock.monotonic()
        if following.empty_since is None:
            following.empty_since = now
            fields = _fields("name_empty", following)
            _log.warning("%s of target group %s resolves to no address", following.name, group, extra=fields)
        # An empty answer may be a mistake of the name server, which would take the whole service down. So the targets stay for `hold`
        # seconds.
        left = following.empty_since + following.name.hold - now
        if left <= 0:
            self._change(following, {})
            return answer.ttl
        return min(answer.ttl, left)

    def _change(self, following: _FollowedName, found: dict[str, Target], *, dropped: bool = False) -> None:
        """Replace the targets of a name. With `dropped`, the name is no longer among those followed."""
        choice = following.choice
        before = self.found(choice)
        if dropped:
            # `found` no longer contains a name that was dropped.
            before = before | following.found
        following.found = found
        after = self.found(choice)
        fixed = {str(target) for target in choice.group.group.fixed_targets}
        # A target that is declared by its address as well keeps its declared settings.
        new = [target for address, target in after.items() if address not in fixed and before.get(address) != target]
        gone = [target for address, target in before.items() if address not in fixed and address not in after]
        if new:
            self._register(choice, new)
        if gone:
            self._deregister(choice, gone)


def _fields(event: str, following: _FollowedName) -> dict[str, object]:
    """The fields of a log line about a name."""
    return {"albkit_event": event, "albkit_group": following.choice.group.group.name, "albkit_name": str(following.name)}
