"""THREAT_MODEL.md names tests as proof: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROOFS = sorted(set(re.findall(r"(tests/[a-z0-9_/]+\.py)::(\w+)", (ROOT / "THREAT_MODEL.md").read_text())))


def test_each_threat_has_a_proof() -> None:
    """In every table of threats, every row."""
    tables = (ROOT / "THREAT_MODEL.md").read_text().split("| threat | answer | proof |")[1:]
    assert len(tables) == 8
    rows = [row for table in tables for row in table.splitlines() if row.startswith("| ") and not row.startswith("| ---")]
    assert len(rows) > 40
    assert not [row for row in rows if "::test_" not in row.rpartition(" | ")[2]]


@pytest.mark.parametrize(("file", "name"), PROOFS, ids=[name for _, name in PROOFS])
def test_proof_exists(file: str, name: str) -> None:
    """By this name, in this file."""
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
