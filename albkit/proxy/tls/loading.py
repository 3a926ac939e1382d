"""Reads every file that a description names, before anything of it is put in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from albkit.clock import Clock
from albkit.model.listener import Listener
from albkit.model.settings import Settings
from albkit.model.validation import Faults
from albkit.proxy.tls.targets import TargetContexts, load_target_contexts, takes_files
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
    stamp: Stamp = ()
    """Of the files, before they were read."""
    kept: Mapping[object, Termination] = attrs.field(factory=dict)
    """The same terminations by what they were made from."""

    @property
    def valid_until(self) -> float:
        """When another certificate may be the best one to show, in seconds since 1970."""
        return min((one.valid_until for one in self.terminations if one is not None), default=float("inf"))

    def warnings(self, now: float) -> Sequence[str]:
        """What will go wrong soon, or does so already without keeping anything from starting: certificates that expire."""
        told = [words for one in self.terminations if one is not None for words in one.warnings(now)]
        return list(dict.fromkeys(told))


async def load(settings: Settings, clock: Clock, before: Loaded | None = None) -> Loaded:
    """Read the files of a description, in a thread.

    Args:
        settings: The description.
        clock: Tells what has expired.
        before: What was read for an earlier one. What has not changed since is taken from there, so that clients can resume their sessions.

    Raises:
        ConfigurationError: listing every fault, each with what to do.
    """
    if not any(listener.is_secure for listener in settings.listeners) and not any(map(takes_files, settings.groups)):
        return Loaded([None] * len(settings.listeners))
    return await asyncio.get_running_loop().run_in_executor(None, _load, settings, clock.time(), before.kept if before else {})


def _load(settings: Settings, now: float, before: Mapping[object, Termination]) -> Loaded:
    stamp = stamp_of(files_of(settings))
    faults = Faults("LoadBalancer")
    contexts = TargetContexts()
    terminations: list[Termination | None] = []
    kept: dict[object, Termination] = {}
    for index, listener in enumerate(settings.listeners):
        key = _how_secured(listener)
        termination = before.get(key)
        if termination is None or now >= termination.valid_until:
            termination = load_termination(listener, faults, f"listeners[{index}]", now)
        terminations.append(termination)
        if termination is not None:
            kept[key] = termination
    for group in settings.groups:
        load_target_contexts(group, contexts, faults, now)
    faults.raise_if_any()
    return Loaded(terminations, contexts, stamp, kept)


def _how_secured(listener: Listener) -> object:
    """All that a termination is made from."""
    return (
        *(listener.protocol, listener.certificates, listener.ssl_policy, listener.alpn_policy, listener.mutual_authentication),
        stamp_of(listener.files),
    )


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
