"""Interim responses (1xx) of targets."""

from __future__ import annotations

from typing import Final

from albkit.errors import Failure, FailureKind
from albkit.model.message import ResponseHead
from albkit.proxy.downstream import DownstreamExchange

__all__ = ("pass_interim",)

_MOST: Final = 100
"""1xx heads before one response. A target that sends more is broken."""


def pass_interim(response: ResponseHead, number: int, client: DownstreamExchange | None) -> None:
    """Pass a 1xx on. 100 is not passed on: the load balancer has told the client to continue before it sent the request.

    Args:
        response: The interim response.
        number: Which one it is of those that came before one response, from 1.
        client: Receives it; `None` if it has left.

    Raises:
        Failure: 502, the target has sent too many of them.
    """
    if number > _MOST:
        raise Failure(FailureKind.RESPONSE_MALFORMED, "no final response behind so many interim ones")
    if response.status != 100 and client is not None:
        client.send_interim(response)
