"""Envoy."""

from __future__ import annotations

import json
from typing import Any, Final

from benchmarks.measure import installed, said
from benchmarks.peers.peer import Need, Peer, Place

__all__ = ("PEER",)

_TYPES: Final = "type.googleapis.com/envoy.extensions"
_WHERE: Final = "no package of Debian or PyPI; put a binary from https://www.envoyproxy.io/docs/envoy/latest/start/install into PATH"


def _proxy(place: Place) -> list[str]:
    configuration = place.directory / "envoy.json"
    configuration.write_text(json.dumps({"static_resources": {"listeners": [_listener(place)], "clusters": [_cluster(place)]}}, indent=2))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [str(installed("envoy")), "--config-path", str(configuration), *options]


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _listener(place: Place) -> dict[str, Any]:
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "codec_type": "AUTO",
        "stat_prefix": "clients",
        "use_remote_address": True,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "targets", "timeout": "60s"}}],
                }
            ]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}}],
    }
    chain: dict[str, Any] = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    if place.shown is not None:
        chain["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                    "tls_certificates": [
                        {
                            "certificate_chain": {"filename": str(place.shown.certificate)},
                            "private_key": {"filename": str(place.shown.key)},
                        }
                    ],
                },
            },
        }
    return {"name": "clients", "address": _address(place.port), "filter_chains": [chain]}


def _cluster(place: Place) -> dict[str, Any]:
    protocol = "http_protocol_options" if place.setup.target_protocol == "HTTP1" else "http2_protocol_options"
    return {
        "name": "targets",
        "type": "STATIC",
        "connect_timeout": "10s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": "targets",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(target)}} for target in place.targets]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {protocol: {}},
            }
        },
    }


def _version() -> str:
    """`envoy --version` prints `envoy  version: REVISION/1.36.0/Clean/RELEASE/BoringSSL`."""
    return said("envoy", "--version").split("/")[1]


PEER: Final = Peer(
    "envoy",
    "Envoy, one worker; HTTP/2 only",
    _proxy,
    needs=(Need("manual", _WHERE, lambda: installed("envoy") is not None),),
    version=_version,
    http1=False,
    tunnels=False,
    http2=True,
    target_protocols=("HTTP1", "HTTP2", "GRPC"),
)
