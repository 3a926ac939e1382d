"""The settings of logs that are numbers or one of a few words."""

from __future__ import annotations

from typing import Final

from albkit.model.attributes.attribute import Attribute

__all__ = ("SETTINGS",)


def _of_destination(owner: str) -> tuple[Attribute, ...]:
    """The settings that each class of logs inherits from `LogDestination`."""
    return (
        Attribute(
            owner, "rotate_size", "", None, unit="bytes", minimum=1024, whole=True,
            meaning="The size at which the file is renamed and a new one is begun. None for no limit.",
        ),
        Attribute(
            owner, "rotate_interval", "", None, unit="seconds", minimum=1,
            meaning="A new file is begun at each multiple of this time since 1970 (UTC). None for no limit.",
        ),
        Attribute(owner, "keep", "", 10, minimum=1, maximum=100000, meaning="How many renamed files to keep."),
        Attribute(
            owner, "buffer_size", "", 4 * 1024 * 1024, unit="bytes", minimum=4096, maximum=1024 * 1024 * 1024, whole=True,
            meaning="How many bytes of lines may wait to be written. Further lines are dropped and counted.",
        ),
    )  # fmt: skip


SETTINGS: Final = (
    Attribute(
        "AccessLog", "format", "", "alb", choices=("alb", "json", "combined"),
        meaning="The format of the lines: that of ALB's access log, JSON, or the combined format of Apache and nginx.",
    ),
    *_of_destination("AccessLog"),
    Attribute(
        "ConnectionLog", "format", "", "alb", choices=("alb", "json"),
        meaning="The format of the lines: that of ALB's connection log, or JSON.",
    ),
    *_of_destination("ConnectionLog"),
    Attribute(
        "HealthCheckLog", "format", "", "alb", choices=("alb", "json"),
        meaning="The format of the lines: that of ALB's health check log, or JSON.",
    ),
    *_of_destination("HealthCheckLog"),
)  # fmt: skip
