from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Any

import pytest

from albkit.errors import Failure, FailureKind
from albkit.model.message import RequestHead, ResponseHead
from albkit.wire.http1.upgrade import (
    accepts,
    negotiated_extensions,
    protocols_allowed,
    protocols_to_offer,
    websocket_accept,
    websocket_lines,
)
from tests.wire.heads import Reading, get, head


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        (b"websocket", b"websocket"),
        (b"WebSocket", b"WebSocket"),
        (b"foo/2", b"foo/2"),
        (b"websocket, foo", b"websocket, foo"),
        (b"h2c", b""),
        (b"H2C", b""),
        (b"h2c, websocket", b"websocket"),
        (b"websocket , H2c", b"websocket"),
        (b"h2c,h2c", b""),
        (b"a,,b", b"a, b"),
        (b",", b""),
        (b"", b""),
        (b"h2c2", b"h2c2"),
    ],
    ids=repr,
)
def test_offer_is_everything_but_h2c(value: bytes, offered: bytes) -> None:
    """Any token may be asked for in its order and case; h2c is never passed on (docs/alb.md 2.10)."""
    assert protocols_to_offer(value) == offered


@pytest.mark.parametrize(
    ("offered", "answered", "accepted"),
    [
        (b"websocket", b"websocket", True),
        (b"websocket", b"WebSocket", True),
        (b"WEBSOCKET", b"websocket", True),
        (b"foo, websocket", b"websocket", True),
        (b"foo, websocket", b"foo", True),
        (b"websocket", b" websocket\t", True),
        (b"websocket", b"foo", False),
        (b"websocket", b"", False),
        (b"websocket", b"web", False),
        (b"web", b"websocket", False),
        (b"foo, websocket", b"foo, websocket", False),
        (b"foo,, bar", b"", False),
        (b"", b"websocket", False),
        (b"", b"", False),
        (b"websocket", b"h2c", False),
    ],
    ids=repr,
)
def test_answer_is_accepted_when_it_was_asked_for(offered: bytes, answered: bytes, accepted: bool) -> None:
    """One of the protocols offered, compared without case; anything else is a 502 (docs/tunnels.md)."""
    assert accepts(offered, answered) is accepted


@pytest.mark.parametrize(
    ("offered", "allowed", "left"),
    [
        (b"websocket", ("websocket",), b"websocket"),
        (b"WebSocket", ("websocket",), b"WebSocket"),
        (b"websocket", ("WebSocket",), b"websocket"),
        (b"foo, websocket", ("websocket", "foo"), b"foo, websocket"),
        (b"foo, websocket ,bar/2", ("bar/2", "foo"), b"foo, bar/2"),
        (b"foo,\twebsocket", ("websocket",), b"websocket"),
        (b"foo", ("websocket",), b""),
        (b"websocket/13", ("websocket",), b""),
        (b"web", ("websocket",), b""),
        (b"websocket", (), b""),
        (b"", ("websocket",), b""),
        (b",", ("websocket",), b""),
    ],
    ids=repr,
)
def test_offer_keeps_only_what_the_policy_allows(offered: bytes, allowed: tuple[str, ...], left: bytes) -> None:
    """In the client's order and case; none is left where the policy allows none of them."""
    assert protocols_allowed(offered, allowed) == left


_KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
_VERSION = b"Sec-WebSocket-Version: 13"
_ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The key and its answer in RFC 6455 section 1.3."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_OF_NO_KEY = b64encode(sha1(_GUID).digest())


def _agreed(
    reading: Reading, *answered: bytes, asked: tuple[bytes, ...] = (_KEY, _VERSION), method: bytes = b"GET", upgrade: bytes = b"websocket"
) -> bytes | None:
    """What a handshake with these fields has agreed on."""
    switching = b"Connection: Upgrade", b"Upgrade: " + upgrade
    request = reading.request(get(*switching, *asked, method=method))
    return negotiated_extensions(request, reading.response(head(b"HTTP/1.1 101 Switching Protocols", *switching, *answered)))


@pytest.mark.parametrize(
    ("answered", "agreed"),
    [
        ((_ACCEPT,), b""),
        ((b"sec-websocket-accept:s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t",), b""),
        ((_ACCEPT, b"Sec-WebSocket-Extensions: permessage-deflate"), b"permessage-deflate"),
        (
            (b"SEC-WEBSOCKET-EXTENSIONS:  permessage-deflate; client_no_context_takeover ", _ACCEPT),
            b"permessage-deflate; client_no_context_takeover",
        ),
        ((_ACCEPT, b"Sec-WebSocket-Extensions:"), b""),
        ((_ACCEPT, b"Sec-WebSocket-Protocol: chat", b"X-Sec-WebSocket-Extensions: no"), b""),
    ],
    ids=repr,
)
def test_websocket_handshake_agrees_on_extensions(reading: Reading, answered: tuple[bytes, ...], agreed: bytes) -> None:
    """What follows are frames (RFC 6455 section 4.2.2), with reserved bits only where an extension was agreed on."""
    assert _agreed(reading, *answered) == agreed


