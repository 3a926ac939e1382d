from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.wire.heads import Reading


@pytest.fixture(scope="session")
def reading() -> Iterator[Reading]:
    """Both parsers, shared as a load balancer shares them."""
    loop = asyncio.new_event_loop()
    yield Reading(loop)
    loop.close()
