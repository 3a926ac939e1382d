from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.message import RequestHead
from albkit.model.stickiness import fault_of_key, fault_of_stickiness, fields

_SECRET = "a secret of the house"


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def _key(request: RequestHead) -> str | None:
    return request.client.host


async def _async_key(request: RequestHead) -> str | None:
    return request.client.host


class _KeyObject:
    def __call__(self, request: RequestHead) -> str | None:
        return request.client.host


class _AsyncKeyObject:
    async def __call__(self, request: RequestHead) -> str | None:
        return request.client.host


def test_app_cookie_has_albs_defaults() -> None:
    """A day, no secrets, and sessions of a deregistered target go elsewhere (docs/alb.md 1.8)."""
    cookie = alb.AppCookie("JSESSIONID")
    assert (cookie.cookie_name, cookie.duration, cookie.secrets, cookie.while_draining) == ("JSESSIONID", 86400, (), "rebalance")


def test_lb_cookie_has_no_secrets_by_default() -> None:
    """None need be given."""
    assert (alb.LbCookie().secrets, alb.LbCookie().while_draining) == ((), "rebalance")


def test_route_suffix_has_the_dot_of_apache_by_default() -> None:
    """Only the cookie's name need be given."""
    suffix = alb.RouteSuffix("JSESSIONID")
    assert (suffix.cookie_name, suffix.separator, suffix.while_draining) == ("JSESSIONID", ".", "rebalance")


_KINDS: list[Callable[..., Any]] = [alb.LbCookie, lambda **settings: alb.AppCookie("SID", **settings)]


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
@pytest.mark.parametrize("duration", [1, 1.5, 604800])
def test_cookie_takes_a_second_to_a_week(kind: Callable[..., Any], duration: float) -> None:
    """ALB's range at both ends, fractions too."""
    assert kind(duration=duration).duration == duration


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
@pytest.mark.parametrize("duration", [0, 0.5, 604801, -1, "3600", None, True, float("nan")], ids=repr)
def test_cookie_of_another_duration_is_refused(kind: Callable[..., Any], duration: Any) -> None:
    """The fault names the setting."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(duration=duration)
    assert _paths(raised.value) == ["duration"]


@pytest.mark.parametrize(
    "kind", [*_KINDS, lambda **settings: alb.RouteSuffix("SID", **settings)], ids=["LbCookie", "AppCookie", "RouteSuffix"]
)
@pytest.mark.parametrize("way", ["", "Honor", "drop", None, True, 1], ids=repr)
def test_cookie_of_another_way_while_draining_is_refused(kind: Callable[..., Any], way: Any) -> None:
    """One of two words."""
    assert kind(while_draining="honor").while_draining == "honor"
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(while_draining=way)
    assert _paths(raised.value) == ["while_draining"]


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
@pytest.mark.parametrize(
    ("secrets", "kept"),
    [
        (_SECRET, (_SECRET.encode(),)),
        (_SECRET.encode(), (_SECRET.encode(),)),
        ([_SECRET, b"x" * 16], (_SECRET.encode(), b"x" * 16)),
        ((b"x" * 16,), (b"x" * 16,)),
        ("ä" * 8, ("ä".encode() * 8,)),
        ([], ()),
        (None, ()),
    ],
    ids=repr,
)
def test_cookie_takes_one_secret_or_a_list(kind: Callable[..., Any], secrets: Any, kept: tuple[bytes, ...]) -> None:
    """Text or bytes, 16 bytes or more, in the order in which they are given."""
    assert kind(secrets=secrets).secrets == kept


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
@pytest.mark.parametrize(
    ("secrets", "paths"),
    [
        ("fifteen bytes..", ["secrets[0]"]),
        ("", ["secrets[0]"]),
        (b"short", ["secrets[0]"]),
        (7, ["secrets[0]"]),
        ([_SECRET, "short"], ["secrets[1]"]),
        (["short", _SECRET, None], ["secrets[0]", "secrets[2]"]),
        (bytearray(32), ["secrets[0]"]),
        ([[_SECRET]], ["secrets[0]"]),
    ],
    ids=repr,
)
def test_cookie_of_secrets_that_are_none_is_refused_without_showing_them(kind: Callable[..., Any], secrets: Any, paths: list[str]) -> None:
    """Each with its place; what is wrong may be a typing error only, so nothing of it is shown."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(secrets=secrets)
    assert _paths(raised.value) == paths
    assert "short" not in str(raised.value)
    assert "fifteen" not in str(raised.value)


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
def test_cookie_does_not_show_its_secrets(kind: Callable[..., Any]) -> None:
    """Neither in its own text nor in that of a group, which is logged."""
    cookie = kind(secrets=_SECRET)
    assert _SECRET not in repr(cookie)
    assert _SECRET not in repr(alb.TargetGroup("api", stickiness=cookie))


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
def test_cookie_with_other_secrets_is_another_one(kind: Callable[..., Any]) -> None:
    """What is not shown counts all the same: the group has changed."""
    assert kind(secrets=_SECRET) == kind(secrets=[_SECRET.encode()])
    assert kind(secrets=_SECRET) != kind(secrets=_SECRET + "!")
    assert len({kind(secrets=_SECRET), kind(secrets=_SECRET), kind()}) == 2
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        kind().secrets = ()


