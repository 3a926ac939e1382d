from __future__ import annotations

import pytest

import albkit as alb
from albkit.model.message import RequestHead
from albkit.policy.protocol_versions import COMMON_PROTOCOL, is_grpc_request, is_grpc_type, mismatch


def _request(head: bytes) -> RequestHead:
    request = RequestHead()
    request.method = head.partition(b" ")[0].decode()
    request.head = head
    return request


# docs/alb.md 2.8: protocol, method, gRPC, version, whether it fits.
_TABLE = [
    ("HTTP/1.1", "GET", False, "HTTP1", True),
    ("HTTP/1.1", "POST", True, "HTTP1", True),
    ("HTTP/1.1", "GET", False, "HTTP2", False),
    ("HTTP/1.1", "POST", True, "HTTP2", False),
    ("HTTP/1.1", "POST", False, "GRPC", False),
    ("HTTP/1.1", "POST", True, "GRPC", False),
    ("HTTP/2", "GET", False, "HTTP1", True),
    ("HTTP/2", "POST", False, "HTTP1", True),
    ("HTTP/2", "POST", True, "HTTP1", False),
    ("HTTP/2", "GET", False, "HTTP2", True),
    ("HTTP/2", "POST", True, "HTTP2", True),
    ("HTTP/2", "POST", True, "GRPC", True),
    ("HTTP/2", "POST", False, "GRPC", True),
    ("HTTP/2", "GET", False, "GRPC", False),
    ("HTTP/2", "PUT", True, "GRPC", False),
    # A connection of a TCP or TLS listener.
    ("", "", False, "HTTP1", True),
]


@pytest.mark.parametrize(("protocol", "method", "grpc", "version", "fits"), _TABLE)
def test_request_fits_by_albs_table(protocol: str, method: str, grpc: bool, version: str, fits: bool) -> None:
    """A request that does not fit gets words that name the setting to change."""
    wrong = mismatch(protocol, method, grpc=grpc, version=version)
    assert (not wrong) is fits
    assert fits or f"protocol_version={version!r}" in wrong


@pytest.mark.parametrize("version", ["HTTP1", "HTTP2", "GRPC"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("grpc", [False, True])
def test_common_protocol_of_a_version_fits_whatever_the_request_is(version: str, method: str, grpc: bool) -> None:
    """So that such requests need no further look."""
    assert COMMON_PROTOCOL.keys() == {"HTTP1", "HTTP2", "GRPC"}
    assert alb.TargetGroup("a", protocol_version=version).protocol_version in COMMON_PROTOCOL
    if COMMON_PROTOCOL[version]:
        assert mismatch(COMMON_PROTOCOL[version], method, grpc=grpc, version=version) == ""


_TYPES = [
    ("application/grpc", True),
    ("application/grpc+proto", True),
    ("application/grpc;charset=utf-8", True),
    ("application/grpc ; x=y", True),
    ("application/grpc  ", True),
    ("Application/gRPC+json", True),
    ("application/grpc-web", False),
    ("application/grpc-web+proto", False),
    ("application/grpcx", False),
    ("application/grp", False),
    ("xapplication/grpc", False),
    ("text/plain; application/grpc", False),
    ("", False),
]


@pytest.mark.parametrize(("content_type", "grpc"), _TYPES, ids=map(str, range(len(_TYPES))))
def test_type_of_grpc_ends_or_goes_on_with_a_plus_or_semicolon(content_type: str, grpc: bool) -> None:
    """The value of a field and the bytes of a head are judged alike."""
    assert is_grpc_type(content_type) is grpc
    for blank in (" ", "", "\t"):
        head = f"POST /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type:{blank}{content_type}\r\nte: trailers\r\n\r\n"
        assert is_grpc_request(_request(head.encode())) is grpc


@pytest.mark.parametrize(
    "head",
    [
        b"POST /content-type:application/grpc HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nx-content-type: application/grpc\r\n\r\n",
        b"POST / HTTP/1.1\r\nx: content-type: application/grpc\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
)
def test_words_of_grpc_elsewhere_in_a_head_do_not_count(head: bytes) -> None:
    """Only the field itself."""
    assert not is_grpc_request(_request(head))


def test_grpc_request_is_a_post() -> None:
    """gRPC has no other method."""
    assert not is_grpc_request(_request(b"PUT / HTTP/1.1\r\ncontent-type: application/grpc\r\n\r\n"))
