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
    assert forward.groups == ((_GROUP, 1),)
    assert {forward, alb.Forward(alb.TargetGroup("api", "a:80"))} == {forward}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        forward.groups = ()  # type: ignore[misc]


@pytest.mark.parametrize("group", ["api", None, [_GROUP]], ids=["name", "None", "list"])
def test_forward_to_anything_but_a_group_is_refused(group: Any) -> None:
    """A name is not a group."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(group)
    assert _paths(raised.value) == ["groups[0]"]


def _groups(count: int, stickiness: alb.LbCookie | None = None) -> dict[alb.TargetGroup, int]:
    return {alb.TargetGroup(f"g{number}", stickiness=stickiness if not number else None): 1 for number in range(count)}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_forward_takes_one_to_five_groups(count: int) -> None:
    """Up to five groups with their weights, in their order (docs/alb.md 4.1)."""
    groups = _groups(count)
    forward = alb.Forward(groups)
    assert forward.groups == tuple(groups.items())
    assert forward.group is next(iter(groups))
    assert {forward, alb.Forward(groups)} == {forward}


@pytest.mark.parametrize("count", [0, 6])
def test_forward_to_no_group_or_too_many_is_refused(count: int) -> None:
    """One to five (docs/alb.md 4.1)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(_groups(count))
    assert _paths(raised.value) == ["groups"]


@pytest.mark.parametrize("weight", [0, 1, 999])
def test_forward_takes_albs_weights(weight: int) -> None:
    """0 to 999, at both ends (docs/alb.md 4.1)."""
    assert alb.Forward({_GROUP: weight}).groups == ((_GROUP, weight),)


@pytest.mark.parametrize("weight", [-1, 1000, 1.5, 1.0, "1", None, True, float("nan")], ids=repr)
def test_forward_refuses_other_weights(weight: Any) -> None:
    """The fault names the group's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward({alb.TargetGroup("first"): 1, _GROUP: weight})
    assert _paths(raised.value) == ["groups[1]"]


@pytest.mark.parametrize("seconds", [1, 604800, 1.5, None])
def test_forward_takes_albs_stickiness(seconds: float | None) -> None:
    """A second to a week, or none (docs/alb.md 4.1)."""
    assert alb.Forward(_groups(2), seconds).stickiness == seconds


@pytest.mark.parametrize(
    "seconds", [0, 0.5, 604801, -1, "60", True, float("nan"), alb.SourceAddress(), alb.LbCookie(while_draining="honor")], ids=repr
)
def test_forward_refuses_other_stickiness(seconds: Any) -> None:
    """The fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(_groups(2), stickiness=seconds)
    assert _paths(raised.value) == ["stickiness"]


def test_forward_to_several_groups_of_which_one_is_sticky_needs_stickiness() -> None:
    """Several groups, and any has target stickiness: group stickiness must be on (docs/alb.md 4.1); with one group it need not."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(_groups(2, alb.LbCookie()))
    assert _paths(raised.value) == ["stickiness"]
    assert alb.Forward(_groups(2, alb.LbCookie()), 60).stickiness == 60
    assert alb.Forward(_groups(1, alb.LbCookie())).stickiness is None


@pytest.mark.parametrize("on_failure", ["", "retry", None, True], ids=repr)
def test_forward_refuses_other_words_for_on_failure(on_failure: Any) -> None:
    """`"rebalance"` or `"fail"`."""
    assert alb.Forward(_GROUP).on_failure == "rebalance"
    assert alb.Forward(_GROUP, on_failure="fail").on_failure == "fail"
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(_GROUP, on_failure=on_failure)
    assert _paths(raised.value) == ["on_failure"]


def test_forward_has_a_tunnel_policy_only_where_it_is_given_one() -> None:
    """Without one its groups' policies hold; one makes it another action."""
    policy = alb.TunnelPolicy(max_age=60)
    forward = alb.Forward(_GROUP, tunnel=policy)
    assert forward.tunnel is policy
    assert alb.Forward(_GROUP).tunnel is None
    assert {forward, alb.Forward(_GROUP, tunnel=alb.TunnelPolicy(max_age=60))} == {forward}
    assert forward != alb.Forward(_GROUP)


@pytest.mark.parametrize("tunnel", [60, False, {"max_age": 60}, alb.TunnelPolicy, "chat"], ids=repr)
def test_forward_refuses_a_tunnel_policy_that_is_none(tunnel: Any) -> None:
    """`TunnelPolicy(...)` or `None`; the fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward(_GROUP, tunnel=tunnel)
    assert _paths(raised.value) == ["tunnel"]


def test_forward_with_every_fault_tells_them_all() -> None:
    """All at once: of each group, of its weight, and of the settings."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Forward({"api": 1000, _GROUP: -1}, 0, on_failure="x", tunnel=60)  # type: ignore[arg-type]
    assert raised.value.subject == "Forward"
    assert sorted(_paths(raised.value)) == ["groups[0]", "groups[0]", "groups[1]", "on_failure", "stickiness", "tunnel"]


