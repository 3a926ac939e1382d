"""Asks the targets of every group that has a health check, each at its time (docs/alb.md 5.4)."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from math import floor

from albkit.errors import told
from albkit.model.health import TargetHealthReason, TargetHealthState
from albkit.model.health_check import HealthCheck
from albkit.policy.health import CheckResult, HealthTrack
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.health_probe import HealthProber, timed_out
from albkit.state.target import TargetState

__all__ = ("Become", "HealthChecker")

_log = logging.getLogger("albkit")

_SPACING = 0.005
"""Seconds between the first checks of two targets, so that a thousand of them do not answer in the same moment."""

_PATIENCE = 1.0
"""Seconds that a stop waits for checks that were cancelled; a probe of the program's own may take its time to end."""

Become = Callable[[TargetChoice, Sequence[TargetState], TargetHealthState, TargetHealthReason | None, str], None]


class _Watch:
    """One target that is asked again and again."""

    __slots__ = ("choice", "due", "is_new", "member", "task", "track")

    def __init__(self, choice: TargetChoice, member: TargetState) -> None:
        self.choice = choice
        self.member = member
        self.track = HealthTrack()
        self.due = 0.0
        self.is_new = True
        self.task: asyncio.Task[None] | None = None


class HealthChecker:
    """Keeps one timer for all checks of a load balancer, and one task for each check that is going on.

    Args:
        runtime: Of the load balancer.
        become: Gives a target another state, and tells whoever wants to know.
    """

    def __init__(self, runtime: Runtime, become: Become) -> None:
        self._runtime = runtime
        self._become = become
        self._prober = HealthProber(runtime.clock, runtime.connections.contexts)
        self._watches: dict[TargetState, _Watch] = {}
        self._due: list[tuple[float, int, _Watch]] = []
        self._turns = count()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, choice: TargetChoice, members: Iterable[TargetState]) -> None:
        """These members of the group have come, gone or begun to drain: ask from now on who is to be asked."""
        check = choice.group.group.health_check
        here = choice.group.members
        new: list[TargetState] = []
        for member in members:
            wanted = check is not None and member.state is not TargetHealthState.DRAINING and here.get(member.address) is member
            if wanted is not (member in self._watches):
                if wanted:
                    new.append(member)
                else:
                    self._forget(member)
        if check is None or not new:
            return
        clock = self._runtime.clock
        now = clock.monotonic()
        spread = min(check.interval, len(new) * _SPACING)
        for index, member in enumerate(new):
            watch = self._watches[member] = _Watch(choice, member)
            self._schedule(now + spread * (index + clock.random()) / len(new), watch)
        self._set_timer()

    def watch_anew(self, choice: TargetChoice) -> None:
        """The group's check has changed: nothing that the old one asked, counted or waits for matters any more."""
        members = choice.group.members.values()
        for member in members:
            if member in self._watches:
                self._forget(member)
        self.watch(choice, members)

    def look(self) -> None:
        """Begin every check whose time has come."""
        now = self._runtime.clock.monotonic()
        while self._due and self._due[0][0] <= now:
            due, _, watch = heapq.heappop(self._due)
            check = watch.choice.group.group.health_check
            if check is None or watch.due != due or self._watches.get(watch.member) is not watch:
                continue
            if watch.task is None and self._runtime.may_start_check():
                self._runtime.checks += 1
                watch.task = self._runtime.loop.create_task(self._check(watch, check))
                self._tasks.add(watch.task)
                watch.task.add_done_callback(self._checked)
            self._schedule(self._following(watch, due, now, check.interval), watch)
        self._set_timer()

    def _checked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._runtime.checks -= 1

    def close(self) -> None:
        """Ask nobody any more."""
        for member in tuple(self._watches):
            self._forget(member)
        self._due.clear()
        self._set_timer()

    async def closed(self) -> None:
        """Wait until the checks that were going on are over, but not for ever."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_PATIENCE)

    def _following(self, watch: _Watch, due: float, now: float, interval: float) -> float:
        """When a target is asked next: at its own place in the interval, which is given by chance when it was asked for the first time.

        Where the loop stood still, the checks that were missed are not made up for, and places are kept.
        """
        if watch.is_new:
            watch.is_new = False
            return now + interval * self._runtime.clock.random()
        return due + interval * (floor((now - due) / interval) + 1)

    def _schedule(self, due: float, watch: _Watch) -> None:
        watch.due = due
        heapq.heappush(self._due, (due, next(self._turns), watch))
        if len(self._due) > 64 + 2 * len(self._watches):
            # Most are of targets that have gone.
            self._due = [entry for entry in self._due if self._watches.get(entry[2].member) is entry[2] and entry[2].due == entry[0]]
            heapq.heapify(self._due)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = max(0.0, self._due[0][0] - self._runtime.clock.monotonic())
            self._timer = self._runtime.loop.call_later(delay, self.look)

    def _forget(self, member: TargetState) -> None:
        watch = self._watches.pop(member)
        if watch.task is not None:
            watch.task.cancel()

    async def _check(self, watch: _Watch, check: HealthCheck) -> None:
        try:
            result = await self._ask(watch, check)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            result = CheckResult(TargetHealthReason.FAILED_HEALTH_CHECKS, "Health checks failed: what the probe waited for was cancelled")
        except Exception:  # noqa: BLE001 - whatever it is, this target must be asked again
            _log.exception("a health check of %s failed inside the load balancer", watch.member.address)
            result = CheckResult(TargetHealthReason.INTERNAL_ERROR, "Health checks failed due to an internal error")
        finally:
            watch.task = None
        member = watch.member
        if result is None or self._watches.get(member) is not watch:
            return
        state = watch.track.after(result, member.state, check)
        reason, description = result.reason, result.description
        if state is TargetHealthState.HEALTHY:
            reason, description = None, ""
        elif result.passed and state is member.state:
            # Not often enough yet: it is unhealthy for the reason that made it so.
            reason, description = member.reason, member.description
        elif state is TargetHealthState.INITIAL:
            reason = TargetHealthReason.INITIAL_HEALTH_CHECKING
        if (state, reason) != (member.state, member.reason):
            self._become(watch.choice, (member,), state, reason, description)
        member.description = description

    async def _ask(self, watch: _Watch, check: HealthCheck) -> CheckResult | None:
        """How it went; `None` where nobody can tell."""
        target = watch.member.target
        if check.probe is None:
            group = watch.choice.group.group
            return await self._prober.ask(check, target, group, group.name in self._runtime.stream_groups)
        limit = asyncio.timeout(check.timeout)
        try:
            async with limit:
                result = _result(await check.probe(target))
        except TimeoutError:
            return timed_out(limit, check.timeout)
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001 - a probe of the program's own may raise anything: that is its way of saying no
            return CheckResult(TargetHealthReason.FAILED_HEALTH_CHECKS, f"Health checks failed: {told(error)}")
        return timed_out(limit, check.timeout) if limit.expired() else result


def _result(answer: object) -> CheckResult:
    """What a probe of the program's own says: True, or text that tells why not."""
    if answer is True:
        return CheckResult()
    why = f": {str.__str__(answer)}" if isinstance(answer, str) and answer else ""
    return CheckResult(TargetHealthReason.FAILED_HEALTH_CHECKS, f"Health checks failed{why}")
