"""Caddy."""

from __future__ import annotations

from typing import Final

from benchmarks.measure import installed, said
from benchmarks.peers.peer import Need, Peer, Place, rule_path

__all__ = ("PEER",)

_CONFIGURATION = """\
{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
}}
(targets) {{
    reverse_proxy {servers} {{
        lb_policy {algorithm}
        transport http {{
            keepalive_idle_conns_per_host 1024
        }}
    }}
}}
{protocol}://:{port} {{
    bind 127.0.0.1
    {tls}
    {log}
    {rules}
    handle {{
        import targets
    }}
}}
"""
_ALGORITHMS = {"round_robin": "round_robin", "least_outstanding_requests": "least_conn", "weighted_random": "random"}
_LOG = """\
log {{
        level INFO
        output file {directory}/access.log
    }}"""
_RULE = """\
handle {path}* {{
        import targets
    }}"""


def _proxy(place: Place) -> list[str]:
    setup = place.setup
    configuration = place.directory / "Caddyfile"
    configuration.write_text(
        _CONFIGURATION.format(
            servers=" ".join(f"127.0.0.1:{target}" for target in place.targets),
            algorithm="cookie" if setup.sticky else _ALGORITHMS[setup.algorithm],
            port=place.port,
            protocol="http" if place.shown is None else "https",
            tls="" if place.shown is None else f"tls {place.shown.certificate} {place.shown.key}",
            log=_LOG.format(directory=place.directory) if setup.access_log else "",
            rules="\n    ".join(_RULE.format(path=rule_path(number)) for number in range(setup.rules)),
        )
    )
    # Whatever it keeps of its own, it keeps there.
    home = [f"{name}={place.directory}" for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")]
    return ["env", *home, str(installed("caddy")), "run", "--config", str(configuration), "--adapter", "caddyfile"]


PEER: Final = Peer(
    "caddy",
    "Caddy",
    _proxy,
    needs=(Need("apt", "caddy", lambda: installed("caddy") is not None),),
    version=lambda: said("caddy", "version").split()[0],
    rules=1_000,
    access_logs=("combined",),
    algorithms=_ALGORITHMS,
    sticky=("lb_cookie",),
)
