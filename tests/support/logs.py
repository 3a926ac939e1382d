"""Lines of logs: collected from a running load balancer, and taken apart."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

ALB_FIELDS = (
    *("type", "time", "elb", "client:port", "target:port", "request_processing_time", "target_processing_time"),
    *("response_processing_time", "elb_status_code", "target_status_code", "received_bytes", "sent_bytes", "request", "user_agent"),
    *("ssl_cipher", "ssl_protocol", "target_group_arn", "trace_id", "domain_name", "chosen_cert_arn", "matched_rule_priority"),
    *("request_creation_time", "actions_executed", "redirect_url", "error_reason", "target:port_list", "target_status_code_list"),
    *("classification", "classification_reason", "conn_trace_id", "transformed_host", "transformed_uri", "request_transform_status"),
    "ip_address",
)
QUOTED = frozenset(
    (
        *("request", "user_agent", "trace_id", "domain_name", "chosen_cert_arn", "actions_executed", "redirect_url", "error_reason"),
        *("target:port_list", "target_status_code_list", "classification", "classification_reason", "transformed_host"),
        *("transformed_uri", "request_transform_status"),
    )
)
NLB_FIELDS = (
    *("type", "version", "time", "elb", "listener", "client:port", "destination:port", "connection_time", "tls_handshake_time"),
    *("received_bytes", "sent_bytes", "incoming_tls_alert", "chosen_cert_arn", "chosen_cert_serial", "tls_cipher"),
    *("tls_protocol_version", "tls_named_group", "domain_name", "alpn_fe_protocol", "alpn_be_protocol", "alpn_client_preference_list"),
    "tls_connection_creation_time",
)
_FIELD = re.compile(r'(?:"([^"\\]|\\x[0-9A-F]{2})*"|(?:[^" \\]|\\x[0-9A-F]{2})+)(?: |$)')


def split(line: str) -> list[str]:
    """The fields of a line, with their quotes. Every byte of the line must belong to one."""
    assert line.isascii()
    assert line.isprintable()
    fields: list[str] = []
    place = 0
    while place < len(line):
        found = _FIELD.match(line, place)
        assert found is not None, line[place:]
        fields.append(found[0].removesuffix(" "))
        place = found.end()
    return fields


def alb_fields(line: str) -> dict[str, str]:
    """The fields of a line of ALB's access log by name, without quotes; exactly those that ALB quotes must have them."""
    values = split(line)
    assert len(values) == len(ALB_FIELDS)
    named = dict(zip(ALB_FIELDS, values, strict=True))
    assert {name for name, value in named.items() if value.startswith('"')} == QUOTED
    return {name: value.strip('"') for name, value in named.items()}


def nlb_fields(line: str) -> dict[str, str]:
    """The fields of a line of NLB's access log by name."""
    return dict(zip(NLB_FIELDS, split(line), strict=True))


async def until(true: Callable[[], object], within: float = 10.0) -> None:
    """Wait for something that another thread does."""
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.005)


def until_in_thread(true: Callable[[], object], within: float = 10.0) -> None:
    """The same without an event loop."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


class Lines:
    """A function that keeps the lines of a log."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def __call__(self, line: str) -> None:
        self.all.append(line)

    async def get(self, count: int = 1) -> list[str]:
        """Exactly so many lines."""
        await until(lambda: len(self.all) >= count)
        assert len(self.all) == count
        return self.all

    async def alb(self, count: int = 1) -> dict[str, str]:
        """The fields of the last of so many lines."""
        return alb_fields((await self.get(count))[-1])


def lines_of(path: Path) -> list[str]:
    """The lines of a file, which must end with a line end."""
    text = path.read_text("ascii") if path.exists() else ""
    assert text.endswith("\n") or not text
    return text.splitlines()
