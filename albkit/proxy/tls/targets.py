"""TLS contexts for targets: with or without verification, and with a client certificate if the group has one."""

from __future__ import annotations

import ssl

from albkit.model.certificate import Certificate
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults
from albkit.proxy.tls.contexts import show

__all__ = ("TargetContexts", "load_target_contexts", "takes_files", "target_context")

Key = tuple[bool | str, Certificate | None, str]
"""What to verify against, which certificate to send, and the ALPN protocol to offer."""


class TargetContexts:
    """The contexts of all groups; groups with equal settings share one."""

    def __init__(self) -> None:
        self._contexts: dict[Key, ssl.SSLContext] = {}

    def of(self, group: TargetGroup, *, checks: bool = False) -> ssl.SSLContext:
        """The context of a group. Like ALB's, health checks verify nothing (docs/alb.md 5.4); `checks` selects their context."""
        key: Key = (False if checks else group.verify, group.client_certificate, _alpn(group))
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = target_context(key[0], alpn=key[2])
        return context

    def knows(self, key: Key) -> bool:
        """Whether there already is a context for this key."""
        return key in self._contexts

    def add(self, key: Key, context: ssl.SSLContext) -> None:
        """Add a context that required reading files."""
        self._contexts[key] = context

    def update(self, newer: TargetContexts) -> None:
        """Replace contexts by those that were read again."""
        self._contexts.update(newer._contexts)


def takes_files(group: TargetGroup) -> bool:
    """Whether files must be read before a TLS connection to the group's targets."""
    return group.verify is not False or group.client_certificate is not None


def load_target_contexts(group: TargetGroup, contexts: TargetContexts, faults: Faults, now: float) -> None:
    """Read the files to verify a group's targets with, and the client certificate. Reads files, so call it in a thread.

    Args:
        group: The group's configuration.
        contexts: Receives the contexts.
        faults: Receives what is wrong, each with what to do.
        now: Seconds since 1970.
    """
    if not takes_files(group):
        return  # A context without files is created when it is first needed.
    path = f"target group {group.name!r}"
    alpn = _alpn(group)
    made: list[tuple[Key, ssl.SSLContext]] = []
    for verify in dict.fromkeys((group.verify, False)):
        key: Key = (verify, group.client_certificate, alpn)
        if contexts.knows(key):
            continue
        try:
            made.append((key, target_context(verify, alpn=alpn)))
        except OSError as error:  # ssl.SSLError is one.
            faults.add(f"{path}.verify", f"cannot read CA certificates from {verify!r}: {error}; give the path of a PEM file")
    shown = group.client_certificate
    if made and shown is not None and not _show(shown, made, faults, f"{path}.client_certificate", now):
        return
    for key, context in made:
        contexts.add(key, context)


def _show(certificate: Certificate, made: list[tuple[Key, ssl.SSLContext]], faults: Faults, path: str, now: float) -> bool:
    """Add a certificate to the contexts; return whether it can be used."""
    try:
        from albkit.proxy.tls.certificates import CertificateError, load
    except ImportError:
        faults.add(path, "requires the package cryptography; run: pip install 'albkit[tls]'")
        return False
    try:
        loaded = load(certificate, now)
    except CertificateError as error:
        faults.add(path, str(error))
        return False
    for _, context in made:
        show(context, loaded)
    return True


def _alpn(group: TargetGroup) -> str:
    if group.protocol == "TLS":
        return ""
    return "http/1.1" if group.protocol_version == "HTTP1" else "h2"


def target_context(verify: bool | str, *, alpn: str) -> ssl.SSLContext:
    """Create a context that verifies with the machine's trust store, with a file of CA certificates, or not at all.

    Args:
        verify: `True`, the path of the file, or `False`.
        alpn: The ALPN protocol to offer; empty for none.

    Raises:
        OSError: the file cannot be read.
    """
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if alpn:
        context.set_alpn_protocols([alpn])
    return context
