"""Redirects that lead back to the listener that gives them: for ever, or to a port that speaks no TLS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from albkit.model.actions import Action, is_hook
from albkit.model.actions.redirect import Redirect
from albkit.model.conditions.condition import BuiltInCondition
from albkit.model.listener_settings import ListenerSettings
from albkit.model.rule import Rule

__all__ = ("doubts_about_redirects", "faults_of_redirects")

_HTTPS_PORT = 443


def faults_of_redirects(listener: ListenerSettings, default_actions: Sequence[Action], rules: Sequence[Rule]) -> Iterator[tuple[str, str]]:
    """Paths and words of the redirects that cannot work."""
    for path, redirect, tells_apart in _redirects(default_actions, rules):
        if _is_same_url(redirect, listener):
            yield path, "leads back to this listener with the same URL, so the client comes back for ever; change host, port or path"
        elif _is_plain_port(redirect, listener) and not tells_apart and not _may_be_behind_tls(listener) and redirect.host == "#{host}":
            yield path, f"leads to https:// on this listener's own port, where no TLS is spoken; give the HTTPS port: {_SAY}"


def doubts_about_redirects(
    listener: ListenerSettings, default_actions: Sequence[Action], rules: Sequence[Rule]
) -> Iterator[tuple[str, str]]:
    """Paths and words of those that can work in front of, or behind, something that is not known here, and hardly were meant so."""
    for path, redirect, tells_apart in _redirects(default_actions, rules):
        if not _is_plain_port(redirect, listener):
            continue
        if not _may_be_behind_tls(listener):
            yield path, f"leads to https:// on the port of this listener, which speaks no TLS there; give the HTTPS port: {_SAY}"
        elif not tells_apart:
            yield (
                path,
                (
                    "leads to https:// on the port of this listener; where a proxy before it ends the TLS the client comes back for ever. "
                    f"Give the HTTPS port, {_SAY}, or a condition on what the proxy tells, such as HttpHeader('X-Forwarded-Proto', 'http')"
                ),
            )


_SAY = "port=443"


def _redirects(default_actions: Sequence[Action], rules: Sequence[Rule]) -> Iterator[tuple[str, Redirect, bool]]:
    """Each with its path, and whether it is given only to some of those that ask for one URL."""
    for action in default_actions:
        if isinstance(action, Redirect):
            yield "default_actions", action, _has_hook(default_actions)
    for index, rule in enumerate(rules):
        if not isinstance(rule, Rule):
            continue  # Which is told elsewhere.
        apart = any(not isinstance(one, BuiltInCondition) or one.can_break_redirect_loops for one in rule.conditions)
        for action in rule.actions:
            if isinstance(action, Redirect):
                yield f"rules[{index}].actions", action, apart or _has_hook(rule.actions)


def _has_hook(actions: Sequence[Any]) -> bool:
    return any(map(is_hook, actions))


def _is_plain_port(redirect: Redirect, listener: ListenerSettings) -> bool:
    """Whether it leads to https:// on the port at which this listener speaks plain HTTP."""
    return listener.protocol == "HTTP" and redirect.protocol == "HTTPS" and redirect.port in ("#{port}", str(listener.port))


def _is_same_url(redirect: Redirect, listener: ListenerSettings) -> bool:
    """Whether the URL stays as it is, but perhaps for the query."""
    if (redirect.host, redirect.path) != ("#{host}", "/#{path}"):
        return False
    if _is_reached_through_others(listener):
        # What such a client sees of protocol and port is told by whoever stands before, or by nobody.
        return redirect.port == "#{port}" and redirect.protocol == "HTTPS" and listener.protocol == "HTTPS"
    return redirect.protocol in ("#{protocol}", listener.protocol) and redirect.port in ("#{port}", str(listener.port))


def _is_reached_through_others(listener: ListenerSettings) -> bool:
    return listener.proxy_protocol is not None or listener.inherited_socket is not None or listener.socket_path is not None


def _may_be_behind_tls(listener: ListenerSettings) -> bool:
    """Whether something before this listener may speak TLS with the client at a port of the same number."""
    return _is_reached_through_others(listener) or listener.port == _HTTPS_PORT
