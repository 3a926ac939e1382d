from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albkit.policy.certificate_choice import CertificateChoice, CertificateFacts

_NOW = 1000.0
_FACTS = CertificateFacts(("a.example",), "ECDSA", 256, 256, 0.0, 2000.0)


class _Shown:
    def __init__(self, label: str, facts: CertificateFacts = _FACTS, **changes: Any) -> None:
        self.label = label
        self.facts = attrs.evolve(facts, **changes)

    def __repr__(self) -> str:
        return f"<{self.label} {self.facts}>"


_DEFAULT = _Shown("default", names=("default.example",))


def _chosen(name: str | None, *listed: _Shown, now: float = _NOW) -> list[str]:
    return [shown.label for shown in CertificateChoice(_DEFAULT, listed, now).for_name(name)]


_ASKED = [
    pytest.param("a.example", "exact", id="exact"),
    pytest.param("A.eXample", "exact", id="in other case"),
    pytest.param("a.example.", "exact", id="with a dot at its end"),
    pytest.param("x.wild.example", "wild", id="wildcard"),
    pytest.param("X.WILD.Example.", "wild", id="wildcard in other case"),
    pytest.param("*.wild.example", "wild", id="a star for the star"),
    pytest.param("wild.example", "default", id="apex of the wildcard"),
    pytest.param(".wild.example", "default", id="empty label for the star"),
    pytest.param("x.y.wild.example", "default", id="two labels for the star"),
    pytest.param("default.example", "default", id="name of the default only"),
    pytest.param("b.example", "default", id="name of nobody"),
    pytest.param("a.example..", "default", id="two dots at its end"),
    pytest.param("example", "default", id="one label"),
    pytest.param(None, "default", id="no name"),
    pytest.param("", "default", id="empty name"),
    pytest.param(".", "default", id="a dot"),
    pytest.param("..", "default", id="two dots"),
    pytest.param("*", "default", id="a star"),
    pytest.param("a.e\u212aample", "default", id="not ASCII"),
    pytest.param("\u212a.wild.example", "default", id="not ASCII, for the star"),
    pytest.param("a.example\0.wild.example", "default", id="NUL in the name"),
    pytest.param("x" * 300 + ".wild.example", "default", id="longer than any name"),
    pytest.param("x" * 241 + ".wild.example", "wild", id="the longest name"),
]


@pytest.mark.parametrize(("name", "label"), _ASKED)
def test_name_asked_for_gives_the_certificate_that_has_it(name: str | None, label: str) -> None:
    """A wildcard stands for one label, the leftmost, and never for none; the default is for all others (docs/alb.md 1.10)."""
    listed = _Shown("exact"), _Shown("wild", names=("*.wild.example",))
    assert _chosen(name, *listed) == [label]


def test_default_is_not_in_the_list() -> None:
    """It is not shown for a name of its own that a worse one in the list has (docs/alb.md 1.10)."""
    worse = _Shown("worse", names=("default.example",), not_after=_NOW - 1)
    assert _chosen("default.example", worse) == ["worse"]
    assert _chosen("default.example") == ["default"]


def test_default_that_stands_in_the_list_too_is_one_of_it() -> None:
    """As ALB's when it is added to the list."""
    choice = CertificateChoice(_DEFAULT, [_Shown("other", names=("default.example",), hash_strength=160), _DEFAULT], _NOW)
    assert choice.for_name("default.example") == (_DEFAULT,)
    assert choice.sets == ((_DEFAULT,),)


