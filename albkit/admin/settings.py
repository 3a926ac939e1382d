"""The settings of an admin API."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

import attrs

from albkit.model.target import is_host
from albkit.model.validation import Faults, as_tuple

__all__ = ("AdminSettings", "is_loopback")

_TOKEN = re.compile(r"[!-~]{16,256}")
_MAKE_ONE = "make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"


def _lower(names: Any) -> Any:
    return tuple(name.lower() if isinstance(name, str) else name for name in as_tuple(names))


@attrs.frozen
class AdminSettings:
    """The arguments of `LoadBalancer.admin`."""

    host: str | None
    port: int
    token: str | None = attrs.field(repr=False)
    hosts: Sequence[str] = attrs.field(converter=_lower)

    def __attrs_post_init__(self) -> None:
        faults = Faults("LoadBalancer.admin")
        if self.host is not None and (not isinstance(self.host, str) or not is_host(self.host)):
            faults.add("host", f"{self.host!r} is not a host name, an IP address or None, which is all addresses of this machine")
        if isinstance(self.port, bool) or not isinstance(self.port, int) or not 0 <= self.port <= 65535:
            faults.add("port", f"{self.port!r} is not a port; give a number from 0 to 65535")
        self._check_token(faults)
        for index, name in enumerate(self.hosts):
            if not isinstance(name, str) or not is_host(name):
                faults.add(f"hosts[{index}]", f"{name!r} is not a host name or an IP address; give it without a port")
        faults.raise_if_any()

    def _check_token(self, faults: Faults) -> None:
        # The value is not shown: a token with a typing error is still nearly a token.
        if self.token is None:
            if not is_loopback(self.host):
                where = "all addresses" if self.host is None else repr(self.host)
                words = f"missing, which only a loopback address allows: whoever reaches {where} could drive the load balancer"
                faults.add("token", f"{words}; give token=..., or host='127.0.0.1'")
        elif not isinstance(self.token, str) or not _TOKEN.fullmatch(self.token):
            faults.add("token", f"is not text of 16 to 256 visible ASCII characters; {_MAKE_ONE}")


def is_loopback(host: object) -> bool:
    """Whether a host, as the caller gives it, is reached from this machine only."""
    if not isinstance(host, str):
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