@pytest.mark.parametrize("kind", _KINDS, ids=["LbCookie", "AppCookie"])
def test_cookie_with_secrets_says_which_package_it_needs(kind: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and not with the first response; without secrets nothing is needed."""
    monkeypatch.setattr(fields, "find_spec", {"cryptography": None}.__getitem__)
    assert kind().secrets == ()
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(secrets=_SECRET)
    assert _paths(raised.value) == ["secrets"]
    assert "albkit[secrets]" in str(raised.value)


@pytest.mark.parametrize("kind", [alb.AppCookie, alb.RouteSuffix], ids=["AppCookie", "RouteSuffix"])
@pytest.mark.parametrize("name", ["a", "JSESSIONID", "__Host-sid", "!#$%&'*+-.^_`|~", "x" * 256])
def test_cookie_name_may_be_any_token(kind: Callable[..., Any], name: str) -> None:
    """RFC 6265 section 4.1.1, up to 256 characters."""
    assert kind(name).cookie_name == name


@pytest.mark.parametrize("kind", [alb.AppCookie, alb.RouteSuffix], ids=["AppCookie", "RouteSuffix"])
@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a=", "a;", "a,", 'a"', "a\n", "a\r\nX: y", "ä", "a\0", "x" * 257, None, 7, b"sid"],
    ids=lambda name: repr(name)[:20],
)
def test_cookie_name_that_is_no_token_is_refused(kind: Callable[..., Any], name: Any) -> None:
    """Nothing that could end a field, or be two cookies."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(name)
    assert _paths(raised.value) == ["cookie_name"]


@pytest.mark.parametrize("name", ["AWSALB", "AWSALBAPP", "AWSALBAPP-0", "AWSALBTG", "AWSALBCORS", "AWSALBX"])
def test_app_cookie_of_the_balancers_own_name_is_refused(name: str) -> None:
    """Nothing that starts with AWSALB (docs/alb.md 1.8); names have case."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.AppCookie(name)
    assert _paths(raised.value) == ["cookie_name"]
    assert alb.AppCookie(name.lower()).cookie_name == name.lower()
    assert alb.AppCookie("X" + name).cookie_name == "X" + name


@pytest.mark.parametrize("separator", [".", "!", "--", "~", ":", "=", "/", "a"])
def test_route_suffix_takes_other_separators(separator: str) -> None:
    """One visible character or more."""
    assert alb.RouteSuffix("SID", separator).separator == separator


@pytest.mark.parametrize("separator", ["", " ", ";", ".;", "a b", "\t", "ä", "\n", ".\n", None, 7, b"."], ids=repr)
def test_route_suffix_of_a_separator_that_is_none_is_refused(separator: Any) -> None:
    """Nothing that ends a cookie's value or a parameter, and nothing invisible."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.RouteSuffix("SID", separator)
    assert _paths(raised.value) == ["separator"]


def test_sticky_settings_with_every_fault_tell_them_all() -> None:
    """All faults come at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.AppCookie("AWSALB x", 0, secrets="x", while_draining="no")
    assert (raised.value.subject, _paths(raised.value)) == (
        "AppCookie",
        ["cookie_name", "cookie_name", "duration", "while_draining", "secrets[0]"],
    )
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.RouteSuffix("", "", while_draining="no")
    assert (raised.value.subject, _paths(raised.value)) == ("RouteSuffix", ["cookie_name", "separator", "while_draining"])
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.LbCookie(0, secrets=["x", "y"], while_draining="no")
    assert (raised.value.subject, _paths(raised.value)) == ("LbCookie", ["duration", "while_draining", "secrets[0]", "secrets[1]"])


@pytest.mark.parametrize(
    "value",
    [None, alb.LbCookie(), alb.AppCookie("a"), alb.RouteSuffix("a"), alb.SourceAddress(), _key, _KeyObject(), lambda _: None],
    ids=range(8),
)
def test_group_takes_every_form_of_stickiness(value: Any) -> None:
    """Settings, `None`, and whatever can be called for a key; the group is a value with each."""
    assert fault_of_stickiness(value) is None
    group = alb.TargetGroup("api", stickiness=value)
    assert group.stickiness is value
    assert {group} == {alb.TargetGroup("api", stickiness=value)}


@pytest.mark.parametrize(
    "value",
    [
        3600,
        True,
        "lb_cookie",
        {},
        object(),
        alb.LbCookie,
        alb.SourceAddress,
        _KeyObject,
        _async_key,
        _AsyncKeyObject(),
        alb.Target("a", 80),
    ],
    ids=range(11),
)
def test_group_refuses_what_is_no_stickiness(value: Any) -> None:
    """Neither a class nor a number, and no key that would have to be awaited."""
    assert fault_of_stickiness(value) is not None
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.TargetGroup("api", stickiness=value)
    assert _paths(raised.value) == ["stickiness"]


@pytest.mark.parametrize(
    ("value", "wrong"), [(_key, None), (_KeyObject(), None), (_async_key, "async"), (_AsyncKeyObject(), "async")], ids=range(4)
)
def test_key_must_be_plain(value: Any, wrong: str | None) -> None:
    """The fault says what is wrong with it."""
    fault = fault_of_key(value)
    assert (fault is None) if wrong is None else (fault is not None and wrong in fault)


def test_source_addresses_are_all_alike() -> None:
    """There is nothing to set."""
    assert {alb.SourceAddress(), alb.SourceAddress()} == {alb.SourceAddress()}


_IN_QUERY = [partial(alb.AppCookie, "SID"), partial(alb.RouteSuffix, "SID")]


@pytest.mark.parametrize("kind", _IN_QUERY, ids=["AppCookie", "RouteSuffix"])
@pytest.mark.parametrize("name", [None, "sid", "a", "A-1._~", "x" * 256])
def test_query_parameter_is_a_name_or_none(kind: Callable[..., Any], name: str | None) -> None:
    """None unless it is given; two settings that differ in it alone are two."""
    assert kind().query_parameter is None
    assert kind(query_parameter=name).query_parameter == name
    assert (kind(query_parameter=name) == kind()) is (name is None)


@pytest.mark.parametrize("kind", _IN_QUERY, ids=["AppCookie", "RouteSuffix"])
@pytest.mark.parametrize("name", ["", "a b", "a=", "a&b", "?sid", "s%69d", "s+d", "\xe9", "x" * 257, b"sid", 7, True], ids=repr)
def test_query_parameter_that_is_no_name_is_refused(kind: Callable[..., Any], name: Any) -> None:
    """What would have to be encoded in a query could come in several spellings."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(query_parameter=name)
    assert _paths(raised.value) == ["query_parameter"]
