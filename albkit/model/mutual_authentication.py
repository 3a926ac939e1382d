"""Whether clients are asked for a certificate, and which are trusted."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults, as_tuple

__all__ = ("MutualAuthentication",)

_SWITCHES = ("ignore_client_certificate_expiry", "advertise_trust_store_ca_names")


@attrs.frozen
class MutualAuthentication:
    """Whether the clients of an HTTPS or TLS listener are asked for a certificate, and what becomes of it (docs/alb.md 1.11).

    Args:
        mode: `"passthrough"` asks for one, verifies nothing and hands the whole chain on to the target; a client may show none.
            `"verify"` requires one that leads to the trust store, and tells the target about it. `"off"` asks for none.
        trust_store: ALB's TrustStore: the path of a PEM file with the certificates of the CAs that are trusted, or such a file's bytes.
            Certificates of intermediate CAs may stand there without their roots. Required in mode `"verify"`, refused in the others.
        revocations: The path of a certificate revocation list in PEM or DER, or its bytes; one or several, each of a CA of the trust
            store. None by default. A CA without a list revokes nothing.
        ignore_client_certificate_expiry: ALB's IgnoreClientCertificateExpiry: whether certificates that have expired are taken, if all
            else is right; `False` by default. One that is not valid yet is never taken.
        advertise_trust_store_ca_names: ALB's AdvertiseTrustStoreCaNames: whether clients are told the names of the CAs of the trust
            store, to choose a certificate by; `False` by default.

    The last four belong to mode `"verify"`.

    Raises:
        ConfigurationError: listing every fault.
    """

    mode: str
    trust_store: str | bytes | None = attrs.field(default=None, kw_only=True)
    revocations: tuple[str | bytes, ...] = attrs.field(default=(), converter=as_tuple, kw_only=True)
    ignore_client_certificate_expiry: bool = attrs.field(default=cast("bool", default("MutualAuthentication", _SWITCHES[0])), kw_only=True)
    advertise_trust_store_ca_names: bool = attrs.field(default=cast("bool", default("MutualAuthentication", _SWITCHES[1])), kw_only=True)

    def __attrs_post_init__(self) -> None:
        faults = Faults("MutualAuthentication")
        faults.attribute(self, "mode", *_SWITCHES)
        if self.trust_store is not None:
            _check_source(faults, "trust_store", self.trust_store)
        elif self.mode == "verify":
            faults.add("trust_store", "missing; mode 'verify' needs the path of a PEM file with the certificates of your CAs, or its bytes")
        for index, source in enumerate(self.revocations):
            _check_source(faults, f"revocations[{index}]", source)
        if self.mode in ("passthrough", "off"):
            for name in ("trust_store", "revocations", *_SWITCHES):
                if getattr(self, name):
                    faults.add(name, f"mode {self.mode!r} verifies nothing; leave it out, or give mode 'verify'")
        faults.raise_if_any()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths among `trust_store` and `revocations`: what must be read again when a file has changed."""
        return tuple(source for source in (self.trust_store, *self.revocations) if isinstance(source, str))


def _check_source(faults: Faults, path: str, source: object) -> None:
    if not isinstance(source, str | bytes) or not source:
        faults.add(path, f"{source!r} is not the path of a file, nor a file's bytes")
    elif isinstance(source, str) and "\0" in source:
        faults.add(path, f"{source!r} is not a path; it holds a NUL")
