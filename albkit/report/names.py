"""Names in the form of ALB's identifiers, for fields of logs in which ALB writes its ARNs. The same names give the same identifiers."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

__all__ = ("certificate_arn", "elb_name", "group_arn", "listener_id")

_PREFIX = "arn:aws:{}:local:000000000000:"


def _id(*names: str) -> str:
    """16 hexadecimal digits."""
    return blake2b("\0".join(names).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


@lru_cache(maxsize=64)
def elb_name(name: str, kind: str = "app") -> str:
    """The `elb` field: `app/NAME/ID`, or `net/NAME/ID` for TCP and TLS listeners."""
    return f"{kind}/{name}/{_id(kind, name)}"


@lru_cache(maxsize=4096)
def group_arn(name: str) -> str:
    """The ARN of a target group."""
    return f"{_PREFIX.format('elasticloadbalancing')}targetgroup/{name}/{_id('targetgroup', name)}"


def certificate_arn(certificate: str) -> str:
    """The ARN of a server certificate: its path or fingerprint is its ID. Empty if it is not known."""
    return f"{_PREFIX.format('acm')}certificate/{certificate.lstrip('/')}" if certificate else ""


@lru_cache(maxsize=256)
def listener_id(name: str) -> str:
    """The id of a listener."""
    return _id("listener", name)
