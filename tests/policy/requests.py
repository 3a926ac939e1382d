"""Requests as the rules see them."""

from __future__ import annotations

from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

from albkit.model.message import ClientAddress, RequestHead
from albkit.policy.paths import path_to_match

__all__ = ("request_for",)


def request_for(
    target: str = "/",
    *,
    method: str = "GET",
    host: str = "example.com",
    fields: Iterable[tuple[str, str]] = (),
    client: str = "192.0.2.1",
    cookie: bytes = b"",
) -> RequestHead:
    """What the reader of heads would make of such a request."""
    request = RequestHead()
    request.method = method
    request.path, _, request.query_string = target.partition("?")
    request.path_to_match = path_to_match(request.path)
    request.host = host
    request.headers = CIMultiDictProxy(CIMultiDict(fields))
    request.client = ClientAddress(client, 40000)
    request.cookie = cookie
    request.lines = [f"{method} {target} HTTP/1.1".encode("utf-8", "surrogateescape"), b"Host: " + host.encode()]
    return request
