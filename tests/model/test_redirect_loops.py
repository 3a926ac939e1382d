"""Redirects that lead back to their own listener: refused where that is certain, doubted where it is likely."""

from __future__ import annotations

from typing import Any

import pytest

import albkit as alb
from albkit.model.redirect_loops import doubts_about_redirects

SECURE: dict[str, Any] = {"protocol": "HTTPS", "certificates": alb.Certificate("cert.pem", "key.pem")}
PROXIED: dict[str, Any] = {"proxy_protocol": "required"}
UNIX: dict[str, Any] = {"host": "unix:/run/web.sock"}
TOLD = alb.HttpHeader("X-Forwarded-Proto", "http")


async def hook(_: alb.Request) -> None:
    """Answers nothing."""


def faults(port: int, default: Any, rules: Any = (), **settings: Any) -> list[str]:
    """Of such a listener; none where it is taken."""
    try:
        alb.Listener(port, default, rules, **settings)
    except alb.ConfigurationError as error:
        return list(error.faults)
    return []


def doubts(port: int, default: Any, rules: Any = (), **settings: Any) -> list[str]:
    """The paths of those that are taken all the same."""
    listener = alb.Listener(port, default, rules, **settings)
    return [path for path, _ in doubts_about_redirects(listener, listener.default_actions, listener.rules)]


@pytest.mark.parametrize("port", [0, 80, 8080])
@pytest.mark.parametrize("parts", [{}, {"path": "/x"}, {"query": ""}, {"status_code": 301}], ids=str)
def test_redirect_to_https_on_the_listeners_own_plain_port_is_refused(port: int, parts: dict[str, Any]) -> None:
    """The port is the listener's own where none is given (docs/alb.md 4.2), and no TLS is spoken there."""
    said = "default_actions: redirects to https:// on this listener's own port, which has no TLS; name the HTTPS port: port=443"
    assert faults(port, alb.Redirect(protocol="HTTPS", **parts)) == [said]
    if port:
        assert faults(port, alb.Redirect(protocol="HTTPS", port=port, **parts)) == [said]
    assert faults(port, alb.Redirect(protocol="HTTPS", port=443, **parts)) == []
    assert doubts(port, alb.Redirect(protocol="HTTPS", port=443, **parts)) == []


@pytest.mark.parametrize(
    "conditions",
    [
        alb.PathPattern("/a"),
        [alb.HostHeader("*.example.com"), alb.HttpRequestMethod("GET")],
        alb.QueryString("a"),
        alb.HostHeader(regex="a"),
    ],
)
def test_redirect_of_a_rule_is_refused_with_its_path(conditions: Any) -> None:
    """Whoever comes again asks for the same."""
    rules = [alb.Rule(1, alb.PathPattern("/b"), alb.FixedResponse(200)), alb.Rule(2, conditions, alb.Redirect(protocol="HTTPS"))]
    assert [fault.partition(":")[0] for fault in faults(80, alb.FixedResponse(200), rules)] == ["rules[1].actions"]


@pytest.mark.parametrize(
    ("port", "redirect", "settings"),
    [
        (8080, alb.Redirect(port=8080), {}),
        (8080, alb.Redirect(protocol="HTTP"), {}),
        (8080, alb.Redirect(protocol="HTTP", port=8080, query="a=b"), {}),
        (0, alb.Redirect(protocol="HTTP"), {}),
        (443, alb.Redirect(protocol="HTTPS"), SECURE),
        (443, alb.Redirect(protocol="HTTPS", port=443), SECURE),
        (8443, alb.Redirect(port=8443), SECURE),
        (443, alb.Redirect(protocol="HTTPS"), {**SECURE, **PROXIED}),
        (443, alb.Redirect(protocol="HTTPS"), {**SECURE, **UNIX}),
    ],
    ids=str,
)
def test_redirect_to_the_same_url_is_refused(port: int, redirect: alb.Redirect, settings: dict[str, Any]) -> None:
    """As ALB refuses one that changes nothing by itself; whatever the rule's conditions."""
    said = "redirects to the URL that was requested, which is an endless loop; change protocol, host, port or path"
    assert faults(port, redirect, **settings) == [f"default_actions: {said}"]
    rule = alb.Rule(1, TOLD, [hook, redirect])
    assert faults(port, alb.FixedResponse(200), rule, **settings) == [f"rules[0].actions: {said}"]


