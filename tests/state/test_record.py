from __future__ import annotations

from albkit.model.message import ClientAddress
from albkit.state.record import ExchangeRecord


def test_exchange_record_begins_with_nothing_known() -> None:
    """Before a rule is found its priority is -1, and nothing was told or counted (docs/alb.md 7.1)."""
    client = ClientAddress("192.0.2.1", 1)
    record = ExchangeRecord(client)
    assert record.client is client
    assert (record.received_at, record.sent_at, record.answered_at, record.ended_at) == (0.0,) * 4
    assert record.matched_rule_priority == -1
    assert (record.request, record.failure) == (None, None)
    assert (record.group, record.target, record.failed_attempts) == (None,) * 3
    assert (record.action, record.redirect_url, record.protocol) == ("", b"", "")
    assert (record.attempts, record.elb_status_code, record.target_status_code, record.received_bytes, record.sent_bytes) == (0,) * 5
    assert "__dict__" not in dir(record)
