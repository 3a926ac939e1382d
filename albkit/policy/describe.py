"""Conditions and actions in words, for people: tables, explanations, logs."""

from __future__ import annotations

from albkit.model.actions import Action, FixedResponse, Forward, Redirect
from albkit.model.conditions import Condition, HostHeader, HttpHeader, HttpRequestMethod, PathPattern, QueryString, SourceIp

__all__ = ("describe_action", "describe_condition")


def describe_condition(condition: Condition) -> str:
    """What a condition asks for."""
    if isinstance(condition, HostHeader):
        return _alternatives("host", condition.values, condition.regex)
    if isinstance(condition, PathPattern):
        return _alternatives("path", condition.values, condition.regex)
    if isinstance(condition, HttpHeader):
        return _alternatives(f"header {condition.http_header_name}", condition.values, condition.regex)
    if isinstance(condition, HttpRequestMethod):
        return _alternatives("method", condition.values, ())
    if isinstance(condition, QueryString):
        pairs = [value if key is None else f"{key}={value}" for key, value in condition.values]
        return f"query has {' or '.join(pairs)}"
    if isinstance(condition, SourceIp):
        return f"client is in {' or '.join(condition.values)}"
    return f"{_name(condition)}() holds"


def _alternatives(subject: str, values: tuple[str, ...], regex: tuple[str, ...]) -> str:
    if regex:
        return f"{subject} matches {' or '.join(f'/{pattern}/' for pattern in regex)}"
    return f"{subject} is {' or '.join(values)}"


def describe_action(action: Action) -> str:
    """What an action does."""
    if isinstance(action, FixedResponse):
        return f"answer {action.status_code} ({action.content_type})"
    if isinstance(action, Redirect):
        query = f"?{action.query}" if action.query else ""
        return f"redirect {action.status_code} to {action.protocol}://{action.host}:{action.port}{action.path}{query}"
    if isinstance(action, Forward):
        groups = [group.name if len(action.groups) == 1 else f"{group.name} ({weight})" for group, weight in action.groups]
        return "forward to " + ", ".join(groups)
    return f"ask {_name(action)}()"


def _name(own: object) -> str:
    """Of a callable of the program's own."""
    try:
        name = getattr(own, "__name__", None)
    except Exception:  # noqa: BLE001 - its attributes may raise anything
        name = None
    return name if type(name) is str else type(own).__name__
