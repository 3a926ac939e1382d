from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.limits import Limits
from albkit.model.settings import Settings

_ANSWER = alb.FixedResponse(200)


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


def _listener(port: int = 0, *groups: alb.TargetGroup, **settings: Any) -> alb.Listener:
    rules = [alb.Rule(priority, alb.PathPattern("/a"), alb.Forward(group)) for priority, group in enumerate(groups, 1)]
    return alb.Listener(port, _ANSWER, rules, **settings)


def test_settings_have_albs_defaults() -> None:
    """What is not given is ALB's (docs/alb.md 1.2); 5 s to stop when embedded."""
    settings = Settings(_listener())
    assert settings.limits == Limits()
    assert attrs.asdict(settings, filter=lambda attribute, _: attribute.name not in ("listeners", "limits")) == {
        "name": "albkit",
        "idle_timeout": 60,
        "client_keep_alive": 3600,
        "desync_mitigation_mode": "defensive",
        "drop_invalid_header_fields": False,
        "preserve_host_header": False,
        "xff_header_processing": "append",
        "xff_client_port": False,
        "x_amzn_tls_version_and_cipher_suite": False,
        "certificate_check_interval": 5,
        "stop_timeout": 5,
        "access_log": None,
        "connection_log": None,
        "health_check_log": None,
        "tracing": None,
    }


def test_settings_take_one_listener_or_a_list() -> None:
    """One listener is a load balancer; equal ones are equal and hashable."""
    listener = _listener()
    assert Settings(listener) == Settings([listener])
    assert hash(Settings(listener)) == hash(Settings((listener,)))


@pytest.mark.parametrize("listeners", [[], None, ()], ids=repr)
def test_settings_without_a_listener_are_refused(listeners: Any) -> None:
    """A load balancer that listens nowhere is a mistake."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings(listeners)
    assert _paths(raised.value) == ["listeners"]


def test_settings_with_every_fault_tell_them_all() -> None:
    """All at once, each with its path."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings(
            [_listener(80), _listener(80), "80"],
            name="a b",
            idle_timeout=0,
            client_keep_alive=604801,
            desync_mitigation_mode="off",
            drop_invalid_header_fields=1,  # type: ignore[arg-type]
            preserve_host_header="yes",  # type: ignore[arg-type]
            xff_header_processing="Append",
            xff_client_port=None,  # type: ignore[arg-type]
            stop_timeout=-1,
            limits={"request_line": 100},  # type: ignore[arg-type]
            tracing=True,
        )
    assert raised.value.subject == "LoadBalancer"
    assert sorted(_paths(raised.value)) == [
        "client_keep_alive",
        "desync_mitigation_mode",
        "drop_invalid_header_fields",
        "idle_timeout",
        "limits",
        "listeners[1].port",
        "listeners[2]",
        "name",
        "preserve_host_header",
        "stop_timeout",
        "tracing",
        "xff_client_port",
        "xff_header_processing",
    ]


def test_settings_with_a_wrong_listener_count_the_places_as_they_were_given() -> None:
    """A fault behind an item that is no listener names the place that the caller sees."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings([_listener(80), "80", _listener(80)])
    assert _paths(raised.value) == ["listeners[1]", "listeners[2].port"]


def test_settings_with_a_listener_name_twice_are_refused() -> None:
    """Listeners are known by their names."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings([_listener(80, name="a"), _listener(81, name="b"), _listener(82, name="a"), _listener(83), _listener(84)])
    assert _paths(raised.value) == ["listeners[2].name"]
    assert "listeners[0]" in raised.value.faults[0]


