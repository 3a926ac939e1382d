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
    """What is not given is ALB's (alb-reference 1.2); 5 s to stop when embedded (design 4)."""
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
        "stop_timeout": 5,
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
    """Names of groups are unique (alb-reference 1.8), within a listener and across; the same content twice is the same group."""
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
