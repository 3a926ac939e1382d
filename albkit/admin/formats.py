"""The formats of texts and numbers that a schema alone cannot describe."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from yarl import URL

from albkit.errors import ConfigurationError
from albkit.model.target import target_from
from albkit.model.tunnel import fault_of_close

__all__ = ("FORMATS",)


def _target(value: str) -> str | None:
    try:
        target_from(value)
    except ConfigurationError as error:
        return "; ".join(error.faults)
    return None


def _ip_address(value: str) -> str | None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return f"{value[:60]!a} is not an IP address"
    return None


def _url(value: str) -> str | None:
    try:
        url = URL(value, encoded=True)
        return None if url.host else f"{value[:60]!a} is a URL without a host"
    except ValueError as error:
        return f"{value[:60]!a} is not a URL: {error}"


FORMATS: Final[dict[str, Callable[[Any], str | None]]] = {
    "close-code": lambda value: fault_of_close(value, ""),
    "ip-address": _ip_address,
    "target": _target,
    "url": _url,
}
"""By the name that a schema gives as `format`: says what is wrong with a value; `None` if nothing is."""
