"""An algorithm with settings of its own: the same target for the same key."""

from __future__ import annotations

from typing import cast

import attrs

from albkit.model.attributes import default
from albkit.model.stickiness import StickyKey, fault_of_key
from albkit.model.validation import Faults

__all__ = ("ConsistentHash",)


@attrs.frozen(kw_only=True)
class ConsistentHash:
    """For `TargetGroup(algorithm=...)`: requests with the same key go to the same target, so that its cache is warm.

    When one of N targets comes or goes about one in N keys moves, and no other, unless it is the first or last with a weight above 8, or
    above 64. Load balancers with the same targets agree, before and after a restart. A target that has its share of requests to do already
    hands further ones on to the next.

    Args:
        key: Any callable that gives the key of a request as text, or `None` for "anywhere"; by default host, path and query. One that
            raises costs its own exchange a 500.
        load_bound: How many requests a target may have outstanding in relation to the mean by weight, above 1 to 100, 1.25 by default;
            `None` for as many as come.

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
