"""Text of clients becomes one line of printable ASCII, in which the reader finds every byte again."""

from __future__ import annotations

import re

import pytest

from albkit.report.escape import escaped, readable


@pytest.mark.parametrize("code", range(256))
def test_every_byte_is_either_itself_or_escaped(code: int) -> None:
    r"""Quotes, backslashes and everything outside printable ASCII become `\xHH`, as in ALB's log."""
    expected = chr(code) if 0x20 <= code <= 0x7E and chr(code) not in '"\\' else f"\\x{code:02X}"
    assert escaped(chr(code)) == expected
    assert escaped(f"a{chr(code)}b") == f"a{expected}b"


def test_every_byte_can_be_told_apart_from_every_other() -> None:
    """Nothing that a client sends looks like the escape of something else."""
    everything = bytes(range(256)) * 2 + rb"\x41 \\x"
    text = escaped(everything.decode("latin-1"))
    back = re.sub(r"\\x([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)
    assert back.encode("latin-1") == everything


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ä", "\\xE4", id="latin-1"),
        pytest.param("€", "\\xE2\\x82\\xAC", id="more than a byte"),
        pytest.param("\udcff", "\\xFF", id="surrogate of a byte"),
        pytest.param("\ud800", "\\x3F", id="any other surrogate"),
        pytest.param("\u2028", "\\xE2\\x80\\xA8", id="line separator"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_other_text_is_escaped_as_its_bytes(text: str, expected: str) -> None:
    """Never a failure, whatever the text is."""
    assert escaped(text) == expected


def test_text_for_json_is_utf8_and_names_other_bytes() -> None:
    """No lone surrogates, which other programs refuse."""
    assert readable("€".encode() + b"\xff") == "€\\xff"
