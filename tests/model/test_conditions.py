from __future__ import annotations

from typing import Any

import attrs
import pytest

import albkit as alb

_KINDS: list[Any] = [alb.HostHeader, alb.PathPattern]


@pytest.mark.parametrize("kind", _KINDS)
def test_condition_takes_one_value_several_or_a_list(kind: Any) -> None:
    """Values are OR: however they are given they are one tuple."""
    assert kind("a").values == ("a",)
    assert kind("a", "b").values == ("a", "b")
    assert kind(["a", "b"]).values == ("a", "b")
    assert kind("a", ["b", "c"]) == kind("a", "b", "c")


@pytest.mark.parametrize("kind", _KINDS)
def test_condition_is_a_value(kind: Any) -> None:
    """Frozen and hashable, and the two kinds are never equal."""
    condition = kind("a")
    assert {condition, kind(["a"])} == {condition}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        condition.values = ("b",)
    assert len({kind("a") for kind in _KINDS}) == len(_KINDS)


@pytest.mark.parametrize(
    "value",
    ["example.com", "*.example.com", "*", "?", "EXAMPLE.com", "a-b_c.example.com", "10.0.0.1", "a" * 128],
)
def test_host_header_takes_albs_alphabet(value: str) -> None:
    """Letters, digits and - _ . * ? up to 128 characters (alb-reference 3.2)."""
    assert alb.HostHeader(value).values == (value,)


@pytest.mark.parametrize(
    "value",
    ["", "a" * 129, "example.com:80", "http://a", "a b", "a,b", "ä.example", "[::1]", "a\n", "a/b", 7, b"a"],
    ids=repr,
)
def test_host_header_refuses_other_values(value: Any) -> None:
    """The fault names the value's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HostHeader("good", value)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[1]"]


@pytest.mark.parametrize("value", ["/", "/api/*", "*.png", "/a?c", "/_-.$/~\"'@:+&*?", "/A/b", "/" + "a" * 127])
def test_path_pattern_takes_albs_alphabet(value: str) -> None:
    """Letters, digits and _ - . $ / ~ " ' @ : + & * ? up to 128 characters (alb-reference 3.2)."""
    assert alb.PathPattern(value).values == (value,)


@pytest.mark.parametrize(
    "value",
    ["", "/" + "a" * 128, "/a b", "/a#b", "/a;b", "/a=b", "/ä", "/a\\b", "/a\n", "/a\0", "/<>", "/{}", "/a,b", 7, b"/a"],
    ids=repr,
)
def test_path_pattern_refuses_other_values(value: Any) -> None:
    """The fault names the value's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.PathPattern("/good", value)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[1]"]


@pytest.mark.parametrize("kind", _KINDS)
def test_condition_with_every_fault_tells_them_all(kind: Any) -> None:
    """Each wrong value has a fault of its own."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind("", "good", "x" * 129, "b d", 7)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[0]", "values[2]", "values[3]", "values[4]"]
    assert raised.value.subject == kind.__name__


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("values", [(), ([],), (None,)], ids=["none", "empty list", "None"])
def test_condition_without_a_value_is_refused(kind: Any, values: tuple[Any, ...]) -> None:
    """Empty value lists are invalid (alb-reference 1.5)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(*values)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values"]


def test_condition_words_name_the_alphabet_that_is_taken() -> None:
    """The documentation of each kind lists just the characters that its values may hold."""
    for kind in _KINDS:
        listed = "".join(word for word in kind.alphabet_words.split() if len(word) == 1)
        taken = {chr(code) for code in range(128) if not chr(code).isalnum() and kind.alphabet.fullmatch(chr(code))}
        assert set(listed) == taken
        documented = (kind.__doc__ or "").partition("characters of `")[2].partition("`")[0]
        assert {word for word in documented.split() if len(word) == 1} == taken
