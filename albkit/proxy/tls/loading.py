"""Reads every file that a description names, before anything of it is put in force."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import attrs

from albkit.clock import Clock
from albkit.model.listener import Listener
from albkit.model.settings import Settings
from albkit.model.validation import Faults
from albkit.proxy.tls.targets import TargetContexts, load_target_contexts
from albkit.proxy.tls.termination import Termination, load_termination

__all__ = ("Loaded", "Stamp", "files_of", "load", "stamp_of")

Stamp = tuple[tuple[int, int, int] | None, ...]
"""What changes when one of several files does."""


@attrs.frozen
class Loaded:
    """What has been read."""

    terminations: Sequence[Termination | None] = ()
    """One for each listener, in their order."""
    contexts: TargetContexts = attrs.field(factory=TargetContexts)
    warnings: Sequence[str] = ()
    """What will go wrong soon, or goes wrong already without keeping anything from starting: certificates that expire."""

    stamp: Stamp = ()
    """Of the files, before they were read."""

    @property
    def valid_until(self) -> float:
        """When another certificate may be the best one to show, in seconds since 1970."""
        return min((one.valid_until for one in self.terminations if one is not None), default=float("inf"))


async def load(settings: Settings, clock: Clock) -> Loaded:
    """Read the files of a description, in a thread.

    Raises:
        ConfigurationError: listing every fault, each with what to do.
    """
    if not any(listener.is_secure for listener in settings.listeners) and not any(
        group.verify is not False or group.client_certificate is not None for group in settings.groups
    ):
        return Loaded([None] * len(settings.listeners))
    return await asyncio.get_running_loop().run_in_executor(None, _load, settings, clock.time())


def _load(settings: Settings, now: float) -> Loaded:
    stamp = stamp_of(files_of(settings))
    faults = Faults("LoadBalancer")
    contexts = TargetContexts()
    terminations = [load_termination(one, faults, f"listeners[{index}]", now) for index, one in enumerate(settings.listeners)]
    for group in settings.groups:
        load_target_contexts(group, contexts, faults, now)
    faults.raise_if_any()
    warnings = [words for one in terminations if one is not None for words in one.warnings]
    return Loaded(terminations, contexts, list(dict.fromkeys(warnings)), stamp)


def stamp_of(paths: Sequence[str]) -> Stamp:
    """What changes when one of these files does; `None` in the place of one that is not there. Asks the disk: for another thread."""
    return tuple(map(_stamp_of_one, paths))


def _stamp_of_one(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_ino, found.st_size


def files_of(settings: Settings) -> tuple[str, ...]:
    """Every file that is read for a description, each once."""
    return tuple(dict.fromkeys([*_of_listeners(settings.listeners), *_of_groups(settings)]))


def _of_listeners(listeners: Sequence[Listener]) -> list[str]:
    return [path for listener in listeners for path in listener.files]


def _of_groups(settings: Settings) -> list[str]:
    paths: list[str] = []
    for group in settings.groups:
        if isinstance(group.verify, str):
            paths.append(group.verify)
        if group.client_certificate is not None:
            paths += group.client_certificate.files
    return paths