_BETTER = [
    pytest.param({"not_after": 1001.0}, {"not_after": 1000.0, "hash_strength": 512}, id="not expired, over a stronger hash"),
    pytest.param({"not_before": 1000.0}, {"not_before": 1000.5, "hash_strength": 512}, id="valid already, over a stronger hash"),
    pytest.param({"hash_strength": 384}, {"hash_strength": 256, "key_size": 521}, id="stronger hash, over a longer key"),
    pytest.param({"hash_strength": 160}, {"hash_strength": 128, "key_size": 521}, id="SHA-1 over MD5"),
    pytest.param({"key_size": 384}, {"key_size": 256, "not_after": 9000.0}, id="longer key, over a longer period"),
    pytest.param({"not_after": 2001.0}, {"not_after": 2000.0}, id="longer period, by its end"),
    pytest.param({"not_before": -5000.0, "not_after": 1500.0}, {"not_after": 2000.0}, id="longer period, by its beginning"),
    pytest.param({"names": ("*.example",), "key_size": 384}, {"key_size": 256}, id="wildcard that is better, over the exact name"),
    pytest.param({"hash_strength": 256, "not_after": 900.0}, {"hash_strength": 160, "not_after": 950.0}, id="of expired ones too"),
]


@pytest.mark.parametrize(("better", "worse"), _BETTER)
@pytest.mark.parametrize("key_type", ["ECDSA", "RSA"])
def test_of_two_that_match_the_better_one_is_offered(key_type: str, better: dict[str, Any], worse: dict[str, Any]) -> None:
    """By ALB's rules in their order, wherever they stand in the list (docs/alb.md 1.10)."""
    first, second = _Shown("better", key_type=key_type, **better), _Shown("worse", key_type=key_type, **worse)
    assert _chosen("a.example", first, second) == ["better"]
    assert _chosen("a.example", second, first) == ["better"]


def test_of_equals_the_first_is_offered() -> None:
    """The order given decides where nothing else does, of exact names and wildcards together."""
    assert _chosen("a.example", _Shown("1"), _Shown("2")) == ["1"]
    assert _chosen("a.example", _Shown("1", names=("*.example",)), _Shown("2")) == ["1"]
    assert _chosen("a.example", _Shown("1"), _Shown("2", names=("*.example",))) == ["1"]
    assert _chosen("b.example", _Shown("1", names=("*.example",)), _Shown("2", names=("*.example",))) == ["1"]


@pytest.mark.parametrize("names", [("a.example",), ("*.example",)], ids=["exact", "wildcard"])
def test_both_types_of_key_are_offered_with_ecdsa_first(names: tuple[str, ...]) -> None:
    """The best of each, ECDSA first however much better the other is: clients that know only RSA are served too."""
    worst = {"names": names, "key_type": "ECDSA", "hash_strength": 160, "not_after": 500.0}
    listed = [
        _Shown("RSA", names=names, key_type="RSA", key_size=4096, hash_strength=512),
        _Shown("short RSA", names=names, key_type="RSA", key_size=2048, hash_strength=512),
        _Shown("ECDSA", **worst),
    ]
    assert _chosen("a.example", *listed) == ["ECDSA", "RSA"]
    assert _chosen("a.example", *reversed(listed)) == ["ECDSA", "RSA"]


def test_exact_name_and_wildcard_are_joined_over_types_of_key() -> None:
    """An exact name with one type of key does not hide the wildcard with the other."""
    listed = _Shown("wild", names=("*.example",), key_type="RSA"), _Shown("exact")
    assert _chosen("a.example", *listed) == ["exact", "wild"]
    assert _chosen("b.example", *listed) == ["wild"]


def test_sets_are_all_that_is_offered_each_once() -> None:
    """The caller makes one context for each; a name gives the very tuple."""
    wild = _Shown("wild", names=("*.example", "*.other"), key_type="RSA")
    exact = _Shown("exact", names=("a.example", "b.example", "c"))
    choice = CertificateChoice(_DEFAULT, [wild, exact], _NOW)
    assert set(choice.sets) == {(_DEFAULT,), (exact, wild), (wild,), (exact,)}
    assert len(choice.sets) == 4
    assert choice.sets[0] == (_DEFAULT,)
    for name in ("a.example", "b.example", "c", "z.example", "z.other", "z", None):
        assert any(choice.for_name(name) is offered for offered in choice.sets)


