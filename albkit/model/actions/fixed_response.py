"""The action `FixedResponse`."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.actions.action import Answer, AnsweringAction, LocalReply
from albkit.model.attributes import default
from albkit.model.validation import Faults

__all__ = ("FixedResponse",)

_MAX_BODY = 1024


@attrs.frozen
class FixedResponse(AnsweringAction):
    """Answers the request with a status and a short text, without a target (docs/alb.md 4.3).

    Example:
        alb.FixedResponse(404, "no such page")

    Args:
        status_code: 2xx, 4xx or 5xx.
        body: At most 1024 characters, sent in UTF-8 with `charset=utf-8`. It is not sent in answer to HEAD, nor with the statuses 204 and
            205, which have no body.
        content_type: `text/plain`, `text/css`, `text/html`, `application/javascript` or `application/json`.

    Raises:
        ConfigurationError: the status is of another class, the body is too long, or the content type is another one.
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
        elif not _is_encodable(self.body):
            faults.add("body", "contains lone surrogates, which UTF-8 cannot encode")
        elif len(self.body) > _MAX_BODY:
            faults.add("body", f"{len(self.body)} characters are too many; at most {_MAX_BODY} are allowed")
        faults.raise_if_any()

    def describe(self) -> str:
        """Return the action in words."""
        return f"answer {self.status_code} ({self.content_type})"

    def compile(self) -> Answer:
        """Return a function that answers a request."""
        reply = LocalReply(self.status_code, self.body.encode(), f"{self.content_type}; charset=utf-8", "fixed-response", "fixed_responses")
        return lambda _request, _origin: reply


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
