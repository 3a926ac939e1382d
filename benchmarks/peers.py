"""How each proxy, and the target behind all of them, is started."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import Cores, MeasurementError, Program, free_ports, installed, running

__all__ = ("BODY", "OPTIONAL", "PEERS", "TUNNEL_TARGET", "Peer", "RunningPeer", "albkit_of", "all_running", "tunnel_peers")

BODY = b"The answer of the target".ljust(63, b".") + b"\n"

_HERE = Path(__file__).resolve().parent
_TARGETS = 3
_MOST_REQUESTS = 1_000_000_000
"""Of one connection: far above what a run reaches, so that connections are kept on both sides."""

_NGINX = """\
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests {most};
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {inside}
}}
"""

_TARGET_SERVER = """\
    keepalive_timeout 300s;
    server {{
        {listen}
        location / {{ default_type text/plain; return 200 "{body}"; }}
    }}
"""

_PROXY_SERVER = """\
    upstream targets {{
        {servers}
        keepalive 256;
        keepalive_requests {most};
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://targets;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Port $server_port;
        }}
    }}
"""


_TUNNEL_SERVER = """\
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" close;
    }}
    upstream targets {{
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://targets;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }}
    }}
"""

_HAPROXY = """\
global
    nbthread 1
    maxconn {tunnels}
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    option forwardfor
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Port %[dst_port]
    default_backend targets
backend targets
    balance roundrobin
    {servers}
"""


class Peer(NamedTuple):
    """A proxy to be measured."""

    name: str
    command: Callable[[Path, int, Sequence[int]], list[str]]
    """What starts it, given a directory of its own, the port to listen on, and the ports of the targets."""
    needs: str | None = None
    """The program that must be installed."""


class RunningPeer(NamedTuple):
    """A proxy that takes requests."""

    name: str
    port: int
    program: Program


def albkit_of(checkout: Path, name: str, *options: str) -> Peer:
    """albkit as it is in a checkout."""
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))

    def command(_: Path, port: int, targets: Sequence[int]) -> list[str]:
        return ["env", f"PYTHONPATH={path}", *_python("albkit_proxy", *options, port, *targets)]

    return Peer(name, command)


def _aiohttp(_: Path, port: int, targets: Sequence[int]) -> list[str]:
    return _python("aiohttp_proxy", port, *targets)


def _python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, str(_HERE / f"{program}.py"), *map(str, arguments)]


def _nginx(directory: Path, port: int, targets: Sequence[int]) -> list[str]:
    servers = "\n        ".join(f"server 127.0.0.1:{target};" for target in targets)
    return _nginx_with(directory, _PROXY_SERVER.format(servers=servers, port=port, most=_MOST_REQUESTS))


def _target(directory: Path, _: int, ports: Sequence[int]) -> list[str]:
    listen = "\n        ".join(f"listen 127.0.0.1:{port} backlog=4096;" for port in ports)
    return _nginx_with(directory, _TARGET_SERVER.format(listen=listen, body=BODY.decode().replace("\n", r"\n")))


def _nginx_with(directory: Path, inside: str, connections: int = 8192) -> list[str]:
    nginx = installed("nginx")
    if nginx is None:
        raise MeasurementError("nginx is not installed, and it is the target too: apt-get install nginx")
    configuration = directory / "nginx.conf"
    configuration.write_text(_NGINX.format(directory=directory, most=_MOST_REQUESTS, connections=connections, inside=inside.strip()))
    return [nginx, "-p", str(directory), "-c", str(configuration), "-e", "stderr"]


_TARGET = Peer("target", _target)
PEERS = {
    "albkit": albkit_of(_HERE.parent, "albkit"),
    "nginx": Peer("nginx", _nginx),
    "aiohttp": Peer("aiohttp", _aiohttp),
    "albkit-sticky": albkit_of(_HERE.parent, "albkit-sticky", "--sticky"),
}
OPTIONAL = ("albkit-sticky",)
"""Measured only when asked for."""


def tunnel_peers(tunnels: int) -> dict[str, Peer]:
    """The proxies for tunnels, by name, each with room for so many."""

    def nginx(directory: Path, port: int, targets: Sequence[int]) -> list[str]:
        servers = "\n        ".join(f"server 127.0.0.1:{target};" for target in targets)
        # It closes clients' connections when less than a sixteenth is free.
        connections = 2 * tunnels * 9 // 8 + 200
        return _nginx_with(directory, _TUNNEL_SERVER.format(servers=servers, port=port), connections)

    def haproxy(directory: Path, port: int, targets: Sequence[int]) -> list[str]:
        program = installed("haproxy")
        if program is None:
            raise MeasurementError("haproxy is not installed: apt-get install haproxy")
        servers = "\n    ".join(f"server target{number} 127.0.0.1:{target}" for number, target in enumerate(targets))
        configuration = directory / "haproxy.cfg"
        configuration.write_text(_HAPROXY.format(tunnels=tunnels, port=port, servers=servers))
        return [program, "-db", "-f", str(configuration)]

    peers = (
        albkit_of(_HERE.parent, "albkit"),
        albkit_of(_HERE.parent, "albkit-raw", "--raw"),
        Peer("nginx", nginx, "nginx"),
        Peer("haproxy", haproxy, "haproxy"),
        Peer("aiohttp", lambda _, port, targets: _python("aiohttp_bridge", port, *targets)),
    )
    return {peer.name: peer for peer in peers}


TUNNEL_TARGET = Peer("target", lambda _directory, _port, ports: _python("tunnel_target", *ports))
"""What all of them lead to."""


@contextlib.contextmanager
def all_running(peers: Sequence[Peer], cores: Cores, directory: Path, target: Peer = _TARGET) -> Iterator[list[RunningPeer]]:
    """The target and every proxy, each ended when the block ends.

    Args:
        peers: The proxies.
        cores: Where they and the target run.
        directory: For their configuration and logs.
        target: What they lead to.
    """
    targets = free_ports(_TARGETS + len(peers))
    ports = [targets.pop() for _ in peers]
    with contextlib.ExitStack() as stack:

        def start(peer: Peer, port: int, core: int) -> RunningPeer:
            own = directory / peer.name
            own.mkdir()
            command = peer.command(own, port, targets)
            program = stack.enter_context(running(peer.name, command, core=core, directory=own))
            program.await_port(port)
            return RunningPeer(peer.name, port, program)

        start(target, targets[0], cores.load)
        yield [start(peer, port, cores.proxy) for peer, port in zip(peers, ports, strict=True)]
