from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb

_KINDS: list[Any] = [alb.UrlRewrite, alb.HostHeaderRewrite]


def _paths(error: alb.ConfigurationError) -> list[str]:
    return [fault.partition(":")[0] for fault in error.faults]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize(
    ("regex", "replace"),
    [
        ("^/dp/([A-Za-z0-9]+)/?$", "/product.php?id=$1"),
        ("a", ""),
        ("(a)(b)", "$2$1$0"),
        ("x" * 1024, "y" * 1024),
        ("a", "$"),
        ("a", "!~"),
        ("(?:a)(?P<name>b)", "$1"),
        (r"\$1", "a"),
    ],
)
def test_transform_takes_albs_regexes_and_replacements(kind: Any, regex: str, replace: str) -> None:
    """Each up to 1024 characters, `$1` for a group that there is (docs/alb.md 1.7)."""
    transform = kind(regex, replace)
    assert (transform.regex, transform.replace) == (regex, replace)
    assert {transform, kind(regex, replace)} == {transform}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        transform.regex = "b"


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("regex", ["", "x" * 1025, "(", "(?=a)", r"(a)\1", "a++", "(?>a)", r"\pL", "\ud800", None, 7, b"a"], ids=repr)
def test_transform_refuses_other_regexes(kind: Any, regex: Any) -> None:
    """Too long, malformed, or outside the dialect (docs/alb.md 2.6)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(regex, "a")
    assert _paths(raised.value) == ["regex"]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("replace", ["x" * 1025, "a b", "a\r\nX: y", "\u00e4", "\0", "$1", "$10", None, 7, b"a"], ids=repr)
def test_transform_refuses_other_replacements(kind: Any, replace: Any) -> None:
    """Too long, not visible ASCII, or with a group that the regex does not have."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind("a", replace)
    assert _paths(raised.value) == ["replace"]


@pytest.mark.parametrize("kind", _KINDS)
def test_transform_with_every_fault_tells_them_all(kind: Any) -> None:
    """Both at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind("(", "a b")
    assert raised.value.subject == kind.__name__
    assert _paths(raised.value) == ["regex", "replace"]
