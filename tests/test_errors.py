from __future__ import annotations

import pickle

import pytest

from albkit.errors import ConfigurationError, Failure, FailureKind, Phase, Retry, Side

_EXPECTED = {
    # docs/alb.md 7.2 for the client certificates: what comes before the first request ends without a word
    "PROXY_HEADER_MISSING": ("entry", "client", None, "never"),
    "PROXY_HEADER_MALFORMED": ("entry", "client", None, "never"),
    "PROXY_HEADER_UNTRUSTED": ("entry", "client", None, "never"),
    "PROXY_HEADER_TIMEOUT": ("entry", "client", None, "never"),
    "TLS_HANDSHAKE_FAILED": ("entry", "client", None, "never"),
    "TLS_HANDSHAKE_TIMEOUT": ("entry", "client", None, "never"),
    "PLAIN_HTTP_ON_TLS_PORT": ("entry", "client", 400, "never"),
    "TOO_MANY_CONNECTIONS": ("entry", "client", None, "never"),
    "TOO_MANY_CONNECTIONS_OF_CLIENT": ("entry", "client", None, "never"),
    "CLIENT_CERT_MAX_CHAIN_DEPTH_EXCEEDED": ("entry", "client", None, "never"),
    "CLIENT_CERT_MAX_SIZE_EXCEEDED": ("entry", "client", None, "never"),
    "CLIENT_CERT_CRL_HIT": ("entry", "client", None, "never"),
    "CLIENT_CERT_CRL_PROCESSING_ERROR": ("entry", "client", None, "never"),
    "CLIENT_CERT_UNTRUSTED": ("entry", "client", None, "never"),
    "CLIENT_CERT_NOT_YET_VALID": ("entry", "client", None, "never"),
    "CLIENT_CERT_EXPIRED": ("entry", "client", None, "never"),
    "CLIENT_CERT_TYPE_UNSUPPORTED": ("entry", "client", None, "never"),
    "CLIENT_CERT_INVALID": ("entry", "client", None, "never"),
    "CLIENT_CERT_PURPOSE_INVALID": ("entry", "client", None, "never"),
    "CLIENT_CERT_REJECTED": ("entry", "client", None, "never"),
    "CLIENT_CERT_INCOMPATIBLE": ("entry", "client", None, "never"),
    "UNMAPPED_CONNECTION_ERROR": ("entry", "client", None, "never"),
    # docs/alb.md 2.3, 2.4 and 6
    "REQUEST_MALFORMED": ("request head", "client", 400, "never"),
    "REQUEST_BARE_LF": ("request head", "client", 400, "never"),
    "REQUEST_EXPECTATION_UNKNOWN": ("request head", "client", 417, "never"),
    "REQUEST_AMBIGUOUS": ("request head", "client", 400, "never"),
    "REQUEST_HEAD_TOO_LARGE": ("request head", "client", 400, "never"),
    "REQUEST_TARGET_TOO_LONG": ("request head", "client", 414, "never"),
    "REQUEST_HOST_INVALID": ("request head", "client", 400, "never"),
    "REQUEST_VERSION_UNSUPPORTED": ("request head", "client", 505, "never"),
    "REQUEST_METHOD_REFUSED": ("request head", "client", 405, "never"),
    "REQUEST_TRANSFER_CODING_UNSUPPORTED": ("request head", "client", 501, "never"),
    "REQUEST_FORWARDED_FOR_TOO_LONG": ("request head", "client", 463, "never"),
    "REQUEST_HEAD_TIMEOUT": ("request head", "client", 408, "never"),
    "REQUEST_HEAD_TRUNCATED": ("request head", "client", None, "never"),
    "REQUEST_BODY_MALFORMED": ("request body", "client", 400, "never"),
    "REQUEST_BODY_TIMEOUT": ("request body", "client", 408, "never"),
    "REQUEST_BODY_TRUNCATED": ("request body", "client", 400, "never"),
    "CLIENT_CLOSED": ("response head", "client", 460, "never"),
    "CLIENT_CLOSED_IN_RESPONSE": ("response body", "client", None, "never"),
    "CLIENT_STALLED": ("response body", "client", None, "never"),
    "PROXY_HEADER_UNEXPECTED": ("request head", "client", 400, "never"),
    "TLS_ON_PLAIN_PORT": ("request head", "client", 400, "never"),
    "REQUEST_BODY_TOO_SLOW": ("request body", "client", 408, "never"),
    # docs/alb.md 2.2 and 2.8
    "PROTOCOL_VERSION_MISMATCH": ("route", "client", 464, "never"),
    "HTTP2_PROTOCOL_ERROR": ("request head", "client", None, "never"),
    "HTTP2_FLOOD": ("request head", "client", None, "never"),
    "HTTP2_HEADER_TOO_LARGE": ("request head", "client", None, "never"),
    "HTTP2_TOO_MANY_BYTES_BUFFERED": ("response body", "client", None, "never"),
    # docs/alb.md 6; what outlives the stop timeout is cut
    "NO_TARGETS": ("route", "load balancer", 503, "never"),
    "WAITING_LINE_FULL": ("route", "load balancer", 503, "never"),
    "WAITED_TOO_LONG": ("route", "load balancer", 503, "never"),
    "NO_ROOM_FOR_TUNNEL": ("route", "load balancer", 503, "never"),
    "INTERNAL_ERROR": ("route", "load balancer", 500, "never"),
    "TRANSFORM_FAILED": ("route", "load balancer", 500, "never"),
    "HOOK_FAILED": ("route", "load balancer", 500, "never"),
    "HOOK_TIMEOUT": ("route", "load balancer", 500, "never"),
    "REDIRECT_TOO_LONG": ("route", "load balancer", 507, "never"),
    "DEREGISTRATION_DELAY_OVER": ("response head", "load balancer", 502, "never"),
    "UPGRADE_WHILE_DRAINING": ("response head", "load balancer", 503, "never"),
    "STOPPED": ("response head", "load balancer", None, "never"),
    "STOPPED_IN_RESPONSE": ("response body", "load balancer", None, "never"),
    "OUT_OF_SOCKETS": ("connect", "load balancer", 503, "never"),
    # docs/alb.md 2.8 and 2.9
    "TARGET_CONNECTION_REFUSED": ("connect", "target", 502, "always"),
    "TARGET_UNREACHABLE": ("connect", "target", 502, "always"),
    "TARGET_CONNECT_TIMEOUT": ("connect", "target", 504, "always"),
    "TARGET_TLS_FAILED": ("connect", "target", 502, "always"),
    "TARGET_TLS_TIMEOUT": ("connect", "target", 504, "always"),
    "TARGET_CLOSED": ("response head", "target", 502, "if idempotent"),
    "TARGET_RESET": ("response head", "target", 502, "if idempotent"),
    "TARGET_TIMEOUT": ("response head", "target", 504, "never"),
    "RESPONSE_HEAD_TRUNCATED": ("response head", "target", 502, "never"),
    "RESPONSE_HEAD_TOO_LARGE": ("response head", "target", 502, "never"),
    "RESPONSE_NOT_HTTP": ("response head", "target", 502, "never"),
    "RESPONSE_BARE_LF": ("response head", "target", 502, "never"),
    "RESPONSE_MALFORMED": ("response head", "target", 502, "never"),
    "RESPONSE_UPGRADE_UNASKED": ("response head", "target", 502, "never"),
    # docs/tunnels.md: a body is sent before the answer to its upgrade is awaited
    "RESPONSE_UPGRADE_TOO_EARLY": ("response head", "target", 502, "never"),
    "RESPONSE_BODY_MALFORMED": ("response body", "target", None, "never"),
    "RESPONSE_BODY_TRUNCATED": ("response body", "target", None, "never"),
    "RESPONSE_BODY_TIMEOUT": ("response body", "target", None, "never"),
    # RFC 9113 8.7, RFC 8441
    "TARGET_REFUSED_STREAM": ("response head", "target", 502, "always"),
    "TARGET_RESET_STREAM": ("response head", "target", 502, "if idempotent"),
    "TARGET_PROTOCOL_ERROR": ("response head", "target", 502, "if idempotent"),
    "TARGET_WITHOUT_WEBSOCKETS": ("response head", "target", 502, "never"),
    "RESPONSE_NOT_HTTP2": ("connect", "target", 502, "always"),
    "RESPONSE_NOT_SWITCHED": ("response head", "target", 502, "never"),
    "TUNNEL_IDLE": ("tunnel", "load balancer", None, "never"),
    "TUNNEL_RESET_BY_CLIENT": ("tunnel", "client", None, "never"),
    "TUNNEL_RESET_BY_TARGET": ("tunnel", "target", None, "never"),
    # docs/tunnels.md: what a tunnel policy may end
    "TUNNEL_CLIENT_DEAD": ("tunnel", "client", None, "never"),
    "TUNNEL_TARGET_DEAD": ("tunnel", "target", None, "never"),
    "TUNNEL_MESSAGE_OF_CLIENT_TOO_LARGE": ("tunnel", "client", None, "never"),
    "TUNNEL_MESSAGE_OF_TARGET_TOO_LARGE": ("tunnel", "target", None, "never"),
    "TUNNEL_CLIENT_SENDS_NO_FRAMES": ("tunnel", "client", None, "never"),
    "TUNNEL_TARGET_SENDS_NO_FRAMES": ("tunnel", "target", None, "never"),
    "TUNNEL_NOT_ALLOWED_ANY_MORE": ("tunnel", "client", None, "never"),
    "TUNNEL_RECHECK_FAILED": ("tunnel", "load balancer", None, "never"),
}


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
def test_failure_kind_says_phase_side_status_and_retry_verdict(kind: FailureKind) -> None:
    """Each kind has its row in the table above, which follows the reference."""
    assert (str(kind.phase), str(kind.side), kind.status, str(kind.retry)) == _EXPECTED[kind.name]


