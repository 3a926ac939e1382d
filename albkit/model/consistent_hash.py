"""The algorithm `consistent_hash` with settings."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.stickiness import StickyKey, fault_of_key
from albkit.model.validation import Faults

__all__ = ("ConsistentHash",)


@attrs.frozen(kw_only=True)
class ConsistentHash:
    """For `TargetGroup(algorithm=...)`: sends requests with the same key to the same target, for example to make use of its cache.

    When one of N targets is added or removed, about one in N keys moves, and no other key, unless that target is the first or the last with
    a weight above 8, or above 64. Load balancers with the same targets agree, before and after a restart. A target that already has its
    share of outstanding requests passes further ones on to the next target.

    Args:
        key: Any callable that returns the key of a request as text, or `None` for any target. If it raises, its request gets a 500. Without
            `key`, the key is host, path and query.
        load_bound: How many requests a target can have outstanding in relation to the mean by weight, above 1 to 100; `None` for no limit.

    `algorithm="consistent_hash"` is the same as `ConsistentHash()`.

    Raises:
        ConfigurationError: listing every fault.
    """

    key: StickyKey | None = None
    load_bound: float | None = cast("float", default("ConsistentHash", "load_bound"))

    def __attrs_post_init__(self) -> None:
        faults = Faults("ConsistentHash")
        wrong = fault_of_key(self.key) if self.key is not None else None
        if wrong:
            faults.add("key", wrong)
        if self.load_bound is not None:
            faults.attribute(self, "load_bound")
        faults.raise_if_any()
