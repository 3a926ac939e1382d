"""What is read before targets are spoken to over TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

import albkit as alb
from albkit.errors import ConfigurationError
from albkit.model.validation import Faults
from albkit.proxy.tls import targets
from albkit.proxy.tls.targets import TargetContexts, load_target_contexts
from tests.support.authority import Authority


def test_groups_that_verify_alike_are_read_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand groups with one file of CA certificates do not read it a thousand times, and those without any read nothing."""
    authority = tmp_path / "ca.pem"
    authority.write_bytes(Authority("Test CA").pem())
    made: list[bool | str] = []
    make = targets.target_context
    monkeypatch.setattr(targets, "target_context", lambda verify, alpn: (made.append(verify), make(verify, alpn=alpn))[1])
    contexts, faults = TargetContexts(), Faults("LoadBalancer")
    groups = [alb.TargetGroup(name, "https://127.0.0.1:1", verify=str(authority)) for name in ("a", "b", "c")]
    for group in (*groups, alb.TargetGroup("plain", "127.0.0.1:1")):
        load_target_contexts(group, contexts, faults, 0.0)
    faults.raise_if_any()
    assert made == [str(authority), False]
    assert len({id(contexts.of(group)) for group in groups}) == 1


def test_certificate_that_cannot_be_used_is_told_for_every_group() -> None:
    """Nothing of the first is kept for the second."""
    contexts, faults = TargetContexts(), Faults("LoadBalancer")
    for name in ("a", "b"):
        group = alb.TargetGroup(name, "https://127.0.0.1:1", client_certificate=alb.Certificate("/nowhere/c.pem"))
        load_target_contexts(group, contexts, faults, 0.0)
    with pytest.raises(ConfigurationError) as raised:
        faults.raise_if_any()
    assert [fault.partition(":")[0] for fault in raised.value.faults] == [f"target group '{name}'.client_certificate" for name in "ab"]
