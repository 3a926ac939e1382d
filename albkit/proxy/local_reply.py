"""Responses that the load balancer sends itself (Envoy's term: local reply): fixed responses, redirects, hooks' responses, error pages."""

from __future__ import annotations

from albkit.errors import Failure, FailureKind
from albkit.model.actions.action import Answer
from albkit.model.extensions import Response
from albkit.model.message import RequestHead, ResponseHead
from albkit.policy.protocol_versions import is_grpc_request
from albkit.proxy.accept.listener_runtime import ListenerRuntime
from albkit.proxy.downstream import DownstreamExchange
from albkit.state.record import ExchangeRecord
from albkit.wire.http1.responses import WITHOUT_BODY, error_page, grpc_response, hook_response, local_response

__all__ = ("reply_with_action", "reply_with_error", "reply_with_response")

_ALLOW = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


def reply_with_action(
    client: DownstreamExchange, request: RequestHead, answer: Answer, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Send the response of a rule's routing action (docs/alb.md 4.2, 4.3).

    Args:
        client: Receives the response.
        request: The request.
        answer: Makes the reply of the action for a request.
        record: Gets the action, the status and the URL of a redirect.
        listener: The listener of the client.

    Raises:
        Failure: the action has no reply for this request. 507, if the `Location` of a redirect would exceed 8 KiB.
    """
    reply = answer(request, listener.public_origin)
    status = reply.status
    record.action = reply.action
    record.redirect_url = reply.location
    if reply.counter:
        listener.runtime.counters.local_reply_sent(reply.counter)
    body = error_page(status) if reply.body is None else b"" if status in WITHOUT_BODY else reply.body
    extra_lines = (b"Location: " + reply.location,) if reply.location else ()
    head = local_response(status, body, reply.content_type, int(listener.runtime.clock.time()), extra_lines)
    _send(client, request, head, body, record, listener)


def reply_with_response(
    client: DownstreamExchange, request: RequestHead, answer: Response, record: ExchangeRecord, listener: ListenerRuntime
) -> None:
    """Send the response that a hook returned."""
    record.action = "hook"
    head = hook_response(answer, int(listener.runtime.clock.time()))
    body = b"" if answer.status in WITHOUT_BODY else answer.body
    _send(client, request, head, body, record, listener)


def reply_with_error(
    client: DownstreamExchange, request: RequestHead | None, failure: Failure, record: ExchangeRecord, listener: ListenerRuntime
) -> bool:
    """Send the error page of a failure, or the `grpc-status` for a gRPC client, if the client can still receive it.

    Returns:
        Whether it was sent. If so, the exchange ends like any other. If not, the caller must cut the connection.
    """
    record.failure = failure
    status = failure.kind.status
    if status is None or client.response_started:
        # If a response has been started, the record keeps its status: that is what the client received.
        return False
    record.elb_status_code = status
    # 460 is for the log only: the client has disconnected.
    if status == 460:
        return False
    if client.protocol == "HTTP/2" and request is not None and _expects_grpc(request, failure):
        _send(client, request, grpc_response(status, int(listener.runtime.clock.time())), b"", record, listener)
        # The 200 is only the envelope of a gRPC response. Logs and HTTPCode_ELB_* count what happened.
        record.elb_status_code = status
        return True
    # A 405 must have this field (RFC 9110 section 15.5.6).
    extra_lines = (_ALLOW,) if failure.kind is FailureKind.REQUEST_METHOD_REFUSED else ()
    page = error_page(status)
    head = local_response(status, page, "text/html", int(listener.runtime.clock.time()), extra_lines)
    _send(client, request, head, page, record, listener)
    return True


def _expects_grpc(request: RequestHead, failure: Failure) -> bool:
    """Whether the client is a gRPC client, and has reached something that uses gRPC: 464 means that it has not."""
    return failure.kind is not FailureKind.PROTOCOL_VERSION_MISMATCH and is_grpc_request(request)


def _send(
    client: DownstreamExchange,
    request: RequestHead | None,
    head: ResponseHead,
    body: bytes,
    record: ExchangeRecord,
    listener: ListenerRuntime,
) -> None:
    record.elb_status_code = head.status
    # Consumes a request body that has been received completely. Without that, the connection could not be reused for the next request.
    client.whole_body()
    if listener.response_fields is not None:
        listener.response_fields.apply_to(head.lines)
    client.start_response(head, b"")
    # HEAD gets the same head as GET, with the length of the body it does not get.
    bodiless = not body or (request is not None and request.method == "HEAD")
    client.write_body([] if bodiless else [body], True, [])
