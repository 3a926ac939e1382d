"""Apache httpd: mod_proxy_balancer under the event MPM."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from benchmarks.measure import installed, said
from benchmarks.peers.peer import ANY_RULES, Need, Peer, Place, rule_path

__all__ = ("PEER",)

_MODULES: Final = Path("/usr/lib/apache2/modules")
_LOADED = (
    "mpm_event",
    "authz_core",
    "env",
    "headers",
    "proxy",
    "proxy_http",
    "proxy_wstunnel",
    "slotmem_shm",
    "proxy_balancer",
    "lbmethod_byrequests",
    "lbmethod_bybusyness",
)
_CONFIGURATION = """\
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/httpd.pid
Mutex pthread
Listen 127.0.0.1:{port}
ListenBacklog 4096
ServerName localhost
ErrorLog /dev/stderr
LogLevel error
{modules}
{tls}
{user}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 300
Timeout 300
StartServers {processes}
ServerLimit {processes}
ThreadsPerChild {threads}
ThreadLimit {threads}
MaxRequestWorkers {workers}
MinSpareThreads 1
MaxSpareThreads {workers}
AsyncRequestWorkerFactor 200
{log}
{route}
<Proxy balancer://targets>
    {members}
    ProxySet lbmethod={algorithm}{session}
</Proxy>
RequestHeader set X-Forwarded-Proto {protocol}
RequestHeader set X-Forwarded-Port {port}
ProxyPreserveHost On
{rules}
"""
_THREADS: Final = 1024
"""Per process. If all threads are busy, the process closes keep-alive connections, which a load counts as errors."""
_ALGORITHMS = {"round_robin": "byrequests", "least_outstanding_requests": "bybusyness"}
_ROUTE = 'Header add Set-Cookie "ROUTE=.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED'
_TLS = """\
SSLEngine on
SSLCertificateFile {shown.certificate}
SSLCertificateKeyFile {shown.key}
SSLSessionCache shmcb:{directory}/sessions(512000)"""
_LOG = (
    'LogFormat "%h %l %u %t \\"%r\\" %>s %b \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\"" combined\nCustomLog {directory}/access.log combined'
)


def _proxy(place: Place) -> list[str]:
    setup = place.setup
    # A tunnel keeps a thread for itself.
    processes = setup.connections // _THREADS + 1 if setup.tunnels else 1
    passed = [*map(rule_path, range(setup.rules)), "/"]
    upgrade = " upgrade=websocket" if setup.tunnels else ""
    configuration = place.directory / "httpd.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=place.directory,
            port=place.port,
            modules="\n".join(
                f"LoadModule {name}_module {_MODULES}/mod_{name}.so"
                for name in (*_LOADED, *(["ssl", "socache_shmcb"] if place.shown is not None else []))
            ),
            tls="" if place.shown is None else _TLS.format(shown=place.shown, directory=place.directory),
            protocol="http" if place.shown is None else "https",
            user="User www-data\nGroup www-data" if os.getuid() == 0 else "",
            processes=processes,
            threads=_THREADS,
            workers=_THREADS * processes,
            log=_LOG.format(directory=place.directory) if setup.access_log else "",
            route=_ROUTE if setup.sticky else "",
            members="\n    ".join(
                f"BalancerMember http://127.0.0.1:{target}{f' route=t{number}' if setup.sticky else ''}{upgrade}"
                for number, target in enumerate(place.targets)
            ),
            algorithm=_ALGORITHMS[setup.algorithm],
            session=" stickysession=ROUTE" if setup.sticky else "",
            rules="\n".join(f"ProxyPass {path} balancer://targets{path}" for path in passed),
        )
    )
    return [str(installed("apache2")), "-D", "FOREGROUND", "-f", str(configuration)]


PEER: Final = Peer(
    "apache",
    "Apache httpd, mod_proxy_balancer under the event MPM",
    _proxy,
    needs=(Need("apt", "apache2", lambda: installed("apache2") is not None and _MODULES.is_dir()),),
    version=lambda: said("apache2", "-v").partition("\n")[0].rpartition("/")[2],
    rules=ANY_RULES,
    access_logs=("combined",),
    algorithms=_ALGORITHMS,
    sticky=("lb_cookie",),
)