def test_failure_kinds_are_all_distinct() -> None:
    """No kind is another one's alias, and each has a reason and a sentence of its own."""
    assert set(FailureKind.__members__) == set(_EXPECTED)
    assert len(list(FailureKind)) == len(FailureKind.__members__)
    assert len({kind.reason for kind in FailureKind}) == len(_EXPECTED)
    assert len({kind.sentence for kind in FailureKind}) == len(_EXPECTED)


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
def test_failure_kind_that_may_be_repeated_has_not_begun_to_answer(kind: FailureKind) -> None:
    """Only a target's failure before the first byte of a response is ever tried again (docs/alb.md 2.8)."""
    if kind.retry is not Retry.NEVER:
        assert kind.side is Side.TARGET
        unsent = kind.retry is Retry.ALWAYS and kind is not FailureKind.TARGET_REFUSED_STREAM
        assert kind.phase is (Phase.CONNECT if unsent else Phase.RESPONSE_HEAD)


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
def test_failure_counts_against_the_target_that_caused_it(kind: FailureKind) -> None:
    """A refused stream is the RFC's way to end a connection in good order, and a client can ask any target for a WebSocket."""
    blameless = {"TARGET_REFUSED_STREAM", "TARGET_WITHOUT_WEBSOCKETS", "RESPONSE_NOT_SWITCHED"}
    failure = Failure(kind)
    assert failure.blames_target is (kind.side is Side.TARGET and kind.name not in blameless)
    failure.is_stale = True
    assert not failure.blames_target


