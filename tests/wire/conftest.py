from __future__ import annotations

import pytest

from tests.wire.heads import Reading


@pytest.fixture(scope="session")
def reading() -> Reading:
    """The reader, cold and warm."""
    return Reading()
