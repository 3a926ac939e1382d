"""nginx, as a proxy and as the target of HTTP requests."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from benchmarks.answers import BODY, FILES, HUGE
from benchmarks.measure import MeasurementError, installed, said
from benchmarks.peers.peer import ANY_RULES, MOST_REQUESTS, Need, Peer, Place, rule_path

__all__ = ("PEER", "target")

_MAIN = """\
worker_processes 1;
daemon off;
{user}
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    keepalive_requests {most};
    keepalive_timeout 300s;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {inside}
}}
"""

_TARGET_SERVER = """\
    server {{
        {listen}
        client_max_body_size 16m;
        location / {{ default_type text/plain; return 200 "{body}"; }}
        location = /large {{ default_type application/octet-stream; sendfile on; alias {directory}/large; }}
        # Whatever looks into a body takes its length away, and then it goes out in a chunk for each buffer.
        location = /chunked {{ default_type text/html; ssi on; output_buffers 1 4k; alias {directory}/chunked; }}
        location = /huge {{ default_type application/octet-stream; sendfile on; alias {directory}/huge; }}
        # It answers when it has all of the body, which nginx itself does only for a body that it passes on.
        location = /sink {{
            client_max_body_size 0;
            client_body_buffer_size {sink};
            proxy_http_version 1.1;
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_pass http://unix:{directory}/sink.sock:/x;
        }}
    }}
"""

_PROXY_SERVER = """\
    upstream targets {{
        {algorithm}
        {servers}
        keepalive 1024;
        keepalive_requests {most};
    }}
    server {{
        {listen}
        {log}
        {streamed}
        # A body of 64 KiB or 1 MiB must not take the way over a file.
        client_body_buffer_size 128k;
        proxy_max_temp_file_size 0;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Port $server_port;
        {locations}
    }}
"""

_GRPC_SERVER = """\
    upstream targets {{
        {servers}
        keepalive 1024;
        keepalive_requests {most};
    }}
    server {{
        {listen}
        location / {{
            grpc_pass grpc://targets;
            grpc_set_header Host $host;
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            grpc_set_header X-Forwarded-Proto $scheme;
            grpc_set_header X-Forwarded-Port $server_port;
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
        {listen}
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

_STREAMED = "proxy_request_buffering off; client_max_body_size 0;"
_LOCATION = "location {path} {{ proxy_pass http://targets; }}"
_ALGORITHMS = {"round_robin": "", "least_outstanding_requests": "least_conn;", "weighted_random": "random;"}


def _proxy(place: Place) -> list[str]:
    setup = place.setup
    servers = _indented(f"server 127.0.0.1:{target};" for target in place.targets)
    # It closes clients' connections when less than a sixteenth is free; each takes another one to a target.
    connections = 2 * setup.connections * 9 // 8 + 200
    if setup.tunnels:
        return _started(place, _TUNNEL_SERVER.format(servers=servers, listen=_listen(place, [place.port])), connections)
    if setup.target_protocol == "GRPC":
        return _started(place, _GRPC_SERVER.format(servers=servers, listen=_listen(place, [place.port]), most=MOST_REQUESTS), connections)
    inside = _PROXY_SERVER.format(
        algorithm=_ALGORITHMS[setup.algorithm],
        servers=servers,
        listen=_listen(place, [place.port]),
        most=MOST_REQUESTS,
        streamed=_STREAMED if setup.http2 else "",
        log=f"access_log {place.directory}/access.log;" if setup.access_log else "",
        locations=_indented(_LOCATION.format(path=path) for path in [*map(rule_path, range(setup.rules)), "/"]),
    )
    return _started(place, inside, connections)


def target(place: Place) -> list[str]:
    """The target: small, large and chunked responses on each of its ports, and a sink for large bodies."""
    for path, content in FILES.items():
        (place.directory / path[1:]).write_bytes(content)
    with (place.directory / "huge").open("wb") as huge:
        # A hole, which takes no room on the disk.
        huge.truncate(HUGE)
    body = BODY.decode().replace("\n", r"\n")
    listen = f"{_listen(place, place.targets)} listen unix:{place.directory}/sink.sock;"
    return _started(place, _TARGET_SERVER.format(listen=listen, body=body, directory=place.directory, sink=HUGE), 16384)


def _listen(place: Place, ports: Iterable[int]) -> str:
    shown = place.shown
    protocols = " ssl" * (shown is not None) + " http2" * place.setup.http2
    lines = [f"listen 127.0.0.1:{port}{protocols} backlog=4096;" for port in ports]
    if shown is not None:
        # Before 1.23.4 it has no TLS 1.3 by itself.
        lines += [f"ssl_certificate {shown.certificate};", f"ssl_certificate_key {shown.key};", "ssl_protocols TLSv1.2 TLSv1.3;"]
    return _indented(lines)


def _started(place: Place, inside: str, connections: int) -> list[str]:
    nginx = installed("nginx")
    if nginx is None:
        raise MeasurementError("nginx is not installed, but required as the target: apt-get install nginx")
    configuration = place.directory / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    configuration.write_text(
        _MAIN.format(directory=place.directory, user=user, most=MOST_REQUESTS, connections=connections, inside=inside.strip())
    )
    return [nginx, "-p", str(place.directory), "-c", str(configuration), "-e", "stderr"]


def _indented(lines: Iterable[str]) -> str:
    return "\n        ".join(lines)


PEER: Final = Peer(
    "nginx",
    "nginx, one worker",
    _proxy,
    needs=(Need("apt", "nginx", lambda: installed("nginx") is not None),),
    version=lambda: said("nginx", "-v").rpartition("/")[2],
    rules=ANY_RULES,
    access_logs=("combined",),
    algorithms=_ALGORITHMS,
    http2=True,
    target_protocols=("HTTP1", "GRPC"),
)
