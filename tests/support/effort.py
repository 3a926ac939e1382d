"""How many random cases the tests try.

A run tries a part of them, so that it is over soon. With ALBKIT_TEST_CASES=all it tries all: one of the runs in CI does.
"""

from __future__ import annotations

import os

ALL = os.environ.get("ALBKIT_TEST_CASES") == "all"


def cases(count: int, *, part: int = 10) -> int:
    """So many if all are wanted, else one in `part`."""
    return count if ALL else count // part
