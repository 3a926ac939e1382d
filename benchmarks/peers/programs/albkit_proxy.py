"""albkit as a program would use it: one listener, one target group, and defaults for everything that is not requested."""

from __future__ import annotations

import argparse
from typing import Any

import albkit as alb

_MOST_REQUESTS = 1_000_000_000
"""Requests per HTTP/2 connection: far more than a run sends, as for the other proxies (`MOST_REQUESTS`)."""


def _stickiness(kind: str) -> Any:
    """Looked up by name, because an older baseline has fewer kinds."""
    if kind == "lb_cookie":
        return alb.LbCookie()
    if kind == "lb_cookie_secrets":
        return alb.LbCookie(secrets="no secret, since all of this is public")
    if kind == "app_cookie":
        return alb.AppCookie("session")
    if kind == "source_address":
        return alb.SourceAddress()
    if kind == "key":
        return lambda request: request.path
    raise SystemExit(f"no stickiness is called {kind!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sticky", help="sessions stay with their target, or with their group")
    parser.add_argument("--raw", action="store_true", help="tunnels are not frame-tracked")
    parser.add_argument("--rules", type=int, default=0, help="path prefixes before the default")
    parser.add_argument("--algorithm", help="which target gets a request")
    parser.add_argument("--http2", action="store_true", help="clients use HTTP/2, and as many requests per connection as they like")
    parser.add_argument("--target-protocol", help="HTTP1, HTTP2 or GRPC")
    parser.add_argument("--certificate", help="the certificate for clients; without one there is no TLS")
    parser.add_argument("--key", help="the key of the certificate")
    parser.add_argument("port", type=int)
    parser.add_argument("targets", type=int, nargs="+", help="ports of 127.0.0.1")
    given = parser.parse_args()
    settings: dict[str, Any] = {}
    if given.algorithm is not None:
        settings["algorithm"] = given.algorithm
    if given.sticky and given.sticky != "group":
        settings["stickiness"] = _stickiness(given.sticky)
    # A baseline from before there were tunnel policies tracks no frames anyway.
    if given.raw and hasattr(alb, "TunnelPolicy"):
        settings["tunnel"] = alb.TunnelPolicy(frames=False)
    if given.target_protocol is not None:
        settings["protocol_version"] = given.target_protocol
    targets = [f"127.0.0.1:{port}" for port in given.targets]
    group = alb.TargetGroup("targets", targets, **settings)
    if given.sticky == "group":
        action = alb.Forward({group: 1, alb.TargetGroup("others", targets, **settings): 1}, stickiness=3600)
    else:
        action = alb.Forward(group)
    rules = [alb.Rule(number + 1, alb.PathPattern(f"/svc-{number}/*"), action) for number in range(given.rules)]
    doors: dict[str, Any] = {}
    if given.certificate is not None:
        doors = {"protocol": "HTTPS", "certificates": alb.Certificate(given.certificate, given.key)}
    listener = alb.Listener(given.port, action, host="127.0.0.1", rules=rules, **doors)
    if given.http2:
        alb.run(listener, limits=alb.Limits(http2_requests=_MOST_REQUESTS))
    else:
        alb.run(listener)


if __name__ == "__main__":
    main()
