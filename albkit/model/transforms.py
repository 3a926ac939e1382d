"""How a request is rewritten on its way to a target; the rule was chosen before (docs/alb.md 1.7, 2.6)."""

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
        faults.add("replace", f"not text of at most {_LONGEST} characters")
    elif not re.fullmatch(r"[!-~]*", replace):
        faults.add("replace", f"{replace!r} holds a blank, a control character or one that is not ASCII")
    elif not wrong and isinstance(regex, str):
        groups = _groups(regex)
        for number in re.findall(r"\$([0-9]+)", replace):
            if int(number) > groups:
                faults.add("replace", f"${number} names a group that the regex does not have; it has {groups}")
    faults.raise_if_any()


def _groups(regex: str) -> int:
    """How many groups an expression has."""
    groups: int = compile_regex(regex).groups
    return groups


@attrs.frozen
class UrlRewrite:
    """Rewrites path and query. The first match is replaced; without one the request passes unchanged.

    Args:
        regex: At most 1024 characters in RE2's dialect, found anywhere in `path?query` unless anchored; case counts.
        replace: At most 1024 visible characters; `$1`, `$2`, ... stand for what the groups matched. A result that is no path from `/` is
            answered 500.

    Raises:
        ConfigurationError: listing every fault.
    """

    regex: str
    replace: str

    def __attrs_post_init__(self) -> None:
        _check("UrlRewrite", self.regex, self.replace)


@attrs.frozen
class HostHeaderRewrite:
    """Rewrites Host. The first match is replaced; without one the request passes unchanged.

    The expression is looked for in the host without its port; where it is not found there, and the client has sent a port, in both
    together. So a port that the load balancer appends is never seen. A result without a port, of the host alone, gets the one that the
    request would have had without the transform.

    Args:
        regex: At most 1024 characters in RE2's dialect, found anywhere in the host unless anchored; without case.
        replace: At most 1024 visible characters; `$1`, `$2`, ... stand for what the groups matched. A result that is no host is
            answered 500.

    Raises:
        ConfigurationError: listing every fault.
    """

    regex: str
    replace: str

    def __attrs_post_init__(self) -> None:
        _check("HostHeaderRewrite", self.regex, self.replace)


Transform = UrlRewrite | HostHeaderRewrite
TRANSFORMS = (UrlRewrite, HostHeaderRewrite)
