"""Every test with real clients runs under the loop's guard, and none takes long."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _guarded(loop_guard: None) -> None:
    """See `loop_guard`."""


@pytest.fixture
def browser_folder() -> Iterator[Path]:
    """A folder for what a browser leaves behind. Its path is short: Chromium puts a Unix socket two folders below, and that path may have
    107 bytes (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="b", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
