"""How a rule rewrites requests before they are forwarded. Transforms do not affect which rule applies (docs/alb.md 1.7, 2.6)."""

from __future__ import annotations

import re

import attrs

from albkit.model.regex import compile_regex, fault_of_regex
from albkit.model.validation import Faults

__all__ = ("TRANSFORMS", "HostHeaderRewrite", "Transform", "UrlRewrite")

_LONGEST = 1024


def _check(subject: str, regex: object, replace: object) -> None:
    faults = Faults(subject)
    wrong = fault_of_regex(regex, _LONGEST)
    if wrong:
        faults.add("regex", wrong)
    if not isinstance(replace, str) or len(replace) > _LONGEST:
        faults.add("replace", f"is not text of at most {_LONGEST} characters")
    elif not re.fullmatch(r"[!-~]*", replace):
        faults.add("replace", f"{replace!r} contains a space, a control character or a character that is not ASCII")
    elif not wrong and isinstance(regex, str):
        groups = _groups(regex)
        for number in re.findall(r"\$([0-9]+)", replace):
            if int(number) > groups:
                faults.add("replace", f"${number} refers to a group that the regex does not have; it has {groups}")
    faults.raise_if_any()


def _groups(regex: str) -> int:
    """Return the number of groups of an expression."""
    groups: int = compile_regex(regex).groups
    return groups


@attrs.frozen
class UrlRewrite:
    """Rewrites the path and query. Only the first match is replaced; without a match, the request is not changed.

    Args:
        regex: At most 1024 characters in RE2's dialect, case-sensitive. It matches anywhere in `path?query` unless it is anchored.
        replace: At most 1024 visible characters. `$1`, `$2`, ... stand for the text of the groups. If the result is not a path that
            begins with `/`, the response is 500.

    Raises:
        ConfigurationError: listing every fault.
    """

    regex: str
    replace: str

    def __attrs_post_init__(self) -> None:
        _check("UrlRewrite", self.regex, self.replace)


@attrs.frozen
class HostHeaderRewrite:
    """Rewrites the Host header. Only the first match is replaced; without a match, the request is not changed.

    The expression is searched in the host without its port. If it does not match there, and the client sent a port, it is searched in host
    and port together. It never sees a port that the load balancer appends. If the result is a host without a port, it gets the port that
    the request would have without the transform.

    Args:
        regex: At most 1024 characters in RE2's dialect, without case. It matches anywhere in the host unless it is anchored.
        replace: At most 1024 visible characters. `$1`, `$2`, ... stand for the text of the groups. If the result is not a host, the
            response is 500.

    Raises:
        ConfigurationError: listing every fault.
    """

    regex: str
    replace: str

    def __attrs_post_init__(self) -> None:
        _check("HostHeaderRewrite", self.regex, self.replace)


Transform = UrlRewrite | HostHeaderRewrite
TRANSFORMS = (UrlRewrite, HostHeaderRewrite)
