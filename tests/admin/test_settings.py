"""What an admin API can be opened with."""

from __future__ import annotations

from typing import Any

import pytest

import albkit as alb
from albkit.admin.settings import is_loopback
from tests.support.gateway import running

TOKEN = "correct-horse-battery-staple"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", None, "10.0.0.1", "lb.internal", "localhost.example"])
async def test_host_that_others_reach_needs_a_token(host: str | None) -> None:
    """It says why, and what to do."""
    async with running() as gateway:
        with pytest.raises(alb.ConfigurationError, match="token: missing") as raised:
            await gateway.load_balancer.admin(host=host)
        (fault,) = raised.value.faults
        assert fault.endswith("give token=..., or host='127.0.0.1'")


async def test_every_fault_is_listed_and_no_token_is_shown() -> None:
    """A token with a typing error is still nearly a token."""
    async with running() as gateway:
        arguments: dict[str, Any] = {"host": "a b", "port": 65536, "token": "s h o r t", "hosts": ["x:80", 1]}
        with pytest.raises(alb.ConfigurationError) as raised:
            await gateway.load_balancer.admin(**arguments)
        assert [fault.partition(":")[0] for fault in raised.value.faults] == ["host", "port", "token", "hosts[0]", "hosts[1]"]
        assert "s h o r t" not in str(raised.value)


@pytest.mark.parametrize("token", ["", "x" * 15, "x" * 257, "with space" * 3, "ü" * 20, b"x" * 20, "line\nbreak" * 3])
async def test_token_that_no_header_can_carry_is_a_fault(token: Any) -> None:
    """It could never be sent, or be guessed."""
    async with running() as gateway:
        with pytest.raises(alb.ConfigurationError, match="token: is not text of 16 to 256 visible ASCII characters"):
            await gateway.load_balancer.admin(token=token)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *((host, True) for host in ("127.0.0.1", "127.3.4.5", "::1", "localhost", "LocalHost")),
        *((host, False) for host in ("0.0.0.0", None, "::", "127.0.0.1.example", "::ffff:10.0.0.1", 1)),
    ],
)
def test_loopback_is_what_this_machine_alone_reaches(host: Any, loopback: bool) -> None:
    """Everything else needs a token."""
    assert is_loopback(host) is loopback
