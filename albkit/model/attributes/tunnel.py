"""The settings of `TunnelPolicy` that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
    Attribute(
        "TunnelPolicy", "idle_timeout", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long a tunnel may stay open without a byte in either direction; None for the load balancer's idle timeout.",
    ),
    Attribute(
        "TunnelPolicy", "ping_interval", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long one side of a WebSocket may send nothing before the load balancer pings it; None for no pings.",
    ),
    Attribute(
        "TunnelPolicy", "pong_timeout", "", 20, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How long a pinged side may send nothing before it is considered dead.",
    ),
    Attribute(
        "TunnelPolicy", "max_age", "", None, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="The age at which a tunnel is closed; None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "max_tunnels", "", None, minimum=1, whole=True,
        meaning="The most tunnels of one target; an upgrade that finds no free target gets 503. None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "recheck_every", "", 60, unit="seconds", minimum=0, maximum=31536000, above_minimum=True,
        meaning="How often `recheck` is called for a tunnel.",
    ),
    Attribute(
        "TunnelPolicy", "max_message_size", "", None, unit="bytes", minimum=1, whole=True,
        meaning="The largest WebSocket message on the wire; after a larger one, both sides get Close 1009. None for no limit.",
    ),
    Attribute(
        "TunnelPolicy", "drain_code", "", 1001, minimum=1000, maximum=4999, whole=True,
        meaning="The code of the Close frame that the tunnels of a deregistered target get: 1000 to 1003, 1007 to 1014, or 3000 to 4999.",
    ),
    Attribute(
        "TunnelPolicy", "drain_spread", "", 30, unit="seconds", minimum=0, maximum=3600,
        meaning="The length of the last part of the deregistration delay, in which a target's tunnels are closed one by one.",
    ),
    Attribute("TunnelPolicy", "frames", "", True,
        meaning="Parse the WebSocket frames, which pings and Close frames of the load balancer require.",
    ),
)  # fmt: skip
