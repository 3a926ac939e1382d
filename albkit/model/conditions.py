"""What a rule asks of a request (docs/alb.md 3)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from albkit.model.message import RequestHead
from albkit.model.names import TOKEN
from albkit.model.regex import fault_of_regex
from albkit.model.validation import Faults, as_tuple

__all__ = (
    "CONDITIONS",
    "Condition",
    "HostHeader",
    "HttpHeader",
    "HttpRequestMethod",
    "PathPattern",
    "QueryString",
    "SourceIp",
)

_LONGEST_VALUE = 128
_LONGEST_NAME = 40
_LONGEST_REGEX = 128
_MOST_NETWORKS = 5


@attrs.frozen
class _Alphabet:
    """The characters that ALB takes in the values of a condition."""

    expression: re.Pattern[str]
    words: str


_HOST = _Alphabet(re.compile(r"[A-Za-z0-9._*?-]+"), "letters, digits and - _ . * ?")
_PATH = _Alphabet(re.compile(r"[A-Za-z0-9_.$/~\"'@:+&*?%-]+"), "letters, digits and _ - . $ / ~ \" ' @ : + & % * ?")
_HEADER = _Alphabet(re.compile(r"[ -~]+"), "visible ASCII and blanks")
_METHOD = _Alphabet(re.compile(r"[A-Z_-]+"), "capital letters, - and _")
_QUERY = _Alphabet(re.compile(r"[!-~]+"), "visible ASCII")


def _flat(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value for item in values for value in as_tuple(item))


def _check_text(faults: Faults, path: str, value: object, alphabet: _Alphabet, longest: int = _LONGEST_VALUE) -> None:
    if not isinstance(value, str) or not value:
        faults.add(path, f"{value!r} is not a pattern; give text, with * for any characters and ? for one")
    elif len(value) > longest:
        faults.add(path, f"{len(value)} characters are too many; at most {longest}")
    elif not alphabet.expression.fullmatch(value):
        faults.add(path, f"{value!r} holds a character that cannot stand here; {alphabet.words}")


def _check_values(faults: Faults, values: tuple[Any, ...], regex: tuple[Any, ...], alphabet: _Alphabet) -> None:
    """Either values or regular expressions, at least one, each as it should be."""
    if values and regex:
        faults.add("regex", "give either values or regex, not both; two rules can hold one each")
    elif not values and not regex:
        faults.add("values", "give at least one value")
    for index, value in enumerate(values):
        _check_text(faults, f"values[{index}]", value, alphabet)
    for index, pattern in enumerate(regex):
        wrong = fault_of_regex(pattern, _LONGEST_REGEX)
        if wrong:
            faults.add(f"regex[{index}]", wrong)


@attrs.frozen(init=False)
class HostHeader:
    """Holds when the whole host of the request matches one of the values.

    The port is left out of the comparison and case is ignored. `*` stands for any characters, dots among them, `?` for exactly one:
    `*.example.com` does not match `example.com`.

    Args:
        values: One pattern or several, each 1 to 128 characters of `A-Z a-z 0-9 - _ . * ?`.
        regex: Instead of values, one regular expression or several of at most 128 characters, found anywhere in the host unless
            anchored with `^` and `$`; RE2's dialect, without case.

    Raises:
        ConfigurationError: listing every fault.
    """

    values: tuple[str, ...]
    regex: tuple[str, ...] = ()

    def __init__(self, *values: str | Iterable[str], regex: Any = ()) -> None:
        self.__attrs_init__(_flat(values), as_tuple(regex))
        faults = Faults("HostHeader")
        _check_values(faults, self.values, self.regex, _HOST)
        faults.raise_if_any()


@attrs.frozen(init=False)
class PathPattern:
    """Holds when the whole path of the request matches one of the values.

    The query is no part of the path, case counts, and nothing is percent-decoded. `*` stands for any characters, slashes among them,
    `?` for exactly one. `.` and `..` segments are resolved for the comparison; the target gets the path as it came.

    Args:
        values: One pattern or several, each 1 to 128 characters of `A-Z a-z 0-9 _ - . $ / ~ " ' @ : + & % * ?`, from `/`, `*` or `?`.
        regex: Instead of values, one regular expression or several of at most 128 characters, found anywhere in the path unless
            anchored with `^` and `$`; RE2's dialect, case counts.

    Raises:
        ConfigurationError: listing every fault.
    """

    values: tuple[str, ...]
    regex: tuple[str, ...] = ()

    def __init__(self, *values: str | Iterable[str], regex: Any = ()) -> None:
        self.__attrs_init__(_flat(values), as_tuple(regex))
        faults = Faults("PathPattern")
        _check_values(faults, self.values, self.regex, _PATH)
        for index, value in enumerate(self.values):
            if isinstance(value, str) and _PATH.expression.fullmatch(value) and value[0] not in "/*?":
                faults.add(f"values[{index}]", f"{value!r} matches no path, for paths begin with a slash; write {'/' + value!r}")
        faults.raise_if_any()


@attrs.frozen(init=False)
class HttpHeader:
    """Holds when a field of the request has one of the values.

    A field that stands several times is tried line by line, never joined. Name and value are compared without case.

    Args:
        http_header_name: The field's name, a token of at most 40 characters, without wildcards; not `Host` (use `HostHeader`).
        values: One pattern or several, each 1 to 128 visible ASCII characters and blanks, `*` and `?` as elsewhere.
        regex: Instead of values, one regular expression or several, found anywhere unless anchored; without case.

    Raises:
        ConfigurationError: listing every fault.
    """

    http_header_name: str
    values: tuple[str, ...]
    regex: tuple[str, ...] = ()

    def __init__(self, http_header_name: str, *values: str | Iterable[str], regex: Any = ()) -> None:
        self.__attrs_init__(http_header_name, _flat(values), as_tuple(regex))
        faults = Faults("HttpHeader")
        name = self.http_header_name
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            faults.add("http_header_name", f"{name!r} is not a field name; a token such as 'X-Canary', without wildcards")
        elif len(name) > _LONGEST_NAME:
            faults.add("http_header_name", f"{len(name)} characters are too many; at most {_LONGEST_NAME}")
        elif name.lower() == "host":
            faults.add("http_header_name", "Host has a condition of its own; use HostHeader")
        _check_values(faults, self.values, self.regex, _HEADER)
        faults.raise_if_any()


@attrs.frozen(init=False)
class HttpRequestMethod:
    """Holds when the method of the request is one of the values, case and all. Route GET and HEAD alike.

    Args:
        values: One method or several, each 1 to 40 of `A-Z - _`, without wildcards.

    Raises:
        ConfigurationError: listing every fault.
    """

    values: tuple[str, ...]

    def __init__(self, *values: str | Iterable[str]) -> None:
        self.__attrs_init__(_flat(values))
        faults = Faults("HttpRequestMethod")
        if not self.values:
            faults.add("values", "give at least one method")
        for index, value in enumerate(self.values):
            _check_text(faults, f"values[{index}]", value, _METHOD, _LONGEST_NAME)
        faults.raise_if_any()


@attrs.frozen(init=False)
class QueryString:
    """Holds when a parameter of the query matches one of the values.

    Text and parameters are compared as they came, without case and without percent-decoding.

    Args:
        values: Pairs of key and value (2-tuples), or a value alone, which any parameter may have. Each text is 1 to 128 visible
            characters, `*` and `?` as elsewhere; a backslash before one of them takes it literally.

    Raises:
        ConfigurationError: listing every fault.
    """

    values: tuple[tuple[str | None, str], ...]

    def __init__(self, *values: str | tuple[str, str] | list[Any]) -> None:
        items = [item for value in values for item in (value if isinstance(value, list) else [value])]
        self.__attrs_init__(tuple((None, item) if isinstance(item, str) else item for item in items))
        faults = Faults("QueryString")
        if not self.values:
            faults.add("values", "give at least one (key, value) pair or value")
        for index, pair in enumerate(self.values):
            path = f"values[{index}]"
            if not isinstance(pair, tuple) or len(pair) != 2:
                faults.add(path, f"{pair!r} is neither text nor a (key, value) pair")
                continue
            key, value = pair
            if key is not None:
                _check_text(faults, path, key, _QUERY)
            _check_text(faults, path, value, _QUERY)
        faults.raise_if_any()


@attrs.frozen(init=False)
class SourceIp:
    """Holds when the client's address is in one of the networks: the peer of the connection, never X-Forwarded-For.

    Args:
        values: One to five networks in CIDR notation, IPv4 or IPv6; an address alone is a network of one. `255.255.255.255/32` is
            refused, as ALB does.

    Raises:
        ConfigurationError: listing every fault.
    """

    values: tuple[str, ...]

    def __init__(self, *values: str | Iterable[str]) -> None:
        self.__attrs_init__(_flat(values))
        faults = Faults("SourceIp")
        if not 1 <= len(self.values) <= _MOST_NETWORKS:
            faults.add("values", f"{len(self.values)} networks; give 1 to {_MOST_NETWORKS}")
        for index, value in enumerate(self.values):
            wrong = _fault_of_network(value)
            if wrong:
                faults.add(f"values[{index}]", wrong)
        faults.raise_if_any()


def _fault_of_network(value: object) -> str | None:
    try:
        network = ipaddress.ip_network(value) if isinstance(value, str) else None
    except ValueError as error:
        return f"{value!r} is not a network in CIDR notation: {error}"
    if network is None:
        return f"{value!r} is not a network in CIDR notation, such as '10.0.0.0/8' or '2001:db8::/32'"
    return "255.255.255.255/32 is nobody's address" if network == ipaddress.ip_network("255.255.255.255/32") else None


Condition = HostHeader | PathPattern | HttpHeader | HttpRequestMethod | QueryString | SourceIp | Callable[[RequestHead], bool]
CONDITIONS = (HostHeader, PathPattern, HttpHeader, HttpRequestMethod, QueryString, SourceIp)
"""The conditions that ALB knows; besides these any callable will do."""