def test_settings_with_a_port_twice_are_refused() -> None:
    """A second listener on a port is ALB's DuplicateListener; another address or port 0 is another door."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings([_listener(80), _listener(80)])
    assert _paths(raised.value) == ["listeners[1].port"]
    Settings([_listener(80, host="127.0.0.1"), _listener(80, host="127.0.0.2"), _listener(0), _listener(0)])


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(alb.TargetGroup("api", "b:80"), id="other targets"),
        pytest.param(alb.TargetGroup("api", "a:80", stickiness=alb.LbCookie()), id="other stickiness"),
    ],
)
def test_settings_with_two_groups_of_one_name_are_refused(other: alb.TargetGroup) -> None:
    """Names of groups are unique (docs/alb.md 1.8), within a listener and across; the same content twice is the same group."""
    group = alb.TargetGroup("api", "a:80")
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings([_listener(80, group), _listener(81, other)])
    assert _paths(raised.value) == ["listeners[1]"]
    assert "'api'" in raised.value.faults[0]
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings(_listener(80, group, other))
    assert _paths(raised.value) == ["listeners[0]"]


def test_settings_know_each_group_once() -> None:
    """An equal group written twice is one group."""
    api, web = alb.TargetGroup("api", "a:80"), alb.TargetGroup("web")
    settings = Settings([_listener(80, api, web), _listener(81, alb.TargetGroup("api", "a:80"))])
    assert settings.groups == (api, web)


def _tunnel(group: alb.TunnelPolicy | None = None, forward: alb.TunnelPolicy | None = None) -> alb.Listener:
    """A listener with one Forward to one group."""
    chat = alb.TargetGroup("chat", tunnel=group if group is not None else alb.TunnelPolicy())
    return alb.Listener(0, alb.Forward(chat, tunnel=forward))


def test_settings_know_each_tunnel_policy_once() -> None:
    """Those of groups and of Forwards, in rules and default actions, equal ones as one; where nothing is forwarded there are none."""
    short, long = alb.TunnelPolicy(max_age=1), alb.TunnelPolicy(max_age=2)
    web, chat = alb.TargetGroup("web"), alb.TargetGroup("chat", tunnel=short)
    rules = [
        alb.Rule(1, alb.PathPattern("/a"), alb.Forward(chat)),
        alb.Rule(2, alb.PathPattern("/b"), alb.Forward({web: 1, chat: 1}, tunnel=long)),
        alb.Rule(3, alb.PathPattern("/c"), alb.Forward(web, tunnel=alb.TunnelPolicy(max_age=1))),
    ]
    settings = Settings([alb.Listener(80, alb.Forward(web), rules), alb.Listener(81, alb.Forward(chat))])
    assert settings.tunnel_policies == (alb.TunnelPolicy(), short, long)
    assert Settings(_listener()).tunnel_policies == ()


@pytest.mark.parametrize(
    ("listener", "whose"),
    [
        pytest.param(_tunnel(group=alb.TunnelPolicy(ping_interval=20)), "target group 'chat'", id="of a group"),
        pytest.param(_tunnel(forward=alb.TunnelPolicy(ping_interval=20)), "Forward to 'chat'", id="of a Forward"),
    ],
)
def test_settings_with_pings_behind_the_idle_timeout_are_refused(listener: alb.Listener, whose: str) -> None:
    """A policy without an idle timeout has the load balancer's, and its pings must come before that; the fault says whose it is."""
    Settings(listener)
    Settings(listener, idle_timeout=20.5)
    for idle_timeout in (20, 19.5):
        with pytest.raises(alb.ConfigurationError, match=f"not below the idle timeout of {idle_timeout:g} seconds") as raised:
            Settings([_listener(), listener], idle_timeout=idle_timeout)
        assert _paths(raised.value) == ["listeners[1]"]
        assert whose in raised.value.faults[0]


def test_settings_with_several_policies_that_ping_too_late_tell_each() -> None:
    """A Forward's fault does not hide its group's."""
    policies = alb.TunnelPolicy(ping_interval=20), alb.TunnelPolicy(ping_interval=30)
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings(_tunnel(*policies), idle_timeout=10)
    assert [fault.split(":")[2].split()[0] for fault in raised.value.faults] == ["20", "30"]


def test_settings_leave_a_policy_alone_that_has_an_idle_timeout_of_its_own() -> None:
    """Its pings were judged by that one."""
    Settings(_tunnel(alb.TunnelPolicy(idle_timeout=300, ping_interval=100)), idle_timeout=10)


def test_settings_with_what_is_no_listener_still_judge_the_tunnels_of_the_others() -> None:
    """Every fault is told, at the place that the caller sees."""
    with pytest.raises(alb.ConfigurationError) as raised:
        Settings(["80", _tunnel(alb.TunnelPolicy(ping_interval=20))], idle_timeout=10)
    assert _paths(raised.value) == ["listeners[0]", "listeners[1]"]


def test_settings_cannot_be_changed() -> None:
    """A description is a value."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Settings(_listener()).idle_timeout = 1  # type: ignore[misc]


def test_load_balancer_refuses_what_its_settings_refuse() -> None:
    """The front door takes the same settings and raises the same faults; an unknown one is a TypeError."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.LoadBalancer([], idle_timeout=-1)
    assert _paths(raised.value) == ["listeners", "idle_timeout"]
    with pytest.raises(TypeError, match="idle_timeuot"):
        alb.LoadBalancer(_listener(), idle_timeuot=1)