@pytest.mark.parametrize(
    ("port", "redirect", "settings"),
    [
        (80, alb.Redirect(protocol="HTTPS", port=443), {}),
        (80, alb.Redirect(host="www.example.com"), {}),
        (80, alb.Redirect(path="/new"), {}),
        (80, alb.Redirect(port=8080), {}),
        (8080, alb.Redirect(protocol="HTTP", port=80), {}),
        (0, alb.Redirect(path="/"), {}),
        (443, alb.Redirect(protocol="HTTPS", port=8443), SECURE),
        (443, alb.Redirect(host="www.#{host}"), SECURE),
        (8443, alb.Redirect(protocol="HTTPS", port=8443), {**SECURE, **PROXIED}),
        (80, alb.Redirect(protocol="HTTPS", port=443), PROXIED),
        (80, alb.Redirect(protocol="HTTPS", port=443), UNIX),
        (0, alb.Redirect(protocol="HTTP", port=80), UNIX),
    ],
    ids=str,
)
def test_redirect_to_elsewhere_is_taken_without_a_doubt(port: int, redirect: alb.Redirect, settings: dict[str, Any]) -> None:
    """Another host, path or port; behind a proxy the ports that clients see are others."""
    assert faults(port, redirect, **settings) == []
    assert doubts(port, redirect, **settings) == []


@pytest.mark.parametrize(
    ("port", "redirect", "settings"),
    [
        pytest.param(80, alb.Redirect(protocol="HTTPS", host="www.example.com"), {}, id="a host that may be elsewhere"),
        pytest.param(443, alb.Redirect(protocol="HTTPS"), {}, id="443 may be a front's"),
        pytest.param(443, alb.Redirect(protocol="HTTPS", port=443), {}, id="443 given"),
        pytest.param(8080, alb.Redirect(protocol="HTTPS"), PROXIED, id="a proxy tells the port"),
        pytest.param(80, alb.Redirect(protocol="HTTPS"), UNIX, id="unix socket"),
        pytest.param(80, alb.Redirect(protocol="HTTPS"), {"inherited_socket": "web"}, id="inherited socket"),
    ],
)
def test_redirect_that_is_likely_wrong_is_taken_and_doubted(port: int, redirect: alb.Redirect, settings: dict[str, Any]) -> None:
    """What stands before the listener is not known here."""
    assert faults(port, redirect, **settings) == []
    assert doubts(port, redirect, **settings) == ["default_actions"]


@pytest.mark.parametrize(
    ("port", "settings", "doubted"),
    [(80, {}, True), (443, {}, False), (80, PROXIED, False), (80, UNIX, False)],
    ids=str,
)
@pytest.mark.parametrize(
    "told",
    [{"conditions": TOLD}, {"conditions": lambda _: True}, {"conditions": alb.SourceIp("10.0.0.0/8")}, {}],
    ids=["header", "callable", "address", "unconditional"],
)
def test_redirect_of_those_that_a_proxy_tells_apart_is_taken(
    port: int, settings: dict[str, Any], doubted: bool, told: dict[str, Any]
) -> None:
    """One that ends TLS on a port of the same number is what such a rule is for; on port 80 there hardly is one."""
    redirect = alb.Redirect(protocol="HTTPS")
    rule = alb.Rule(1, told.get("conditions", alb.PathPattern("/*")), redirect if told else [hook, redirect])
    assert faults(port, alb.FixedResponse(200), rule, **settings) == []
    assert doubts(port, alb.FixedResponse(200), rule, **settings) == (["rules[0].actions"] if doubted else [])
