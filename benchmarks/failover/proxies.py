"""The proxies, each configured as its users would for targets that may fail, and how each takes a target out of service and back.

All have the same timeouts: 1 s to connect to a target, 2 s for a response, two more attempts. Those with health checks check every 0.5 s,
and need two equal results in a row.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import MeasurementError, installed

__all__ = ("PROXIES", "Proxy")

_HERE = Path(__file__).resolve().parent
_CONTROL_TIMEOUT = 15.0

_NGINX = """\
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream targets {{
        {servers}
        keepalive 64;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://targets;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_connect_timeout 1s;
            proxy_send_timeout 2s;
            proxy_read_timeout 2s;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
        }}
    }}
}}
"""

_HAPROXY = """\
global
    nbthread 1
    maxconn 4096
    stats socket {socket} mode 600 level admin
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 2s
    timeout check 500ms
    option forwardfor
    option redispatch 1
    retries 2
    retry-on conn-failure empty-response response-timeout
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend targets
backend targets
    balance roundrobin
    http-request disable-l7-retry if METH_POST
    option httpchk GET /health
    default-server check inter 500ms fall 2 rise 2 observe layer7 error-limit 3 on-error mark-down
    {servers}
"""


class Proxy(ABC):
    """One proxy of a run.

    Args:
        directory: Its own directory.
        port: The port on 127.0.0.1 to listen on.
        targets: The targets' ports, by name.
    """

    name: str
    needs: str | None = None
    """The program that must be installed."""

    def __init__(self, directory: Path, port: int, targets: Mapping[str, int]) -> None:
        self.directory = directory
        self.port = port
        self.targets = targets

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """The version of the program, and other relevant facts about it."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command that starts it."""

    @abstractmethod
    async def drain(self, target: str) -> None:
        """Send no new requests to a target; those in progress continue."""

    @abstractmethod
    async def ready(self, target: str) -> None:
        """Return a drained target to service."""


class Albkit(Proxy):
    name = "albkit"

    @classmethod
    def version(cls) -> str:
        told = subprocess.run([*cls._start(), "--version"], capture_output=True, text=True, check=False)
        if told.returncode:
            raise MeasurementError(f"albkit cannot be started: {told.stderr.strip()[-500:]}")
        return told.stdout.strip()

    def command(self) -> list[str]:
        return [*self._start(), str(self._control), str(self.port), *map(str, self.targets.values())]

    async def drain(self, target: str) -> None:
        await _tell(self._control, f"drain 127.0.0.1:{self.targets[target]}", "ok")

    async def ready(self, target: str) -> None:
        await _tell(self._control, f"ready 127.0.0.1:{self.targets[target]}", "ok")

    @staticmethod
    def _start() -> list[str]:
        path = os.pathsep.join(filter(None, (str(_HERE.parent), os.environ.get("PYTHONPATH"))))
        return ["env", f"PYTHONPATH={path}", sys.executable, str(_HERE / "albkit_proxy.py")]

    @property
    def _control(self) -> Path:
        return self.directory / "control"


class Nginx(Proxy):
    """It has passive checks only, and takes a target out of service by a reload; the new worker does not know what the old one has
    learned."""

    name = needs = "nginx"

    def __init__(self, directory: Path, port: int, targets: Mapping[str, int]) -> None:
        super().__init__(directory, port, targets)
        self._down: set[str] = set()

    @classmethod
    def version(cls) -> str:
        told = subprocess.run([_program("nginx"), "-v"], capture_output=True, text=True, check=False).stderr
        return told.strip().rpartition("/")[2]

    def command(self) -> list[str]:
        self._write()
        return [_program("nginx"), "-p", str(self.directory), "-c", str(self._configuration), "-e", "stderr"]

    async def drain(self, target: str) -> None:
        self._down.add(target)
        self._reload()

    async def ready(self, target: str) -> None:
        self._down.discard(target)
        self._reload()

    @property
    def _configuration(self) -> Path:
        return self.directory / "nginx.conf"

    def _reload(self) -> None:
        self._write()
        os.kill(int((self.directory / "nginx.pid").read_text()), signal.SIGHUP)

    def _write(self) -> None:
        servers = []
        for name, port in self.targets.items():
            down = " down" if name in self._down else ""
            servers.append(f"server 127.0.0.1:{port} max_fails=3 fail_timeout=2s{down};")
        self._configuration.write_text(_NGINX.format(directory=self.directory, port=self.port, servers="\n        ".join(servers)))


class Haproxy(Proxy):
    name = needs = "haproxy"

    @classmethod
    def version(cls) -> str:
        told = subprocess.run([_program("haproxy"), "-v"], capture_output=True, text=True, check=False).stdout
        return told.split()[2] if len(told.split()) > 2 else "?"

    def command(self) -> list[str]:
        servers = "\n    ".join(f"server {name} 127.0.0.1:{port}" for name, port in self.targets.items())
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(_HAPROXY.format(socket=self._socket, port=self.port, servers=servers))
        return [_program("haproxy"), "-db", "-f", str(configuration)]

    async def drain(self, target: str) -> None:
        await _tell(self._socket, f"set server targets/{target} state drain", "")

    async def ready(self, target: str) -> None:
        await _tell(self._socket, f"set server targets/{target} state ready", "")

    @property
    def _socket(self) -> Path:
        return self.directory / "admin"


def _program(name: str) -> str:
    path = installed(name)
    if path is None:
        raise MeasurementError(f"{name} is not installed: apt-get install {name}")
    return path


async def _tell(path: Path, words: str, wanted: str) -> None:
    """Send one command over a unix socket, and check the answer.

    Raises:
        MeasurementError: the answer differs, or there is none.
    """
    try:
        async with asyncio.timeout(_CONTROL_TIMEOUT):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(f"{words}\n".encode())
                answer = (await reader.read()).decode().strip()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise MeasurementError(f"{words!r} got no answer: {error!r}") from error
    if answer != wanted:
        raise MeasurementError(f"{words!r} was answered by {answer!r}")


_ALL: Sequence[type[Proxy]] = (Albkit, Nginx, Haproxy)
PROXIES: Mapping[str, type[Proxy]] = {proxy.name: proxy for proxy in _ALL}
