from __future__ import annotations

from typing import Any

import pytest

from albkit.model.names import fault_of_name


@pytest.mark.parametrize("name", ["a", "A1", "my-api", "0", "a" * 32, "a--b"])
def test_name_of_letters_digits_and_inner_hyphens_is_taken(name: str) -> None:
    """ALB's names are 1 to 32 letters, digits and hyphens (docs/alb.md 1.2, 1.8)."""
    assert fault_of_name(name) is None


@pytest.mark.parametrize("name", ["", "-a", "a-", "-", "a" * 33, "a_b", "a.b", "a b", "ä", "a\n", None, 7, b"a"], ids=repr)
def test_name_of_anything_else_is_a_fault(name: Any) -> None:
    """The fault shows the name and says what would be right."""
    wrong = fault_of_name(name)
    assert wrong is not None
    assert wrong.startswith(repr(name))
    assert "1 to 32" in wrong
