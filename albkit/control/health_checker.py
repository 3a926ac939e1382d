"""Schedules and runs the health checks of every group that has them (docs/alb.md 5.4)."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from math import floor

from albkit.errors import told
from albkit.model.health import HealthCheckResult, TargetHealthReason, TargetHealthState
from albkit.model.health_check import HealthCheck
from albkit.policy.health import CheckFailure, CheckResult, HealthTrack, failed
from albkit.policy.target_choice import TargetChoice
from albkit.proxy.runtime import Runtime
from albkit.proxy.target.health_probe import HealthProber, address_of_check, kind_of, timed_out
from albkit.state.health_check_record import HealthCheckRecord
from albkit.state.target import TargetState

__all__ = ("HealthChecker", "SetState")

_log = logging.getLogger("albkit")

_SPACING = 0.005
"""Seconds between the first checks of two targets, so that a thousand targets do not all answer at the same moment."""

_CLOSE_TIMEOUT = 1.0
"""Seconds for which a stop waits for cancelled checks; a probe of the program's own may take time to end."""

SetState = Callable[[TargetChoice, Sequence[TargetState], TargetHealthState, TargetHealthReason | None, str], None]


class _Schedule:
    """The schedule of one target."""

    __slots__ = ("choice", "due", "is_new", "member", "task", "track")

    def __init__(self, choice: TargetChoice, member: TargetState) -> None:
        self.choice = choice
        self.member = member
        self.track = HealthTrack()
        self.due = 0.0
        self.is_new = True
        self.task: asyncio.Task[None] | None = None