def test_websocket_handshake_with_extensions_in_two_fields_has_both(reading: Reading) -> None:
    """A field may stand twice (RFC 6455 section 9.1)."""
    agreed = _agreed(reading, b"Sec-WebSocket-Extensions: one", _ACCEPT, b"Sec-WebSocket-Extensions: two")
    assert agreed is not None
    assert agreed.startswith(b"one")
    assert agreed.endswith(b"two")


@pytest.mark.parametrize(
    ("answered", "others"),
    [
        pytest.param((), {}, id="the key was not answered"),
        pytest.param((b"Sec-WebSocket-Accept:",), {}, id="with nothing"),
        pytest.param((b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOp=",), {}, id="with something else"),
        pytest.param((_ACCEPT.lower(),), {}, id="in another case"),
        pytest.param((b"X" + _ACCEPT,), {}, id="in another field"),
        pytest.param((_ACCEPT,), {"asked": (_VERSION,)}, id="no key"),
        pytest.param((_ACCEPT,), {"asked": (b"Sec-WebSocket-Key:", _VERSION)}, id="an empty key"),
        pytest.param((b"Sec-WebSocket-Accept: " + _OF_NO_KEY,), {"asked": (_VERSION,)}, id="no key, answered all the same"),
        pytest.param((_ACCEPT,), {"asked": (b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==", _VERSION)}, id="another key"),
        pytest.param((_ACCEPT,), {"asked": (_KEY,)}, id="no version"),
        pytest.param((_ACCEPT,), {"asked": (_KEY, b"Sec-WebSocket-Version: 8")}, id="another version"),
        pytest.param((_ACCEPT,), {"method": b"POST"}, id="another method"),
        pytest.param((_ACCEPT,), {"upgrade": b"foo"}, id="another protocol"),
    ],
)
def test_handshake_of_another_kind_agrees_on_nothing(reading: Reading, answered: tuple[bytes, ...], others: dict[str, Any]) -> None:
    """No WebSocket of RFC 6455: what follows are bytes, whatever Upgrade says."""
    assert _agreed(reading, *answered, **others) is None


@pytest.mark.parametrize("upgrade", [b"WebSocket", b"WEBSOCKET"])
def test_websocket_is_one_however_it_is_written(reading: Reading, upgrade: bytes) -> None:
    """Names of protocols are compared without case."""
    assert _agreed(reading, _ACCEPT, upgrade=upgrade) == b""


def test_key_that_is_no_text_is_answered_by_its_bytes(reading: Reading) -> None:
    """A target takes what came; so does whoever looks at its answer."""
    key = b"\xff\xfe key"
    accept = b64encode(sha1(key + _GUID).digest())
    assert _agreed(reading, b"Sec-WebSocket-Accept: " + accept, asked=(b"Sec-WebSocket-Key: " + key, _VERSION)) == b""


@pytest.mark.parametrize(
    ("key", "accept"),
    [
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        (b"AQIDBAUGBwgJCgsMDQ4PEA==", b64encode(sha1(b"AQIDBAUGBwgJCgsMDQ4PEA==" + _GUID).digest())),
        (b"", _OF_NO_KEY),
        (b"\xff\xfe key", b64encode(sha1(b"\xff\xfe key" + _GUID).digest())),
    ],
    ids=["that of RFC 6455", "another", "none", "no text"],
)
def test_accept_answers_a_key(key: bytes, accept: bytes) -> None:
    """The SHA-1 of the key and the GUID of RFC 6455 (section 4.2.2), in base64; the first one is the example of section 1.3."""
    assert websocket_accept(key) == accept


def _lines(reading: Reading, *answered: bytes) -> tuple[ResponseHead, list[bytes]]:
    """A 101 with these lines, and what a client over HTTP/2 gets of it."""
    request: RequestHead = reading.request(get(_KEY, _VERSION))
    response = ResponseHead()
    response.lines = [b"HTTP/1.1 101 Switching Protocols", *answered]
    return response, websocket_lines(request, response)


def test_lines_for_http2_have_no_accept_and_no_framing(reading: Reading) -> None:
    """The rest stays in its order, and the response of the target is not changed."""
    response, lines = _lines(reading, b"a: b", _ACCEPT, b"Content-Length: 0", b"Sec-WebSocket-Protocol: chat", b"transfer-encoding: x")
    assert lines == [b"HTTP/1.1 101 Switching Protocols", b"a: b", b"Sec-WebSocket-Protocol: chat"]
    assert len(response.lines) == 6


@pytest.mark.parametrize("answered", [(), (_ACCEPT, _ACCEPT), (b"Sec-WebSocket-Accept: " + _OF_NO_KEY,)], ids=["none", "two", "another"])
def test_lines_for_http2_need_the_right_accept(reading: Reading, answered: tuple[bytes, ...]) -> None:
    """The client cannot check it."""
    with pytest.raises(Failure) as caught:
        _lines(reading, *answered)
    assert caught.value.kind is FailureKind.RESPONSE_MALFORMED
