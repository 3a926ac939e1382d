"""Finding a session's target, and renewing its cookie, with each kind of stickiness."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import albkit as alb
from albkit.clock import SYSTEM
from albkit.model.message import ResponseHead
from albkit.policy.target_choice import TargetChoice
from albkit.state.target_group import TargetGroupState
from benchmarks.micro import NOW, Benchmark, a_request

_OTHERS = b"session=6f2c9a1e84b04d7f9c35a8d1e2b7406c.t2; theme=dark; consent=necessary"
_KINDS: dict[str, Any] = {
    "lb_cookie": alb.LbCookie(),
    "lb_cookie with secrets": alb.LbCookie(secrets="no secret, since all of this is public"),
    "app_cookie": alb.AppCookie("session"),
    "route suffix": alb.RouteSuffix("session"),
    "source address": alb.SourceAddress(),
    "key": lambda request: request.path,
}

any_kind = pytest.mark.parametrize("kind", _KINDS)


def _choice(kind: str) -> TargetChoice:
    targets = [alb.Target(f"10.0.0.{number}", 80, route=f"t{number}") for number in range(3)]
    return TargetChoice(TargetGroupState(alb.TargetGroup("web", targets, stickiness=_KINDS[kind])), SYSTEM)


def _response(*fields: bytes) -> ResponseHead:
    response = ResponseHead()
    response.lines = [b"HTTP/1.1 200 OK", b"Content-Type: text/html", b"Content-Length: 64", *fields]
    return response


def _cookies(choice: TargetChoice) -> bytes:
    """The cookies of a client after its first response."""
    assert choice.stickiness is not None
    member = list(choice.group.members.values())[-1]
    lines = choice.stickiness.fields(member, a_request(), _response(b"Set-Cookie: session=1"), NOW)
    pairs = [line.partition(b": ")[2].partition(b";")[0] for line in lines.split(b"\r\n") if line]
    return b"; ".join([_OTHERS, *pairs])


@any_kind
def test_a_session_that_is_known(benchmark: Benchmark, kind: str) -> None:
    """Its cookie follows other cookies."""
    choice = _choice(kind)
    assert benchmark(choice.bound, a_request(_cookies(choice)), NOW) is not None


@any_kind
def test_telling_the_client_again_in_the_same_second(benchmark: Benchmark, kind: str) -> None:
    """The common case."""
    choice = _choice(kind)
    request, response = a_request(_cookies(choice)), _response()
    member = choice.bound(request, NOW)
    assert member is not None
    assert choice.stickiness is not None
    benchmark(choice.stickiness.fields, member, request, response, NOW)


@pytest.mark.parametrize("kind", ["lb_cookie", "lb_cookie with secrets", "app_cookie"])
def test_telling_the_client_again_in_a_new_second(benchmark: Benchmark, kind: str) -> None:
    """Dates and values are computed again."""
    choice = _choice(kind)
    request, response = a_request(_cookies(choice)), _response()
    member = next(iter(choice.group.members.values()))
    stickiness = choice.stickiness
    assert stickiness is not None
    seconds = itertools.count(NOW)
    assert b"AWSALB" in benchmark(lambda: stickiness.fields(member, request, response, next(seconds)))


def test_a_request_with_other_cookies_alone(benchmark: Benchmark) -> None:
    """There is no session yet."""
    choice = _choice("lb_cookie")
    assert benchmark(choice.bound, a_request(_OTHERS), NOW) is None