_CHANGES = [
    pytest.param([], math.inf, id="no certificate"),
    pytest.param([(0.0, 900.0)], math.inf, id="expired"),
    pytest.param([(0.0, 1000.0)], math.inf, id="expires now"),
    pytest.param([(0.0, 1001.0)], 1001.0, id="expires"),
    pytest.param([(1002.0, 1005.0)], 1002.0, id="of the future"),
    pytest.param([(1000.0, 1005.0)], 1005.0, id="valid from now on"),
    pytest.param([(0.0, 900.0), (0.0, 3000.0), (1500.0, 2000.0)], 1500.0, id="several"),
]


@pytest.mark.parametrize(("periods", "expected"), _CHANGES)
def test_choice_holds_until_a_certificate_of_the_list_begins_or_ends(periods: list[tuple[float, float]], expected: float) -> None:
    """The default's dates do not count; a choice made at that moment holds for longer, so that nobody makes it again and again."""
    listed = [_Shown("", not_before=begin, not_after=end) for begin, end in periods]
    assert CertificateChoice(_DEFAULT, listed, _NOW).valid_until == expected
    if expected < math.inf:
        assert CertificateChoice(_DEFAULT, listed, expected).valid_until > expected


def test_choice_made_anew_goes_on_to_the_one_that_is_valid_now() -> None:
    """A certificate that has expired gives way at that very second."""
    old, new = _Shown("old", hash_strength=512), _Shown("new", not_before=1500.0, not_after=3000.0)
    assert _chosen("a.example", old, new, now=1999.9) == ["old"]
    assert _chosen("a.example", old, new, now=2000.0) == ["new"]


_LABELS = st.sampled_from(["a", "b", "c"])
_NAMES = st.lists(_LABELS, min_size=1, max_size=3).map(".".join)
_PATTERNS = st.one_of(_NAMES, _NAMES.map("*.{}".format))
_TIMES = st.sampled_from([0.0, 999.0, 1000.0, 1001.0, 2000.0])
_LISTED = st.lists(
    st.builds(
        CertificateFacts,
        st.lists(_PATTERNS, max_size=3).map(tuple),
        st.sampled_from(["ECDSA", "RSA"]),
        st.sampled_from([256, 2048]),
        st.sampled_from([160, 256]),
        _TIMES,
        _TIMES,
    ),
    max_size=6,
)
_WANTED = st.one_of(st.none(), _NAMES, _PATTERNS.map(str.upper), _NAMES.map("{}.".format), st.text(alphabet="ab.*\0\u212a", max_size=6))


def _naive_matches(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == name
    labels, wanted = name.split("."), pattern.split(".")
    return len(labels) == len(wanted) and labels[0] != "" and labels[1:] == wanted[1:]


def _naive(listed: Sequence[_Shown], name: str | None, now: float) -> list[_Shown]:
    """ALB's rules, sentence by sentence: sorted from worst to best."""
    wanted = "" if name is None or not name.isascii() else name.lower().removesuffix(".")
    matching = [shown for shown in listed if wanted and any(_naive_matches(pattern, wanted) for pattern in shown.facts.names)]
    matching.reverse()
    matching.sort(key=lambda shown: shown.facts.not_after - shown.facts.not_before)
    matching.sort(key=lambda shown: shown.facts.key_size)
    matching.sort(key=lambda shown: shown.facts.hash_strength)
    matching.sort(key=lambda shown: shown.facts.not_before <= now and not shown.facts.not_after <= now)
    kinds = [[shown for shown in matching if shown.facts.key_type == kind][-1:] for kind in ("ECDSA", "RSA")]
    return kinds[0] + kinds[1] or [_DEFAULT]


@given(_LISTED, st.lists(_WANTED, max_size=8))
def test_choice_is_that_of_the_rules_applied_one_by_one(facts: list[CertificateFacts], names: list[str | None]) -> None:
    """Whatever the list and the name, the dictionaries give what sorting all that match gives, and only what `sets` has."""
    listed = [_Shown(str(place), one) for place, one in enumerate(facts)]
    choice = CertificateChoice(_DEFAULT, listed, _NOW)
    assert len(set(choice.sets)) == len(choice.sets)
    for name in names:
        offered = choice.for_name(name)
        assert list(offered) == _naive(listed, name, _NOW)
        assert any(offered is known for known in choice.sets)
