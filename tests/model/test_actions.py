from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb

_GROUP = alb.TargetGroup("api", "a:80")


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def test_forward_names_its_group() -> None:
    """A forward is a value that knows where to."""
    forward = alb.Forward(_GROUP)
    assert forward.group is _GROUP
    assert {forward, alb.Forward(alb.TargetGroup("api", "a:80"))} == {forward}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        forward.group = _GROUP  # type: ignore[misc]


@pytest.mark.parametrize("group", ["api", None, [_GROUP]], ids=["name", "None", "list"])
def test_forward_to_anything_but_a_group_is_refused(group: Any) -> None:
    """A name is not a group."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(group)
    assert _paths(raised.value) == ["group"]


@pytest.mark.parametrize("status", [200, 299, 400, 404, 499, 500, 599])
def test_fixed_response_takes_albs_statuses(status: int) -> None:
    """2xx, 4xx and 5xx, at both ends (alb-reference 4.3)."""
    assert alb.FixedResponse(status).status_code == status


@pytest.mark.parametrize("status", [0, 100, 101, 199, 300, 301, 304, 399, 600, 999, -200, "200", 200.0, None, True], ids=repr)
def test_fixed_response_refuses_other_statuses(status: Any) -> None:
    """1xx and 3xx are not for a fixed response, nor is anything that is no status."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.FixedResponse(status)
    assert _paths(raised.value) == ["status_code"]


@pytest.mark.parametrize("body", ["", "x" * 1024, "é" * 512], ids=["empty", "1024 bytes", "1024 bytes of UTF-8"])
def test_fixed_response_takes_up_to_1024_bytes(body: str) -> None:
    """ALB's longest message body (alb-reference 4.3)."""
    assert alb.FixedResponse(200, body).body == body


@pytest.mark.parametrize(
    "body", ["x" * 1025, "é" * 513, b"x", None, 7], ids=["1025 bytes", "1026 bytes of UTF-8", "bytes", "None", "number"]
)
def test_fixed_response_refuses_other_bodies(body: Any) -> None:
    """Longer text, and what is no text."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.FixedResponse(200, body)
    assert _paths(raised.value) == ["body"]


def test_fixed_response_body_that_is_no_unicode_text_is_refused() -> None:
    """A lone surrogate has no UTF-8 form: sent as `charset=utf-8` it would be malformed."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.FixedResponse(200, "\ud800")
    assert _paths(raised.value) == ["body"]


@pytest.mark.parametrize("status", [204, 205])
def test_fixed_response_that_can_have_no_body_takes_none(status: int) -> None:
    """RFC 9110 sections 15.3.5 and 15.3.6: no content in a 204 or 205."""
    assert alb.FixedResponse(status).body == ""
    with pytest.raises(alb.ConfigurationError):
        alb.FixedResponse(status, "x")


@pytest.mark.parametrize("content_type", ["text/plain", "text/css", "text/html", "application/javascript", "application/json"])
def test_fixed_response_takes_albs_content_types(content_type: str) -> None:
    """The five of alb-reference 4.3."""
    assert alb.FixedResponse(200, "x", content_type).content_type == content_type


@pytest.mark.parametrize("content_type", ["text/xml", "TEXT/PLAIN", "text/plain\r\nX: y", "text/plain; charset=utf-8", None], ids=repr)
def test_fixed_response_refuses_other_content_types(content_type: Any) -> None:
    """Anything else, an injected line among them."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.FixedResponse(200, "x", content_type)
    assert _paths(raised.value) == ["content_type"]


def test_fixed_response_with_every_fault_tells_them_all() -> None:
    """All at once, in the order of the arguments after the table's."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.FixedResponse(301, "x" * 2000, "image/png")
    assert sorted(_paths(raised.value)) == ["body", "content_type", "status_code"]


def test_fixed_response_is_plain_text_and_a_value() -> None:
    """Defaults of alb-reference 4.3; frozen and hashable."""
    answer = alb.FixedResponse(404)
    assert (answer.body, answer.content_type) == ("", "text/plain")
    assert {answer, alb.FixedResponse(404)} == {answer}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        answer.body = "x"  # type: ignore[misc]
