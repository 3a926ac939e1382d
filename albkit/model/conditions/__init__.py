"""What a rule can ask of a request: one file for each kind of condition (docs/alb.md 3).

`CONDITIONS` lists the built-in ones. Besides these, any callable is a condition (`albkit.extensions.Condition`).
"""

from __future__ import annotations

from collections.abc import Callable

from albkit.model.conditions.condition import BuiltInCondition, Holds
from albkit.model.conditions.host_header import HostHeader
from albkit.model.conditions.http_header import HttpHeader
from albkit.model.conditions.http_request_method import HttpRequestMethod
from albkit.model.conditions.path_pattern import PathPattern
from albkit.model.conditions.query_string import QueryString
from albkit.model.conditions.source_ip import SourceIp
from albkit.model.message import RequestHead

__all__ = ("CONDITIONS", "Condition", "Holds", "compile_condition")

CONDITIONS: tuple[type[BuiltInCondition], ...] = (
    HostHeader,
    HttpHeader,
    HttpRequestMethod,
    PathPattern,
    QueryString,
    SourceIp,
)
"""The built-in conditions. CONTRIBUTING.md says what a new one needs."""

Condition = BuiltInCondition | Callable[[RequestHead], bool]


def compile_condition(condition: Condition) -> Holds:
    """Return a function that tells whether a condition holds for a request; a callable of the program's own is one already."""
    return condition.compile() if isinstance(condition, BuiltInCondition) else condition
