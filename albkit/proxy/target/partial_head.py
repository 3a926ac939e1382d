"""A response head that comes in more than one read."""

from __future__ import annotations

from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.wire.http1.response import check_partial_head

__all__ = ("HEAD_END", "PartialHead")

HEAD_END: Final = b"\r\n\r\n"


class PartialHead:
    """Collects a head until its end has come.

    Args:
        largest: Bytes that a head may have.
    """

    __slots__ = ("_largest", "data")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self.data = bytearray()
        """Empty if no head is incomplete. It grows in place, because copying it for each read would make a head that comes byte by byte
        cost quadratic time."""

    def start(self, data: bytes) -> None:
        """Keep the beginning of a head.

        Raises:
            Failure: this cannot become a head, or it is too large.
        """
        self.data += data
        self._check(len(data))

    def add(self, data: bytes) -> bytes | None:
        """Add what came. Returns everything that was kept if that contains the end of the head, else `None`.

        Raises:
            Failure: this cannot become a head, or it is too large.
        """
        kept = self.data
        kept += data
        # The end may have begun in what came before.
        if kept.find(HEAD_END, max(0, len(kept) - len(data) - 3)) < 0:
            self._check(len(data))
            return None
        whole = bytes(kept)
        kept.clear()
        return whole

    def _check(self, fresh: int) -> None:
        check_partial_head(self.data, len(self.data) - fresh)
        if len(self.data) > self._largest:
            raise Failure(FailureKind.RESPONSE_HEAD_TOO_LARGE)
