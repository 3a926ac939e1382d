"""What a rule does with a request (alb-reference 4)."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.target_group import TargetGroup
from albkit.model.validation import Faults

__all__ = ("ACTIONS", "Action", "FixedResponse", "Forward")

_BODY_BYTES = 1024


@attrs.frozen
class Forward:
    """Sends the request to a target of a group.

    Args:
        group: The target group.

    Raises:
        ConfigurationError: the group is not a `TargetGroup`.
    """

    group: TargetGroup

    def __attrs_post_init__(self) -> None:
        faults = Faults("Forward")
        if not isinstance(self.group, TargetGroup):
            faults.add("group", f"{self.group!r} is not a TargetGroup")
        faults.raise_if_any()


@attrs.frozen
class FixedResponse:
    """Answers the request with a status and a short text, without a target (alb-reference 4.3).

    Args:
        status_code: 2xx, 4xx or 5xx.
        body: At most 1024 bytes in UTF-8; sent with `charset=utf-8`. Not sent in answer to HEAD.
        content_type: `text/plain` (default), `text/css`, `text/html`, `application/javascript` or `application/json`.

    Raises:
        ConfigurationError: the status is of another class, the body too long, or the type another one.
    """

    status_code: int
    body: str = ""
    content_type: str = cast("str", default("FixedResponse", "content_type"))

    def __attrs_post_init__(self) -> None:
        faults = Faults("FixedResponse")
        faults.attribute(self, "status_code", "content_type")
        if isinstance(self.status_code, int) and 300 <= self.status_code <= 399:
            faults.add("status_code", f"{self.status_code} is a redirect; a fixed response is 2xx, 4xx or 5xx")
        if not isinstance(self.body, str):
            faults.add("body", f"{self.body!r} is not text")
        elif not _is_text(self.body):
            faults.add("body", "holds lone surrogates, which no UTF-8 text can")
        elif len(self.body.encode()) > _BODY_BYTES:
            faults.add("body", f"longer than {_BODY_BYTES} bytes in UTF-8")
        elif self.body and self.status_code in (204, 205):
            faults.add("body", f"a {self.status_code} has no body (RFC 9110 section 15.3)")
        faults.raise_if_any()


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Action = Forward | FixedResponse
ACTIONS = (Forward, FixedResponse)
