"""Answers that the load balancer gives itself."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind
from albkit.model.actions.action import Answer
from albkit.model.extensions import Response
from albkit.model.message import RequestHead, ResponseHead
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.downstream import DownstreamExchange
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.responses import WITHOUT_BODY, error_page, own_answer, program_answer

__all__ = ("answer_failure", "answer_itself", "answer_with")

_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def answer_itself(
    client: DownstreamExchange, request: RequestHead, answer: Answer, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Send the reply of the rule's action (docs/alb.md 4.2, 4.3).

    Raises:
        Failure: the action has no reply for this request.
    """
    reply = answer(request, listener.public_origin)
    status = reply.status
    record.action = reply.action
    record.redirect_url = reply.location
    if reply.counter:
        listener.runtime.counters.local_reply_sent(reply.counter)
    body = error_page(status) if reply.body is None else b"" if status in WITHOUT_BODY else reply.body
    further = (b"Location: " + reply.location,) if reply.location else ()
    head = own_answer(status, body, reply.content_type, int(listener.runtime.clock.time()), further)
    _send(client, request, head, body, record, listener)


def answer_with(
    client: DownstreamExchange, request: RequestHead, answer: Response, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Answer with what an action of the program's own has returned."""
    record.action = "hook"
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