class HealthChecker:
    """Runs all checks of a load balancer with one timer, and one task per check in progress.

    Args:
        runtime: The runtime of the load balancer.
        set_state: Changes the state of targets and publishes the change.
    """

    def __init__(self, runtime: Runtime, set_state: SetState) -> None:
        self._runtime = runtime
        self._set_state = set_state
        self._prober = HealthProber(runtime.clock, runtime.connections.contexts)
        self._watches: dict[TargetState, _Schedule] = {}
        self._due: list[tuple[float, int, _Schedule]] = []
        self._turns = count()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, choice: TargetChoice, members: Iterable[TargetState]) -> None:
        """Start or stop checking these members of the group, which were registered, removed, or have begun to drain."""
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
            watch = self._watches[member] = _Schedule(choice, member)
            self._schedule(now + spread * (index + clock.random()) / len(new), watch)
        self._set_timer()

    def restart(self, choice: TargetChoice) -> None:
        """Start over after a change of the group's check: discard running checks, counts and schedules."""
        members = choice.group.members.values()
        for member in members:
            if member in self._watches:
                self._forget(member)
        self.watch(choice, members)

    def run_due(self) -> None:
        """Start every check that is due."""
        now = self._runtime.clock.monotonic()
        while self._due and self._due[0][0] <= now:
            due, _, watch = heapq.heappop(self._due)
            check = watch.choice.group.group.health_check
            # The entry is outdated: the check was removed, the target rescheduled, or unregistered.
            if check is None or watch.due != due or self._watches.get(watch.member) is not watch:
                continue
            if watch.task is None and self._runtime.may_start_check():
                self._runtime.checks += 1
                watch.task = self._runtime.loop.create_task(self._check(watch, check))
                self._tasks.add(watch.task)
                watch.task.add_done_callback(self._checked)
            self._schedule(self._next_due(watch, due, now, check.interval), watch)
        self._set_timer()

    def _checked(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._runtime.checks -= 1

    def close(self) -> None:
        """Stop all checks."""
        for member in tuple(self._watches):
            self._forget(member)
        self._due.clear()
        self._set_timer()

    async def closed(self) -> None:
        """Wait for cancelled checks to end, but not indefinitely."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_TIMEOUT)

    def _next_due(self, watch: _Schedule, due: float, now: float, interval: float) -> float:
        """When to check a target next. Its place within the interval is chosen at random after its first check, and kept.

        If the loop was blocked, missed checks are not repeated, and places stay the same.
        """
        if watch.is_new:
            watch.is_new = False
            return now + interval * self._runtime.clock.random()
        return due + interval * (floor((now - due) / interval) + 1)

    def _schedule(self, due: float, watch: _Schedule) -> None:
        watch.due = due
        heapq.heappush(self._due, (due, next(self._turns), watch))
        if len(self._due) > 64 + 2 * len(self._watches):
            # heapq cannot remove an entry, so those of removed targets stay until they are due. Here most entries are such.
            self._due = [entry for entry in self._due if self._watches.get(entry[2].member) is entry[2] and entry[2].due == entry[0]]
            heapq.heapify(self._due)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = max(0.0, self._due[0][0] - self._runtime.clock.monotonic())
            self._timer = self._runtime.loop.call_later(delay, self.run_due)

    def _forget(self, member: TargetState) -> None:
        watch = self._watches.pop(member)
        if watch.task is not None:
            watch.task.cancel()

    async def _check(self, watch: _Schedule, check: HealthCheck) -> None:
        clock = self._runtime.clock
        at, began = clock.time(), clock.monotonic()
        try:
            result = await self._run(watch, check)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # The checker itself cancels by task.cancel(), which counts in cancelling(). Otherwise the probe let a CancelledError of its own
            # escape.
            if task is None or task.cancelling():
                raise
            result = failed("the probe was cancelled from within", CheckFailure.TARGET_ERROR)
        except Exception:  # noqa: BLE001 - no error may end the checks of this target
            fields = {
                "albkit_event": "internal_error",
                "albkit_group": watch.choice.group.group.name,
                "albkit_target": watch.member.address,
            }
            _log.exception("a health check of %s failed inside the load balancer", watch.member.address, extra=fields)
            words = "Health checks failed due to an internal error"
            result = CheckResult(TargetHealthReason.INTERNAL_ERROR, words, CheckFailure.INTERNAL_ERROR)
        finally:
            watch.task = None
        member = watch.member
        if result is None or self._watches.get(member) is not watch:
            return
        self._note(watch, check, result, at, clock.monotonic() - began)
        state = watch.track.after(result, member.state, check)
        reason, description = result.reason, result.description
        if state is TargetHealthState.HEALTHY:
            reason, description = None, ""
        elif result.passed and state is member.state:
            # The target passed, but not often enough to be healthy: it stays unhealthy for the reason that made it so.
            reason, description = member.reason, member.description
        elif state is TargetHealthState.INITIAL:
            reason = TargetHealthReason.INITIAL_HEALTH_CHECKING
        if (state, reason) != (member.state, member.reason):
            self._set_state(watch.choice, (member,), state, reason, description)
        member.description = description

    def _note(self, watch: _Schedule, check: HealthCheck, result: CheckResult, at: float, seconds: float) -> None:
        """Keep the result of a check, and log it if that is wanted."""
        member = watch.member
        took = result.seconds if result.seconds is not None else seconds
        last = member.last_check = HealthCheckResult(at, result.passed, took, result.status, result.description)
        log = self._runtime.health_check_log
        if log is None:
            return
        group = watch.choice.group.group
        kind = kind_of(check, member.target, group, group.name in self._runtime.stream_groups)
        log(HealthCheckRecord(kind, group.name, address_of_check(check, member.target), last, result.failure or "", result.local))

    async def _run(self, watch: _Schedule, check: HealthCheck) -> CheckResult | None:
        """Run one check; `None` if there is no result."""
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
        except BaseException as error:  # noqa: BLE001 - a probe of the program may raise anything, which means that it fails
            return failed(told(error), CheckFailure.TARGET_ERROR)
        return timed_out(limit, check.timeout) if limit.expired() else result


def _result(answer: object) -> CheckResult:
    """Interpret the result of a probe of the program's own: True, or text with the reason."""
    if answer is True:
        return CheckResult()
    # `str.__str__`, because a subclass of `str` might raise in its own `__str__`.
    why = f": {str.__str__(answer)}" if isinstance(answer, str) and answer else ""
    return CheckResult(TargetHealthReason.FAILED_HEALTH_CHECKS, f"Health checks failed{why}", CheckFailure.TARGET_ERROR)
