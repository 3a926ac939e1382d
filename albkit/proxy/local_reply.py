"""Answers that the load balancer gives itself."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind
from albkit.model.actions import FixedResponse, Redirect
from albkit.model.extensions import Response
from albkit.model.message import RequestHead, ResponseHead
from albkit.policy.redirect import LONGEST_LOCATION, location
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.downstream import DownstreamExchange
from albkit.state.record import ActionTaken, ExchangeRecord
from albkit.wire.http1.responses import WITHOUT_BODY, error_page, own_answer, program_answer

__all__ = ("answer_failure", "answer_itself", "answer_with")

_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def answer_itself(
    client: DownstreamExchange, request: RequestHead, action: FixedResponse | Redirect, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Answer with what the rule says (docs/alb.md 4.2, 4.3).

    Raises:
        Failure: 507, a redirect's Location is too long.
    """
    second = int(listener.runtime.clock.time())
    if isinstance(action, FixedResponse):
        record.action = ActionTaken.FIXED_RESPONSE
        listener.runtime.counters.fixed_response_sent()
        body = b"" if action.status_code in WITHOUT_BODY else action.body.encode()
        head = own_answer(action.status_code, body, f"{action.content_type}; charset=utf-8", second)
        _send(client, request, head, body, record, listener)
        return
    to = location(action, request, *listener.public_origin(request.client)).encode("utf-8", "surrogateescape")
    if len(to) > LONGEST_LOCATION:
        listener.runtime.counters.redirect_was_too_long()
        raise Failure(FailureKind.REDIRECT_TOO_LONG, f"{len(to)} bytes")
    record.action = ActionTaken.REDIRECT
    record.redirect_url = to
    listener.runtime.counters.redirected()
    page = error_page(action.status_code)
    head = own_answer(action.status_code, page, "text/html", second, (b"Location: " + to,))
    _send(client, request, head, page, record, listener)


def answer_with(
    client: DownstreamExchange, request: RequestHead, answer: Response, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Answer with what an action of the program's own has returned."""
    record.action = ActionTaken.HOOK
    head = program_answer(answer, int(listener.runtime.clock.time()))
    body = b"" if answer.status in WITHOUT_BODY else answer.body
    _send(client, request, head, body, record, listener)


def answer_failure(
    client: DownstreamExchange, request: RequestHead | None, failure: Failure, record: ExchangeRecord, listener: ListenerRuntime
) -> bool:
    """Tell the client how the exchange failed, where it still can be told.

    Returns:
        Whether the response was given and the connection may go on or end in good order; where not, it must be cut.
    """
    record.failure = failure
    status = failure.kind.status
    if status is None or client.response_started:
        return False  # The status that was sent, if one was, stays the one of the record.
    record.elb_status_code = status
    if status == 460:
        return False
    further = (_ALLOW,) if failure.kind is FailureKind.REQUEST_METHOD_REFUSED else ()
    page = error_page(status)
    head = own_answer(status, page, "text/html", int(listener.runtime.clock.time()), further)
    _send(client, request, head, page, record, listener)
    return True


def _send(
    client: DownstreamExchange,
    request: RequestHead | None,
    head: ResponseHead,
    body: bytes,
    record: ExchangeRecord,
    listener: ListenerRuntime,
) -> None:
    record.elb_status_code = head.status
    client.whole_body()  # What has come of the request's body is taken, so that the connection can go on.
    if listener.response_fields is not None:
        listener.response_fields.put_on(head.lines)
    client.start_response(head, b"")
    bodiless = not body or (request is not None and request.method == "HEAD")
    client.write_body([] if bodiless else [body], True, [])
