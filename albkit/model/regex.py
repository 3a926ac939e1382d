"""Regular expressions in the dialect that ALB allows: RE2's, so that a subject cannot make matching slow (docs/alb.md 2.6, 3.1)."""

from __future__ import annotations

import re
from typing import Any

import re2  # type: ignore[import-untyped]

__all__ = ("compile_regex", "fault_of_regex")

_NOT_IN_ALB = re.compile(r"(?<!\\)(?:\\\\)*\\[pPC]")
"""What RE2 takes and ALB does not: classes of Unicode properties, and single bytes."""


def compile_regex(pattern: str, *, ignore_case: bool = False) -> Any:
    """The compiled expression, with `search`.

    Raises:
        ValueError: it is not in the dialect; the text says why.
    """
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0] if error.args else error
        raise ValueError(detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)) from None


def fault_of_regex(pattern: object, longest: int) -> str | None:
    """What is wrong with a regular expression of at most `longest` characters, or `None`."""
    if not isinstance(pattern, str) or not pattern:
        return f"{pattern!r} is not a regular expression"
    if len(pattern) > longest:
        return f"{len(pattern)} characters are too many; at most {longest}"
    if _NOT_IN_ALB.search(pattern):
        return f"{pattern!r} uses \\p or \\C, which ALB does not know"
    try:
        compile_regex(pattern)
    except ValueError as error:
        return f"{pattern!r} is not in the dialect (no lookaround, backreferences or possessive quantifiers): {error}"
    return None
