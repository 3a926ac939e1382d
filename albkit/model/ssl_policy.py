"""ALB's security policies: the TLS versions and ciphers that a listener offers (docs/alb.md 1.10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import attrs

__all__ = ("SSL_POLICIES", "SslPolicy", "fault_of_ssl_policy")

_PREFIX: Final = "ELBSecurityPolicy-"


@attrs.frozen
class SslPolicy:
    """One security policy. The order of its ciphers is the server's preference."""

    name: str
    minimum: str
    """The oldest TLS version, in OpenSSL's spelling: `TLSv1.2`."""
    maximum: str
    ciphers: tuple[str, ...]
    """The ciphers of TLS 1.2 and older, by OpenSSL's names. TLS 1.3 has three ciphers of its own, which no policy changes."""


_GCM = ("ECDHE-{}-AES128-GCM-SHA256", "ECDHE-{}-AES256-GCM-SHA384")
_CBC_SHA2 = ("ECDHE-{}-AES128-SHA256", "ECDHE-{}-AES256-SHA384")
_CBC_SHA1 = ("ECDHE-{}-AES128-SHA", "ECDHE-{}-AES256-SHA")
_RSA_GCM = ("AES128-GCM-SHA256", "AES256-GCM-SHA384")
_RSA_CBC_SHA2 = ("AES128-SHA256", "AES256-SHA256")
_RSA_CBC_SHA1 = ("AES128-SHA", "AES256-SHA")
_3DES = ("DES-CBC3-SHA",)


def _in_order(*families: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ciphers in ALB's order: forward secrecy first, then AES-128 before AES-256, and ECDSA before RSA."""
    forward, rest = [f for f in families if f[0].startswith("ECDHE")], [f for f in families if not f[0].startswith("ECDHE")]
    ciphers: list[str] = []
    for strength in (0, 1):
        ciphers += [family[strength].format(key) for family in forward for key in ("ECDSA", "RSA")]
    for strength in (0, 1):
        ciphers += [family[strength] for family in rest if strength < len(family)]
    return tuple(ciphers)


_RES = _in_order(_GCM)
_FS = _in_order(_GCM, _CBC_SHA2)
_FS_SHA1 = _in_order(_GCM, _CBC_SHA2, _CBC_SHA1)
_EXT1 = _in_order(_GCM, _CBC_SHA2, _RSA_GCM, _RSA_CBC_SHA2)
_EXT2 = _in_order(_GCM, _CBC_SHA2, _CBC_SHA1, _RSA_GCM, _RSA_CBC_SHA2, _RSA_CBC_SHA1)
_3DES_TOO = (*_EXT2, *_3DES)


def _table() -> Iterable[SslPolicy]:
    for name, oldest, newest, ciphers in (
        ("TLS13-1-3-2021-06", "TLSv1.3", "TLSv1.3", ()),
        ("TLS13-1-2-Res-2021-06", "TLSv1.2", "TLSv1.3", _RES),
        ("TLS13-1-2-2021-06", "TLSv1.2", "TLSv1.3", _FS),
        ("TLS13-1-2-Ext1-2021-06", "TLSv1.2", "TLSv1.3", _EXT1),
        ("TLS13-1-2-Ext2-2021-06", "TLSv1.2", "TLSv1.3", _EXT2),
        ("TLS13-1-1-2021-06", "TLSv1.1", "TLSv1.3", _EXT2),
        ("TLS13-1-0-2021-06", "TLSv1", "TLSv1.3", _EXT2),
        ("FS-1-2-Res-2020-10", "TLSv1.2", "TLSv1.2", _RES),
        ("FS-1-2-Res-2019-08", "TLSv1.2", "TLSv1.2", _FS),
        ("FS-1-2-2019-08", "TLSv1.2", "TLSv1.2", _FS_SHA1),
        ("FS-1-1-2019-08", "TLSv1.1", "TLSv1.2", _FS_SHA1),
        ("FS-2018-06", "TLSv1", "TLSv1.2", _FS_SHA1),
        ("TLS-1-2-2017-01", "TLSv1.2", "TLSv1.2", _EXT1),
        ("TLS-1-2-Ext-2018-06", "TLSv1.2", "TLSv1.2", _EXT2),
        ("TLS-1-1-2017-01", "TLSv1.1", "TLSv1.2", _EXT2),
        ("TLS-1-0-2015-04", "TLSv1", "TLSv1.2", _3DES_TOO),
        ("2016-08", "TLSv1", "TLSv1.2", _EXT2),
        ("2015-05", "TLSv1", "TLSv1.2", _EXT2),
    ):
        yield SslPolicy(_PREFIX + name, oldest, newest, ciphers)


SSL_POLICIES: Final = {policy.name: policy for policy in _table()}
"""Every supported policy, by ALB's name."""


def fault_of_ssl_policy(name: object) -> str | None:
    """Say what is wrong with the name of a policy and what would be right; `None` if it is supported."""
    if isinstance(name, str):
        if name in SSL_POLICIES:
            return None
        if "FIPS" in name:
            return f"{name!r} requires a FIPS-validated module, which albkit cannot guarantee; use the policy without FIPS in its name"
        if "-PQ-" in name:
            return f"{name!r} is not supported; OpenSSL 3.5 and later negotiates post-quantum keys with each TLS13 policy; use one of those"
        if _PREFIX + name in SSL_POLICIES:
            return f"{name!r} lacks the prefix; write {_PREFIX + name!r}"
    return f"{name!r} is not a supported security policy; use one of {', '.join(SSL_POLICIES)}"
