"""The settings of `Target` and `DnsName` that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)

SETTINGS: Final = (
    Attribute(
        "Target", "weight", "", 1, minimum=0, maximum=999,
        meaning="The target's share of the group's new requests, relative to the weights of the others; 0 gets none, unless all weights "
        "are 0.",
    ),
    Attribute(
        "Target", "max_concurrency", "", None, minimum=1, maximum=1000000, whole=True,
        meaning="The most requests that the target handles at the same time. Further ones go to another target, wait, or get 503. None for "
        "no limit.",
    ),
    Attribute(
        "Target", "standby", "", False,
        meaning="Send requests only while no other target of the group is in use, or after the others have failed a request.",
    ),
    Attribute("Target", "port", "Port", None, minimum=1, maximum=65535, meaning="The target's port; a unix socket has none."),
    Attribute(
        "Target", "protocol", "", None, choices=("HTTP", "HTTPS"),
        meaning="The protocol of connections to this target; None for that of its group."
    ),
    Attribute(
        "DnsName", "port", "", None, minimum=1, maximum=65535, whole=True, meaning="The targets' port; SRV records include their own.",
    ),
    Attribute(
        "DnsName", "record_type", "", "A/AAAA", choices=("A/AAAA", "A", "AAAA", "SRV"), meaning="The record types to query.",
    ),
    Attribute(
        "DnsName", "min_ttl", "", 1, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="The shortest time between two queries, even if the records' time to live is shorter.",
    ),
    Attribute(
        "DnsName", "max_ttl", "", 300, unit="seconds", minimum=0, maximum=86400, above_minimum=True,
        meaning="The longest time between two queries, even if the records' time to live is longer.",
    ),
    Attribute(
        "DnsName", "hold", "", 30, unit="seconds", minimum=0, maximum=86400,
        meaning="How long the targets stay after an answer without any address. While there is no answer at all, they stay indefinitely.",
    ),
    Attribute(
        "DnsName", "timeout", "", 5, unit="seconds", minimum=0, maximum=60, above_minimum=True, meaning="How long to wait for an answer.",
    ),
)  # fmt: skip
