"""Mutual TLS: whether clients are asked for a certificate, and which ones are trusted."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.validation import Faults, as_tuple

__all__ = ("MutualAuthentication",)

_SWITCHES = ("ignore_client_certificate_expiry", "advertise_trust_store_ca_names")


@attrs.frozen
class MutualAuthentication:
    """Mutual TLS for an HTTPS or TLS listener: whether clients are asked for a certificate, and what happens to it (docs/alb.md 1.11).

    Args:
        mode: `"passthrough"` requests a certificate, verifies nothing and passes the whole chain to the target; a client may send none.
            `"verify"` requires a certificate that leads to the trust store, and describes it to the target. `"off"` requests none.
        trust_store: ALB's TrustStore: the path of a PEM file with the certificates of the trusted CAs, or such a file's bytes. Certificates
            of intermediate CAs may be included without their roots. Required in mode `"verify"`, not allowed in the others.
        revocations: The path of a certificate revocation list in PEM or DER, or its bytes; one or several, each from a CA of the trust
            store. A CA without a list revokes nothing. By default there is none.
        ignore_client_certificate_expiry: ALB's IgnoreClientCertificateExpiry: whether to accept expired certificates that are otherwise
            valid. A certificate that is not valid yet is never accepted. Default: `False`.
        advertise_trust_store_ca_names: ALB's AdvertiseTrustStoreCaNames: whether to send clients the names of the CAs in the trust store,
            so that they can choose a matching certificate. Default: `False`.

    The last four belong to mode `"verify"`.

    Raises:
        ConfigurationError: lists every fault.
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
                    faults.add(name, f"mode {self.mode!r} verifies nothing; leave it out, or use mode 'verify'")
        faults.raise_if_any()

    @property
    def files(self) -> tuple[str, ...]:
        """The paths among `trust_store` and `revocations`, which are read again when a file has changed."""
        return tuple(source for source in (self.trust_store, *self.revocations) if isinstance(source, str))


def _check_source(faults: Faults, path: str, source: object) -> None:
    if not isinstance(source, str | bytes) or not source:
        faults.add(path, f"{source!r} is neither the path of a file nor its content as bytes")
    elif isinstance(source, str) and "\0" in source:
        faults.add(path, f"{source!r} is not a path: it contains a NUL character")
