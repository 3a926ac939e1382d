"""What the kinds of stickiness that set cookies share."""

from __future__ import annotations

from collections.abc import Callable

from albkit.clock import http_date
from albkit.model.message import RequestHead
from albkit.policy.client_cookie import LIFETIME
from albkit.state.target import TargetState
from albkit.state.target_group import TargetGroupState

__all__ = ("key_of", "keys_of", "marked_secure", "plain_and_cors")


def key_of(group: TargetGroupState, member: TargetState) -> str:
    """Return the text that identifies a member among all members of all groups."""
    return f"{group.group.name}\0{member.address}"


def keys_of(group: TargetGroupState) -> dict[TargetState, str]:
    """Return the keys of all members of a group."""
    return {member: key_of(group, member) for member in group.members.values()}


def plain_and_cors(plain: bytes, cors: bytes) -> Callable[[bytes, int], bytes]:
    """Return a function that writes a value into two cookies.

    ALB always sets both, whether or not the request is a cross-origin request.
    """

    def write(value: bytes, second: int) -> bytes:
        date = http_date(second + LIFETIME)
        return b"Set-Cookie: %s%s; Expires=%s; Path=/\r\nSet-Cookie: %s%s; Expires=%s; Path=/; SameSite=None" % (
            *(plain, value, date),
            *(cors, value, date),
        )

    return write


def marked_secure(lines: bytes, request: RequestHead) -> bytes:
    """Return the lines of `plain_and_cors` for this client.

    Browsers accept SameSite=None only together with Secure, and Secure only over TLS.
    """
    return lines + b"; Secure" if lines and request.client.is_secure else lines
