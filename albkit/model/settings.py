"""The settings of a whole load balancer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import attrs

from albkit.model import attributes
from albkit.model.access_log import AccessLog
from albkit.model.attributes import default
from albkit.model.connection_log import ConnectionLog
from albkit.model.health_check_log import HealthCheckLog
from albkit.model.limits import Limits
from albkit.model.listener import Listener
from albkit.model.log_destination import LogDestination
from albkit.model.names import fault_of_name
from albkit.model.target_group import TargetGroup
from albkit.model.tunnel import TunnelPolicy
from albkit.model.validation import Faults, as_tuple

__all__ = ("Settings",)


_LOGS: Final = {"access_log": AccessLog, "connection_log": ConnectionLog, "health_check_log": HealthCheckLog}


def _setting(name: str) -> Any:
    return attrs.field(default=default("LoadBalancer", name), kw_only=True)


@attrs.frozen
class Settings:
    """The complete configuration of a load balancer: its listeners, and what applies to all of them.

    `LoadBalancer` takes the same arguments, builds one of these and documents each.
    """

    listeners: tuple[Listener, ...] = attrs.field(converter=as_tuple)
    name: str = attrs.field(default="albkit", kw_only=True)
    idle_timeout: float = _setting("idle_timeout")
    client_keep_alive: float = _setting("client_keep_alive")
    desync_mitigation_mode: str = _setting("desync_mitigation_mode")
    drop_invalid_header_fields: bool = _setting("drop_invalid_header_fields")
    preserve_host_header: bool = _setting("preserve_host_header")
    xff_header_processing: str = _setting("xff_header_processing")
    xff_client_port: bool = _setting("xff_client_port")
    x_amzn_tls_version_and_cipher_suite: bool = _setting("x_amzn_tls_version_and_cipher_suite")
    certificate_check_interval: float = _setting("certificate_check_interval")
    stop_timeout: float = _setting("stop_timeout")
    access_log: AccessLog | None = attrs.field(default=None, kw_only=True)
    connection_log: ConnectionLog | None = attrs.field(default=None, kw_only=True)
    health_check_log: HealthCheckLog | None = attrs.field(default=None, kw_only=True)
    limits: Limits = attrs.field(factory=Limits, kw_only=True)
    tracing: Any = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("LoadBalancer")
        if not self.listeners:
            faults.add("listeners", "give at least one Listener")
        faults.instances("listeners", self.listeners, Listener, "a Listener")
        wrong = fault_of_name(self.name)
        if wrong:
            faults.add("name", wrong)
        self._check_settings(faults)
        if not isinstance(self.limits, Limits):
            faults.add("limits", f"{self.limits!r} is not Limits(...)")
        if self.tracing is not None and (isinstance(self.tracing, type) or not callable(getattr(self.tracing, "begin", None))):
            faults.add("tracing", f"{self.tracing!r} is not albkit.opentelemetry.Tracing(...)")
        self._check_listeners(faults, self.listeners)
        self._check_logs(faults)
        self._check_tunnels(faults)
        faults.raise_if_any()

    def _check_settings(self, faults: Faults) -> None:
        for attribute in attrs.fields(Settings):
            if ("LoadBalancer", attribute.name) in attributes.ATTRIBUTES:
                wrong = attributes.fault("LoadBalancer", attribute.name, getattr(self, attribute.name))
                if wrong:
                    faults.add(attribute.name, wrong)

    @staticmethod
    def _check_listeners(faults: Faults, listeners: tuple[object, ...]) -> None:
        names: dict[str, int] = {}
        bound: dict[tuple[object, ...], int] = {}
        groups: dict[str, TargetGroup] = {}
        for index, listener in enumerate(listeners):
            if not isinstance(listener, Listener):
                continue
            if listener.name is not None and names.setdefault(listener.name, index) != index:
                faults.add(f"listeners[{index}].name", f"{listener.name!r} is already the name of listeners[{names[listener.name]}]")
            key = listener.bind_key
            if not listener.takes_free_port and bound.setdefault(key, index) != index:
                faults.add(f"listeners[{index}].{_which(listener)}", f"{key[-1]!r} is already used by listeners[{bound[key]}]")
            for group in listener.groups:
                # Equal groups may appear several times: each rule can have its own object with the same content.
                if groups.setdefault(group.name, group) != group:
                    faults.add(f"listeners[{index}]", f"two different target groups are named {group.name!r}; give each a name of its own")

    def _check_logs(self, faults: Faults) -> None:
        for name, kind in _LOGS.items():
            given = getattr(self, name)
            if given is not None and not isinstance(given, kind):
                faults.add(name, f'{given!r} is not {kind.__name__}(...) or None; give {kind.__name__}("{name.removesuffix("_log")}.log")')
        first: dict[str, tuple[str, LogDestination]] = {}
        for place, log in self.logs:
            if log.path is not None:
                before = first.setdefault(os.path.normpath(log.path), (place, log))
                if log.way_of_writing != before[1].way_of_writing:
                    wrong = f"{log.path!r} is also the file of {before[0]}, with another rotation, keep or buffer_size; make them equal"
                    faults.add(place, wrong)

    def _check_tunnels(self, faults: Faults) -> None:
        """Check the tunnel policies that use the load balancer's idle timeout against it."""
        for index, listener in enumerate(self.listeners):
            for whose, policy in _policies(listener) if isinstance(listener, Listener) else ():
                wrong = policy.fault_of_idle_timeout(self.idle_timeout) if policy.idle_timeout is None else None
                if wrong:
                    faults.add(f"listeners[{index}]", f"the ping_interval of {whose}: {wrong}")

    @cached_property
    def logs(self) -> tuple[tuple[str, LogDestination], ...]:
        """Every log that is in use, with the path of its setting."""
        listeners = [(index, listener) for index, listener in enumerate(self.listeners) if isinstance(listener, Listener)]
        logs: list[tuple[str, LogDestination]] = []
        for name in ("access_log", "connection_log"):
            common = getattr(self, name)
            if isinstance(common, LogDestination) and any(getattr(listener, name) is None for _, listener in listeners):
                logs.append((name, common))
            for index, listener in listeners:
                own = getattr(listener, name)
                if isinstance(own, LogDestination):
                    logs.append((f"listeners[{index}].{name}", own))
        if isinstance(self.health_check_log, LogDestination):
            logs.append(("health_check_log", self.health_check_log))
        return tuple(logs)

    @cached_property
    def groups(self) -> tuple[TargetGroup, ...]:
        """Every target group in use, without duplicates, in order of appearance."""
        return tuple(dict.fromkeys(group for listener in self.listeners for group in listener.groups))

    @cached_property
    def stream_groups(self) -> frozenset[str]:
        """The names of the target groups that only TCP and TLS listeners forward to."""
        # A group that HTTP listeners use as well is not among them: its health checks and connections are those of HTTP.
        streams = {group.name for listener in self.listeners if listener.is_stream for group in listener.groups}
        others = {group.name for listener in self.listeners if not listener.is_stream for group in listener.groups} if streams else set()
        return frozenset(streams - others)

    @cached_property
    def tunnel_policies(self) -> tuple[TunnelPolicy, ...]:
        """Every tunnel policy in use, without duplicates."""
        return tuple(dict.fromkeys(policy for listener in self.listeners for _, policy in _policies(listener)))


def _which(listener: Listener) -> str:
    """The name of the argument that two listeners may not share."""
    if listener.inherited_socket is not None:
        return "inherited_socket"
    return "host" if listener.socket_path is not None else "port"


def _policies(listener: Listener) -> Iterator[tuple[str, TunnelPolicy]]:
    for group in listener.groups:
        yield f"target group {group.name!r}", group.tunnel
    for forward in listener.forwards:
        if forward.tunnel is not None:
            yield f"a Forward to {forward.group.name!r}", forward.tunnel
