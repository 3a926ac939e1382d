"""Proxies in Python: albkit, one made of aiohttp, proxy.py."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from pathlib import Path
from typing import Final

from albkit.model.attributes import ATTRIBUTES
from benchmarks.peers.peer import ANY_RULES, Need, Peer, Place
from benchmarks.peers.programs import SOURCES

__all__ = ("ACCESS_LOGS", "AIOHTTP", "ALGORITHMS", "CHECKOUT", "METRICS", "PROXY_PY", "STICKINESS", "albkit_of")

CHECKOUT: Final = SOURCES.parents[2]
ALGORITHMS: Final = ATTRIBUTES["TargetGroup", "algorithm"].choices
"""albkit's algorithms, as its table of settings lists them."""
STICKINESS: Final = ("lb_cookie", "lb_cookie_secrets", "app_cookie", "source_address", "key", "group")
"""albkit's kinds of stickiness; its program defines each."""
ACCESS_LOGS: Final = ATTRIBUTES["AccessLog", "format"].choices
"""albkit's formats of access logs."""
METRICS: Final = ("subscriber", "scraped")
"""The uses of metrics that albkit's program knows."""


def albkit_of(checkout: Path, name: str, what: str, *options: str, http: bool = True, tunnels: bool = True) -> Peer:
    """albkit from a checkout.

    Args:
        checkout: The directory.
        name: The proxy's name.
        what: A short description.
        options: Options of its program.
        http: Whether to measure it with requests.
        tunnels: Whether to measure it with tunnels.
    """
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))

    def command(place: Place) -> list[str]:
        setup = place.setup
        asked = list(options)
        if setup.rules:
            asked.append(f"--rules={setup.rules}")
        if setup.algorithm != "round_robin":
            asked.append(f"--algorithm={setup.algorithm}")
        if setup.sticky:
            asked.append(f"--sticky={setup.sticky}")
        if setup.access_log:
            asked += [f"--access-log={place.directory / 'access.log'}", f"--access-log-format={setup.access_log}"]
        if setup.metrics:
            asked.append(f"--metrics={setup.metrics}")
        if setup.http2:
            asked.append("--http2")
        if setup.target_protocol != "HTTP1":
            asked.append(f"--target-protocol={setup.target_protocol}")
        asked += _shown(place)
        return ["env", f"PYTHONPATH={path}", *_python("albkit_proxy.py", *asked, place.port, *place.targets)]

    known = {algorithm: algorithm for algorithm in ALGORITHMS}
    # A baseline from before HTTP/2 is left out of what needs it.
    http2 = (checkout / "albkit" / "proxy" / "http2").is_dir()
    # Likewise from before access logs and metrics.
    logs = (checkout / "albkit" / "model" / "access_log.py").is_file()
    events = (checkout / "albkit" / "control" / "exchange_events.py").is_file()
    metrics = (checkout / "albkit" / "report" / "prometheus.py").is_file()
    return Peer(
        name,
        what,
        command,
        version=_version,
        http=http,
        tunnels=tunnels,
        rules=ANY_RULES,
        algorithms=known,
        sticky=STICKINESS,
        access_logs=ACCESS_LOGS if logs else (),
        metrics=[use for use, known in zip(METRICS, (events, metrics), strict=True) if known],
        http2=http2,
        target_protocols=("HTTP1", "HTTP2", "GRPC") if http2 else ("HTTP1",),
    )


def _version() -> str:
    return f"{importlib.metadata.version('albkit')} on Python {platform.python_version()}"


def _shown(place: Place) -> list[str]:
    shown = place.shown
    return [] if shown is None else [f"--certificate={shown.certificate}", f"--key={shown.key}"]


def _python(program: str, *arguments: object) -> list[str]:
    return [sys.executable, str(SOURCES / program), *map(str, arguments)]


def _aiohttp(place: Place) -> list[str]:
    return _python("aiohttp_bridge.py" if place.setup.tunnels else "aiohttp_proxy.py", *_shown(place), place.port, *place.targets)


def _proxy_py(place: Place) -> list[str]:
    targets = ",".join(map(str, place.targets))
    options = ["--hostname=127.0.0.1", f"--port={place.port}", "--num-acceptors=1", "--num-workers=1", "--threaded", "--log-level=ERROR"]
    # Without threads it fails as soon as a client sends a second request over its connection.
    plugin = ["--disable-http-proxy", "--enable-reverse-proxy", "--plugins=proxy_py_routes.Routes", "--timeout=300", "--backlog=4096"]
    where = [f"PYTHONPATH={SOURCES}", f"BENCHMARK_TARGETS={targets}", f"HOME={place.directory}"]
    return ["env", *where, sys.executable, "-m", "proxy", *options, *plugin]


AIOHTTP: Final = Peer("aiohttp", "aiohttp.web and ClientSession on uvloop", _aiohttp, version=lambda: importlib.metadata.version("aiohttp"))
PROXY_PY: Final = Peer(
    "proxy.py",
    "proxy.py as a reverse proxy",
    _proxy_py,
    tls=False,
    tls_tunnels=False,
    clients=1_500,
    needs=(Need("pip", "proxy.py", lambda: importlib.util.find_spec("proxy") is not None),),
    version=lambda: importlib.metadata.version("proxy.py"),
)
