"""The guards of the suite bite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

import albkit


@pytest.mark.parametrize("time", [1, 2])
async def test_blocking_call_of_albkit_in_a_loop_fails(time: int) -> None:
    """In the second test of a session as in the first."""
    names: dict[str, Any] = {}
    source = "import time\ndef block():\n    time.sleep(0.001)\n"
    exec(compile(source, str(Path(albkit.__file__).with_name("blocking.py")), "exec"), names)
    with pytest.raises(BlockingError):
        names["block"]()
