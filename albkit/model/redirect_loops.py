"""Finds redirects that lead back to their own listener: endlessly, or to a port without TLS."""

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
    """Return path and text of each redirect that cannot work."""
    for path, redirect, tells_apart in _redirects(default_actions, rules):
        if _is_same_url(redirect, listener):
            yield path, "redirects to the URL that was requested, which is an endless loop; change protocol, host, port or path"
        elif _is_plain_port(redirect, listener) and not tells_apart and not _may_be_behind_tls(listener) and redirect.host == "#{host}":
            yield path, f"redirects to https:// on this listener's own port, which has no TLS; name the HTTPS port: {_SAY}"


def doubts_about_redirects(
    listener: ListenerSettings, default_actions: Sequence[Action], rules: Sequence[Rule]
) -> Iterator[tuple[str, str]]:
    """Return path and text of each redirect that works only behind or in front of something that is not known here, such as a TLS proxy."""
    for path, redirect, tells_apart in _redirects(default_actions, rules):
        if not _is_plain_port(redirect, listener):
            continue
        if not _may_be_behind_tls(listener):
            yield path, f"leads to https:// on the port of this listener, which has no TLS; name the HTTPS port: {_SAY}"
        elif not tells_apart:
            yield (
                path,
                (
                    "leads to https:// on the port of this listener; if a proxy in front terminates TLS, that is an endless loop. "
                    f"Name the HTTPS port, {_SAY}, or add a condition on the proxy's headers: HttpHeader('X-Forwarded-Proto', 'http')"
                ),
            )


_SAY = "port=443"


def _redirects(default_actions: Sequence[Action], rules: Sequence[Rule]) -> Iterator[tuple[str, Redirect, bool]]:
    """Yield each redirect with its path, and whether only some of the requests for a URL get it."""
    for action in default_actions:
        if isinstance(action, Redirect):
            yield "default_actions", action, _has_hook(default_actions)
    for index, rule in enumerate(rules):
        if not isinstance(rule, Rule):
            continue  # Reported as a fault elsewhere.
        apart = any(not isinstance(one, BuiltInCondition) or one.can_break_redirect_loops for one in rule.conditions)
        for action in rule.actions:
            if isinstance(action, Redirect):
                yield f"rules[{index}].actions", action, apart or _has_hook(rule.actions)


def _has_hook(actions: Sequence[Any]) -> bool:
    return any(map(is_hook, actions))


def _is_plain_port(redirect: Redirect, listener: ListenerSettings) -> bool:
    """Whether the redirect leads to https:// on the port at which this listener serves plain HTTP."""
    return listener.protocol == "HTTP" and redirect.protocol == "HTTPS" and redirect.port in ("#{port}", str(listener.port))


def _is_same_url(redirect: Redirect, listener: ListenerSettings) -> bool:
    """Whether the redirect leads to the URL that was requested, apart from the query."""
    if (redirect.host, redirect.path) != ("#{host}", "/#{path}"):
        return False
    if _is_reached_through_others(listener):
        # The protocol and port in the client's URL are those of the proxy in front; this listener's own may be different ones.
        return redirect.port == "#{port}" and redirect.protocol == "HTTPS" and listener.protocol == "HTTPS"
    return redirect.protocol in ("#{protocol}", listener.protocol) and redirect.port in ("#{port}", str(listener.port))


def _is_reached_through_others(listener: ListenerSettings) -> bool:
    return listener.proxy_protocol is not None or listener.inherited_socket is not None or listener.socket_path is not None


def _may_be_behind_tls(listener: ListenerSettings) -> bool:
    """Whether a proxy in front of this listener may terminate TLS at a port of the same number."""
    return _is_reached_through_others(listener) or listener.port == _HTTPS_PORT
