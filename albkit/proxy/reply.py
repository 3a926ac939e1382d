"""Answers that the load balancer gives itself."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind
from albkit.model.actions import FixedResponse
from albkit.model.message import RequestHead
from albkit.model.record import ExchangeRecord
from albkit.proxy.client import Client
from albkit.proxy.gateway import Gateway
from albkit.wire.reply import error_page, own_answer

__all__ = ("answer_failure", "answer_fixed")

_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def answer_fixed(client: Client, request: RequestHead, action: FixedResponse, record: ExchangeRecord, gateway: Gateway) -> None:
    """Answer with what the rule says (alb-reference 4.3)."""
    gateway.counters.fixed_responses += 1
    client.whole_body()
    content_type = f"{action.content_type}; charset=utf-8"
    _answer(client, request, action.status_code, action.body.encode(), content_type, record, gateway)


def answer_failure(client: Client, request: RequestHead | None, failure: Failure, record: ExchangeRecord, gateway: Gateway) -> bool:
    """Tell the client how the exchange failed, where it still can be told.

    Returns:
        Whether the response was given and the connection may go on or end in good order; where not, it must be cut.
    """
    record.failure = failure
    status = failure.kind.status
    if status is None:
        return False
    record.elb_status_code = status
    if client.response_started or status == 460:
        return False
    further = (_ALLOW,) if failure.kind is FailureKind.REQUEST_METHOD_REFUSED else ()
    _answer(client, request, status, error_page(status), "text/html", record, gateway, further)
    return True


def _answer(
    client: Client,
    request: RequestHead | None,
    status: int,
    body: bytes,
    content_type: str,
    record: ExchangeRecord,
    gateway: Gateway,
    further: tuple[bytes, ...] = (),
) -> None:
    record.elb_status_code = status
    lines = own_answer(status, body, content_type, int(gateway.clock.time()), further)
    client.start_response(lines, 0 if status == 204 else len(body), b"")
    bodiless = not body or status == 204 or (request is not None and request.method == "HEAD")
    client.write_body([] if bodiless else [body], True, [])