@pytest.mark.parametrize(
    "parts",
    [
        {"protocol": "HTTPS"},
        {"protocol": "HTTP", "host": "a"},
        {"host": "a"},
        {"host": "www.#{host}"},
        {"host": "x" * 128},
        {"host": "[::1]"},
        {"port": 1},
        {"port": "65535"},
        {"path": "/"},
        {"path": "/" + "x" * 127},
        {"path": "/#{host}/#{port}/#{path}"},
        {"path": "/a", "query": ""},
        {"path": "/a", "query": "x" * 128},
        {"path": "/a", "query": "#{protocol}#{host}#{port}#{path}#{query}"},
        {"path": "/a", "status_code": 301},
    ],
    ids=str,
)
def test_redirect_takes_albs_parts(parts: dict[str, Any]) -> None:
    """Every part in its range, with the placeholders that may stand there (docs/alb.md 4.2)."""
    redirect = alb.Redirect(**parts)
    assert {redirect, alb.Redirect(**parts)} == {redirect}
    defaults = {
        "protocol": "#{protocol}",
        "host": "#{host}",
        "port": "#{port}",
        "path": "/#{path}",
        "query": "#{query}",
        "status_code": 302,
    }
    expected = {**defaults, **{name: str(value) if name == "port" else value for name, value in parts.items()}}
    assert attrs.asdict(redirect) == expected


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *[("protocol", value) for value in ("http", "WS", "", "#{host}", "HTTP#{protocol}", None, 7)],
        *[("host", value) for value in ("", "x" * 129, "a b", "a/b", "a:80", "a,b", "#{path}", "#{x}", "#{host", "\u00e4", None, b"a")],
        *[("port", value) for value in (0, 65536, "0", "65536", "", "http", "#{host}", "-1", "80a", True, 80.0, None)],
        *[("path", value) for value in ("", "a", "/" + "x" * 128, "/a b", "/\u00e4", "/a\r\nX:", "/#{query}", "/#{protocol}", None)],
        *[("query", value) for value in ("?a", "x" * 129, "a b", "a\n", "#{method}", None)],
        *[("status_code", value) for value in (300, 303, 307, 308, 200, "301", "HTTP_301", 301.0, True, None)],
    ],
    ids=repr,
)
def test_redirect_refuses_other_values(part: str, value: Any) -> None:
    """Out of range, of the wrong kind, or with a placeholder that cannot stand there: the fault names the part."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Redirect(**{"host": "other.example", "path": "/other", part: value})
    assert set(_paths(raised.value)) == {part}


@pytest.mark.parametrize("parts", [{}, {"query": "a=b"}, {"status_code": 301}, {"protocol": "#{protocol}", "query": ""}], ids=str)
def test_redirect_that_changes_at_most_the_query_is_refused(parts: dict[str, Any]) -> None:
    """Protocol, host, port or path must differ, or the client comes back for ever (docs/alb.md 4.2)."""
    with pytest.raises(alb.ConfigurationError, match="at least one of protocol, host, port and path"):
        alb.Redirect(**parts)


def test_redirect_with_every_fault_tells_them_all() -> None:
    """All at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.Redirect(protocol="X", host="", port=0, path="x", query="?", status_code=200)
    assert raised.value.subject == "Redirect"
    assert sorted(_paths(raised.value)) == ["host", "path", "port", "protocol", "query", "status_code"]


@pytest.mark.parametrize("status", [200, 299, 400, 404, 499, 500, 599])
def test_fixed_response_takes_albs_statuses(status: int) -> None:
    """2xx, 4xx and 5xx, at both ends (docs/alb.md 4.3)."""
    assert alb.FixedResponse(status).status_code == status


@pytest.mark.parametrize("status", [0, 100, 101, 199, 300, 301, 304, 399, 600, 999, -200, "200", 200.0, None, True], ids=repr)
def test_fixed_response_refuses_other_statuses(status: Any) -> None:
    """1xx and 3xx are not for a fixed response, nor is anything that is no status."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.FixedResponse(status)
    assert _paths(raised.value) == ["status_code"]


@pytest.mark.parametrize("body", ["", "x" * 1024, "é" * 1024, "\N{PENSIVE FACE}" * 1024], ids=["empty", "ASCII", "two bytes", "four bytes"])
def test_fixed_response_takes_up_to_1024_characters(body: str) -> None:
    """ALB's longest message body (docs/alb.md 4.3)."""
    assert alb.FixedResponse(200, body).body == body


@pytest.mark.parametrize(
    "body", ["x" * 1025, "é" * 1025, b"x", None, 7], ids=["1025 characters", "1025 characters of two bytes", "bytes", "None", "number"]
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
def test_fixed_response_that_can_have_no_body_takes_one_as_alb_does(status: int) -> None:
    """docs/alb.md 4.3 knows no such limit; it is not sent (RFC 9110 sections 15.3.5 and 15.3.6)."""
    assert alb.FixedResponse(status, "x").body == "x"


@pytest.mark.parametrize("content_type", ["text/plain", "text/css", "text/html", "application/javascript", "application/json"])
def test_fixed_response_takes_albs_content_types(content_type: str) -> None:
    """The five of docs/alb.md 4.3."""
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
    """Defaults of docs/alb.md 4.3; frozen and hashable."""
    answer = alb.FixedResponse(404)
    assert (answer.body, answer.content_type) == ("", "text/plain")
    assert {answer, alb.FixedResponse(404)} == {answer}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        answer.body = "x"  # type: ignore[misc]
