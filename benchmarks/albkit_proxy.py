"""albkit as a program would use it: one listener, one target group, every default on."""

from __future__ import annotations

import argparse
from typing import Any

import albkit as alb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sticky", action="store_true", help="sessions stay with their target by cookie")
    parser.add_argument("--raw", action="store_true", help="tunnels are not frame-tracked")
    parser.add_argument("port", type=int)
    parser.add_argument("targets", type=int, nargs="+", help="ports of 127.0.0.1")
    given = parser.parse_args()
    settings: dict[str, Any] = {"stickiness": alb.LbCookie()} if given.sticky else {}
    # A baseline from before there were tunnel policies tracks no frames anyway.
    if given.raw and hasattr(alb, "TunnelPolicy"):
        settings["tunnel"] = alb.TunnelPolicy(frames=False)
    group = alb.TargetGroup("targets", [f"127.0.0.1:{port}" for port in given.targets], **settings)
    alb.run(alb.Listener(given.port, alb.Forward(group), host="127.0.0.1"))


if __name__ == "__main__":
    main()
