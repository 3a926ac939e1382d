from __future__ import annotations

from tests.support.gateway import running
from tests.support.peers import target


async def test_request_is_forwarded_and_its_response_comes_back() -> None:
    """The shortest walk through the house."""
    async with target() as origin, running(origin.address) as gateway:
        client = await gateway.client()
        answer = await client.get("/path?query")
        assert (answer.status, answer.body) == (200, b"ok")
        assert origin.heads[0].startswith(b"GET /path?query HTTP/1.1\r\nHost: example.com:")
