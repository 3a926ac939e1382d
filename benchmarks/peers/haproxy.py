"""HAProxy."""

from __future__ import annotations

import resource
from typing import Final

from benchmarks.measure import installed, said
from benchmarks.peers.peer import ANY_RULES, Need, Peer, Place, rule_path

__all__ = ("PEER",)

_CONFIGURATION = """\
global
    nbthread 1
    maxconn {connections}
    {log}
defaults
    mode http
    timeout connect 10s
    timeout client 300s
    timeout server 60s
    timeout tunnel 1h
    option forwardfor
    {log_requests}
frontend clients
    bind 127.0.0.1:{port} backlog 4096{tls}
    http-request set-header X-Forwarded-Proto {protocol}
    http-request set-header X-Forwarded-Port %[dst_port]
    {rules}
    default_backend targets
backend targets
    balance {algorithm}
    http-reuse always
    {cookie}
    {servers}
"""
_CONNECTIONS = 8000
_ALGORITHMS = {"round_robin": "roundrobin", "least_outstanding_requests": "leastconn", "weighted_random": "random"}


def _proxy(place: Place) -> list[str]:
    setup = place.setup
    rules = place.directory / "rules.map"
    if setup.rules:
        rules.write_text("".join(f"{rule_path(number)} targets\n" for number in range(setup.rules)))
    cookie = " cookie t{}" if setup.sticky else ""
    protocol = "" if setup.target_protocol == "HTTP1" else " proto h2"
    configuration = place.directory / "haproxy.cfg"
    configuration.write_text(
        _CONFIGURATION.format(
            # The connections to targets that it keeps are a share of what it may have.
            connections=max(setup.connections + 100, min(_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)),
            log="log stdout format raw local0" if setup.access_log else "",
            log_requests="log global\n    option httplog" if setup.access_log else "",
            port=place.port,
            tls=_protocols(place),
            protocol="http" if place.shown is None else "https",
            rules=f"use_backend %[path,map_beg({rules})]" if setup.rules else "",
            algorithm=_ALGORITHMS[setup.algorithm],
            cookie="cookie ROUTE insert indirect nocache" if setup.sticky else "",
            servers="\n    ".join(
                f"server t{number} 127.0.0.1:{target}{cookie.format(number)}{protocol}" for number, target in enumerate(place.targets)
            ),
        )
    )
    return [str(installed("haproxy")), "-db", "-f", str(configuration)]


def _protocols(place: Place) -> str:
    """The options of its port: TLS, and HTTP/2."""
    if place.shown is None:
        return " proto h2" if place.setup.http2 else ""
    return f" ssl crt {place.shown.both}{' alpn h2' if place.setup.http2 else ''}"


PEER: Final = Peer(
    "haproxy",
    "HAProxy, one thread",
    _proxy,
    needs=(Need("apt", "haproxy", lambda: installed("haproxy") is not None),),
    version=lambda: said("haproxy", "-v").partition("\n")[0].split()[2],
    rules=ANY_RULES,
    access_logs=("combined",),
    algorithms=_ALGORITHMS,
    sticky=("lb_cookie",),
    http2=True,
    target_protocols=("HTTP1", "HTTP2", "GRPC"),
)
