"""The fields of a response that depend on the client's connection."""

from __future__ import annotations

import pytest

from albkit.proxy.client.response_head import add_framing_fields, switching_head, with_head
from albkit.proxy.transports import SMALL
from albkit.wire.http1.response import UPGRADE_OPTION
from tests.proxy.client.connections import response

CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize("fields", [b"", b"Set-Cookie: a=b"])
@pytest.mark.parametrize(
    ("chunked", "keep_alive", "http_1_0", "added"),
    [
        (False, True, False, []),
        (False, False, False, [b"Connection: close"]),
        (True, True, False, [CHUNKED]),
        (True, False, False, [CHUNKED, b"Connection: close"]),
        (False, True, True, [b"Connection: keep-alive"]),
        (False, False, True, [b"Connection: close"]),
    ],
)
def test_fields_tell_how_body_and_connection_end(
    fields: bytes, chunked: bool, keep_alive: bool, http_1_0: bool, added: list[bytes]
) -> None:
    """HTTP/1.1 persists unless it says close, HTTP/1.0 the other way round."""
    lines = [b"HTTP/1.1 200 OK"]
    got = add_framing_fields(lines, fields, chunked=chunked, keep_alive=keep_alive, http_1_0=http_1_0)
    assert got == b"\r\n".join([*([fields] if fields else []), *added])
    assert lines == [b"HTTP/1.1 200 OK"]


def test_upgrade_option_and_another_share_a_line() -> None:
    """A 426 says what to upgrade to, and that the connection closes."""
    lines = [b"HTTP/1.1 426 Upgrade Required", UPGRADE_OPTION]
    got = add_framing_fields(lines, b"", chunked=False, keep_alive=False, http_1_0=False)
    assert got == b"Connection: Upgrade, close"
    assert UPGRADE_OPTION not in lines


@pytest.mark.parametrize("body", [[], [b"ok"], [b"x" * SMALL], [b"x" * (SMALL + 1)], [b"a", b"b"]])
def test_head_and_body_are_separated_by_an_empty_line(body: list[bytes]) -> None:
    """In one piece if the body is small."""
    pieces = with_head([b"HTTP/1.1 200 OK", b"A: b"], body)
    assert b"".join(pieces) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n" + b"".join(body)
    assert len(pieces) == (1 if not body or (len(body) == 1 and len(body[0]) <= SMALL) else len(body) + 1)


@pytest.mark.parametrize("fields", [b"", b"Set-Cookie: a=b"])
def test_switching_head_names_the_protocol(fields: bytes) -> None:
    """And leaves the target's lines as they are."""
    head = response(0)
    got = switching_head(head, fields)
    assert got == b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + (fields + b"\r\n" if fields else b"") + b"\r\n"
    assert head.lines == [b"HTTP/1.1 200 OK"]
