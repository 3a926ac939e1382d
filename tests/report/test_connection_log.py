"""The formats of the connection log, with any text that a client can bring into a line (`report/connection_log.py`)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

import albkit as alb
from albkit.errors import Failure, FailureKind, Phase
from albkit.model.message import ClientAddress
from albkit.model.tls import ClientCertificate, TlsSession
from albkit.report.connection_log import FORMATS, connection_log_for
from albkit.state.connection_record import ConnectionRecord
from tests.support.secure import certificate

FIXED = alb.FixedResponse(200)
PLAIN = alb.Listener(80, FIXED, name="door")
SECURE = alb.Listener(443, FIXED, protocol="HTTPS", certificates=certificate())
EVERY_BYTE = bytes(range(256)).decode("latin-1")


def line(record: ConnectionRecord, listener: alb.Listener = SECURE, name: str = "alb") -> str:
    lines: list[str] = []
    connection_log_for(name, lines.append, "albkit", listener, listener.port)(record)
    (text,) = lines
    assert text.isascii()
    assert text.isprintable()
    return text


def record(tls: TlsSession | None = None, failure: Failure | None = None, host: str = "192.0.2.1") -> ConnectionRecord:
    made = ConnectionRecord(ClientAddress(host, 1234, tls=tls, conn_trace_id="TID_" + "0" * 32), "198.51.100.1")
    made.at = 1733000000.25
    made.failure = failure
    return made


@pytest.mark.parametrize(
    "put",
    [
        lambda tls, text: setattr(tls.client_certificate, "subject", text),
        lambda tls, text: setattr(tls.client_certificate, "not_before", text),
        lambda tls, text: setattr(tls.client_certificate, "not_after", text),
        lambda tls, text: setattr(tls.client_certificate, "serial_number", text),
        lambda tls, text: setattr(tls, "version", text),
        lambda tls, text: setattr(tls, "cipher", text),
        lambda tls, text: setattr(tls, "server_name", text),
    ],
    ids=["subject", "not-before", "not-after", "serial", "version", "cipher", "server-name"],
)
@pytest.mark.parametrize("text", [EVERY_BYTE, "".join(map(chr, (0x2028, 0xD800, 0xDC80, 0x1F600)))], ids=["bytes", "unicode"])
def test_any_text_in_any_field_leaves_the_line_whole(put: Callable[[TlsSession, str], None], text: str) -> None:
    """15 fields in ALB's format, of which only the quoted one has spaces; JSON that can be read."""
    tls = TlsSession("TLSv1.3", "X", client_certificate=ClientCertificate("CN=a", "CN=b", "0A", "2026-01-01T00:00:00Z", "", ()))
    put(tls, text)
    before, _, rest = line(record(tls)).partition('"')
    subject, _, after = rest.partition('"')
    assert len(before.split(" ")) == 8
    assert len(after.split(" ")) == 8
    assert '"' not in subject + after
    assert json.loads(line(record(tls), name="json"))["leaf_client_cert_serial_number"] is not None


def test_all_fields_stand_in_the_order_of_alb() -> None:
    """One line, as in AWS's example of mutual TLS."""
    certificate = ClientCertificate("CN=a.example,O=Org", "CN=CA", "FEF257", "2023-09-21T22:43:21Z", "2026-06-17T22:43:21Z", ())
    tls = TlsSession("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256", client_certificate=certificate, verify_status="Success")
    tls.handshake_time = 4.0364
    made = record(tls)
    made.key_exchange = "secp256r1"
    text = line(made)
    elb = text.split(" ")[-2]
    assert text == (
        "2024-11-30T20:53:20.250000Z 192.0.2.1 1234 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 4.036 "
        '"CN=a.example,O=Org" NotBefore=2023-09-21T22:43:21Z;NotAfter=2026-06-17T22:43:21Z FEF257 Success '
        f"TID_{'0' * 32} secp256r1 {elb} 198.51.100.1"
    )


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.phase is Phase.ENTRY], ids=lambda kind: kind.name)
def test_every_failure_has_a_code(kind: FailureKind) -> None:
    """ALB's own for certificates, ALB's word for all other handshakes, and one of our own for what ALB does not have."""
    status = line(record(failure=Failure(kind))).split(" ")[10]
    if kind.name.startswith(("CLIENT_CERT", "TOO_MANY", "PROXY_HEADER")):
        assert status == f"Failed:{kind.reason}"
    else:
        assert status == "Failed:UnmappedConnectionError"
    found = json.loads(line(record(failure=Failure(kind, 'why "so"')), name="json"))
    assert (found["error_reason"], found["error_detail"]) == (kind.reason, 'why "so"')


def test_session_that_a_proxy_reports_has_no_status_and_no_latency() -> None:
    """The handshake was with the proxy."""
    found = json.loads(line(record(TlsSession("TLSv1.3", "TLS_AES_128_GCM_SHA256")), PLAIN, "json"))
    assert (found["tls_protocol"], found["tls_verify_status"], found["tls_handshake_latency"]) == ("TLSv1.3", None, None)
    assert found["listener"] == "door"


def test_json_has_every_field_of_alb() -> None:
    """By ALB's names, null if there is no value."""
    found = json.loads(line(record(host=""), PLAIN, "json"))
    names = "time client_ip client_port listener_port tls_protocol tls_cipher tls_handshake_latency leaf_client_cert_subject "
    names += "leaf_client_cert_validity leaf_client_cert_serial_number tls_verify_status conn_trace_id tls_keyexchange elb ip_address"
    assert set(names.split()) <= found.keys()
    assert {name for name, value in found.items() if value is not None} == {
        *("time", "client_port", "listener_port", "listener", "conn_trace_id", "elb", "ip_address")
    }


def test_formats_are_those_of_the_setting() -> None:
    """Each name that the setting takes has a function."""
    for name in FORMATS:
        assert alb.ConnectionLog("log", name).format == name
