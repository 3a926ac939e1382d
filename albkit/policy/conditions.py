"""Does one condition hold for one request? Each condition of the model is compiled once to a plain function (docs/alb.md 3.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from albkit.model.conditions import Condition, HostHeader, HttpHeader, HttpRequestMethod, PathPattern, QueryString, SourceIp
from albkit.model.message import RequestHead
from albkit.model.regex import compile_regex
from albkit.policy.wildcards import compile_wildcards
from albkit.state.bounded_cache import BoundedCache

__all__ = ("Holds", "compile_condition", "host_to_match")

Holds = Callable[[RequestHead], bool]
Matcher = Callable[[str], bool]


def compile_condition(condition: Condition) -> Holds:
    """A function that tells whether `condition` holds for a request."""
    if isinstance(condition, HostHeader):
        return _host(_matchers([host_to_match(value) for value in condition.values], condition.regex, ignore_case=True))
    if isinstance(condition, PathPattern):
        return _path(_matchers(condition.values, condition.regex, ignore_case=False))
    if isinstance(condition, HttpHeader):
        return _header(condition.http_header_name, _matchers(condition.values, condition.regex, ignore_case=True))
    if isinstance(condition, HttpRequestMethod):
        methods = frozenset(condition.values)
        return lambda request: request.method in methods
    if isinstance(condition, QueryString):
        return _query(condition)
    if isinstance(condition, SourceIp):
        return _source(condition)
    return condition


def host_to_match(value: str) -> str:
    """A host of a rule as requests are compared with it: with a dot at its end it is the same name (RFC 3986 section 3.2.2)."""
    return value.lower().removesuffix(".") or value


def _matchers(values: Sequence[str], regex: Sequence[str], *, ignore_case: bool) -> tuple[Matcher, ...]:
    """Matchers of the values, which without case want their subject in lower case, and of the expressions."""
    texts = [compile_wildcards(value.lower() if ignore_case else value) for value in values]
    return (*texts, *[_searcher(compile_regex(pattern, ignore_case=ignore_case)) for pattern in regex])


def _searcher(expression: Any) -> Matcher:
    search = expression.search
    # Bytes that are no UTF-8 arrive as lone surrogates, which RE2 cannot be given.
    return lambda text: search(text if text.isascii() else text.encode("utf-8", "replace").decode()) is not None


def _host(matchers: tuple[Matcher, ...]) -> Holds:
    if len(matchers) == 1:
        (matches,) = matchers
        return lambda request: matches(request.host)
    return lambda request: any(matches(request.host) for matches in matchers)


def _path(matchers: tuple[Matcher, ...]) -> Holds:
    if len(matchers) == 1:
        (matches,) = matchers
        return lambda request: matches(request.path_to_match)
    return lambda request: any(matches(request.path_to_match) for matches in matchers)


def _header(name: str, matchers: tuple[Matcher, ...]) -> Holds:
    def holds(request: RequestHead) -> bool:
        # Line by line, in their order: joined values would match what no single line says.
        values = request.headers.getall(name, None)
        return values is not None and any(matches(_lower(value)) for value in values for matches in matchers)

    return holds


def _query(condition: QueryString) -> Holds:
    pairs = [(None if key is None else _query_matcher(key), _query_matcher(value)) for key, value in condition.values]

    def holds(request: RequestHead) -> bool:
        for parameter in _lower(request.query_string).split("&"):
            if not parameter:
                continue  # Nothing between two separators, or no query at all, is no parameter that could have a value.
            name, _, text = parameter.partition("=")
            for key, value in pairs:
                if (key is None or key(name)) and value(text):
                    return True
        return False

    return holds


_LOWER = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


def _lower(text: str) -> str:
    """Without the case of ASCII letters, the only ones that are matched: a Kelvin sign is no k, and no text grows longer."""
    return text.lower() if text.isascii() else text.translate(_LOWER)


def _query_matcher(pattern: str) -> Matcher:
    return compile_wildcards(pattern.lower(), escapes=True)


def _source(condition: SourceIp) -> Holds:
    networks = [ipaddress.ip_network(value) for value in condition.values]
    # Parsing an address costs more than all the rest of a match.
    known: BoundedCache[str, bool] = BoundedCache()

    def holds(request: RequestHead) -> bool:
        address = request.client.host
        answer = known.get(address)
        if answer is not None:
            known.count_hit()
            return answer
        answer = _inside(address, networks)
        if not known.skip_put():
            known.put(address, answer, 0)
        return answer

    return holds


def _inside(address: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        client = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False  # A unix socket's client has no address.
    return any(client in network for network in networks)