@pytest.mark.parametrize("kind", FailureKind, ids=lambda kind: kind.name)
def test_failure_kind_behind_the_response_head_tells_the_client_nothing(kind: FailureKind) -> None:
    """Where a response has begun no status can be sent any more."""
    if kind.phase in (Phase.RESPONSE_BODY, Phase.TUNNEL):
        assert kind.status is None


def test_failure_prints_reason_sentence_and_detail() -> None:
    """A log reader sees what it is, in words, and what is known of this case."""
    assert str(Failure(FailureKind.NO_TARGETS, "api")) == "NoTargets: the target group has no targets (api)"
    assert str(Failure(FailureKind.NO_TARGETS)) == "NoTargets: the target group has no targets"


def test_configuration_error_is_a_value_error_with_every_fault() -> None:
    """Callers may catch ValueError; `faults` holds each fault, and the text all of them."""
    error = ConfigurationError("Listener", iter(["port: wrong", "name: wrong too"]))
    assert isinstance(error, ValueError)
    assert error.subject == "Listener"
    assert error.faults == ("port: wrong", "name: wrong too")
    assert str(error) == "Listener: port: wrong; name: wrong too"


def test_errors_survive_pickling() -> None:
    """An error that crosses a process boundary says the same on the other side."""
    error = pickle.loads(pickle.dumps(ConfigurationError("Rule", ["priority: wrong"])))
    assert (error.subject, error.faults) == ("Rule", ("priority: wrong",))
    failure = pickle.loads(pickle.dumps(Failure(FailureKind.TARGET_TIMEOUT, "10.0.0.1:80")))
    assert (failure.kind, failure.detail) == (FailureKind.TARGET_TIMEOUT, "10.0.0.1:80")
