"""Reads every TLS file that a configuration names, before any part of it takes effect."""

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
"""Changes when one of several files changes."""


@attrs.frozen
class Loaded:
    """The content of the files."""

    terminations: Sequence[Termination | None] = ()
    """One per listener, in their order."""
    contexts: TargetContexts = attrs.field(factory=TargetContexts)
    stamp: Stamp = ()
    """The stamp of the files, taken before they were read."""
    kept: Mapping[object, Termination] = attrs.field(factory=dict)
    """The same terminations by everything they were created from."""

    @property
    def valid_until(self) -> float:
        """When another certificate may become the best one, in seconds since 1970."""
        return min((one.valid_until for one in self.terminations if one is not None), default=float("inf"))

    def warnings(self, now: float) -> Sequence[str]:
        """Problems that prevent nothing yet, such as certificates that expire soon."""
        told = [words for one in self.terminations if one is not None for words in one.warnings(now)]
        return list(dict.fromkeys(told))


async def load(settings: Settings, clock: Clock, before: Loaded | None = None) -> Loaded:
    """Read the files of a configuration, in a thread.

    Args:
        settings: The configuration.
        clock: The clock for expiry dates.
        before: The result for an earlier configuration. Unchanged parts are reused, so that clients can resume their TLS sessions.

    Raises:
        ConfigurationError: lists every fault, each with what to do.
    """
    if not any(listener.is_secure for listener in settings.listeners) and not any(map(takes_files, settings.groups)):
        return Loaded([None] * len(settings.listeners))
    return await asyncio.get_running_loop().run_in_executor(None, _load, settings, clock.time(), before.kept if before else {})


def _load(settings: Settings, now: float, before: Mapping[object, Termination]) -> Loaded:
    # Before the files are read: if one changes meanwhile, its stamp is outdated and it will be read again.
    stamp = stamp_of(files_of(settings))
    faults = Faults("LoadBalancer")
    contexts = TargetContexts()
    terminations: list[Termination | None] = []
    kept: dict[object, Termination] = {}
    for index, listener in enumerate(settings.listeners):
        key = _key_of(listener)
        termination = before.get(key)
        # A validity period that has begun or ended may change the choice, although no file has changed.
        if termination is None or now >= termination.valid_until:
            termination = load_termination(listener, faults, f"listeners[{index}]", now)
        terminations.append(termination)
        if termination is not None:
            kept[key] = termination
    for group in settings.groups:
        load_target_contexts(group, contexts, faults, now)
    faults.raise_if_any()
    return Loaded(terminations, contexts, stamp, kept)


def _key_of(listener: Listener) -> object:
    """Everything that a termination is created from."""
    return (
        *(listener.protocol, listener.certificates, listener.ssl_policy, listener.alpn_policy, listener.http2),
        listener.mutual_authentication,
        stamp_of(listener.files),
    )


def stamp_of(paths: Sequence[str]) -> Stamp:
    """Compute the stamp of files; `None` stands for a missing file. Reads from the disk, so call it in a thread."""
    return tuple(map(_stamp_of_one, paths))


def _stamp_of_one(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    # Not st_mtime, which tools like `cp -p` and `tar` set to that of the original.
    return found.st_ctime_ns, found.st_ino, found.st_size


def files_of(settings: Settings) -> tuple[str, ...]:
    """Every file that is read for a configuration, without duplicates."""
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
