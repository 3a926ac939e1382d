"""Regular expressions in the dialect that ALB accepts: RE2's, whose matching time is linear in the subject (docs/alb.md 2.6, 3.1)."""

from __future__ import annotations

import re
from typing import Any

import re2  # type: ignore[import-untyped]

__all__ = ("compile_regex", "fault_of_regex")

_NOT_IN_ALB = re.compile(r"(?<!\\)(?:\\\\)*\\[pPC]")
"""Accepted by RE2 but not by ALB: classes of Unicode properties, and single bytes."""


def compile_regex(pattern: str, *, ignore_case: bool = False) -> Any:
    """Compile an expression; the result has `search`.

    Raises:
        ValueError: the expression is not in the dialect; the text says why.
    """
    options = re2.Options()
    options.case_sensitive = not ignore_case
    # RE2 would write the error to stderr as well.
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        detail = error.args[0] if error.args else error
        raise ValueError(detail.decode("utf-8", "replace") if isinstance(detail, bytes) else str(detail)) from None


def fault_of_regex(pattern: object, longest: int) -> str | None:
    """Say what is wrong with a regular expression of at most `longest` characters; `None` if it is valid."""
    if not isinstance(pattern, str) or not pattern:
        return f"{pattern!r} is not a regular expression"
    if len(pattern) > longest:
        return f"has {len(pattern)} characters; use at most {longest}"
    if _NOT_IN_ALB.search(pattern):
        return f"{pattern!r} uses \\p or \\C, which ALB does not support; use a character class such as [A-Za-z]"
    try:
        compile_regex(pattern)
    except ValueError as error:
        return f"{pattern!r} is not valid in RE2's dialect (no lookaround, backreferences or possessive quantifiers): {error}"
    return None
