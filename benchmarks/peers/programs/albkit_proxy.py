"""albkit as a program would use it: one listener, one target group, and defaults for everything that is not requested."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
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


def _subscribe(load_balancer: alb.LoadBalancer) -> None:
    """What a program of its own would do with each exchange: count by status, and sum up."""
    counts: Counter[int] = Counter()
    seconds = 0.0

    def finished(event: alb.events.ExchangeFinished) -> None:
        nonlocal seconds
        counts[event.status] += 1
        seconds += event.duration

    load_balancer.subscribe(finished, alb.events.ExchangeFinished)


def _scrape(load_balancer: Any) -> None:
    """Make the text that Prometheus asks for, each second and at once."""
    load_balancer.metrics.prometheus()
    asyncio.get_running_loop().call_later(1, _scrape, load_balancer)


_USES: dict[str | None, Any] = {None: None, "subscriber": _subscribe, "scraped": _scrape}


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
    parser.add_argument("--access-log", help="a line for each request, in this file")
    parser.add_argument("--access-log-format", help="alb, json or combined")
    parser.add_argument("--metrics", help="subscriber: a function gets each exchange; scraped: the text for Prometheus is made each second")
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
    if given.access_log is not None:
        doors["access_log"] = alb.AccessLog(given.access_log, given.access_log_format)
    if given.certificate is not None:
        doors |= {"protocol": "HTTPS", "certificates": alb.Certificate(given.certificate, given.key)}
    listener = alb.Listener(given.port, action, host="127.0.0.1", rules=rules, **doors)
    settings = {"limits": alb.Limits(http2_requests=_MOST_REQUESTS)} if given.http2 else {}
    alb.run(listener, ready=_USES[given.metrics], **settings)


if __name__ == "__main__":
    main()
