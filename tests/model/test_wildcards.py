from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from albkit.model.wildcards import compile_wildcards
from tests.policy.naive import matches


@pytest.mark.parametrize(
    ("pattern", "text", "holds"),
    [
        pytest.param("*.example.com", "a.example.com", True, id="alb 3.1 any label"),
        pytest.param("*.example.com", "a.b.example.com", True, id="alb 3.1 star crosses dots"),
        pytest.param("*.example.com", "example.com", False, id="alb 3.1 not the apex"),
        pytest.param("*.example.com", ".example.com", True, id="alb 3.1 star is nothing too"),
        pytest.param("/img/*", "/img/", True, id="nothing behind the star"),
        pytest.param("/img/*", "/img", False, id="prefix whole"),
        pytest.param("/img/*", "/img/a/b", True, id="star crosses slashes"),
        pytest.param("/img/*/pics", "/img/a/b/pics", True, id="star inside crosses slashes"),
        pytest.param("/a?c", "/abc", True, id="one character"),
        pytest.param("/a?c", "/ac", False, id="not none"),
        pytest.param("/a?c", "/abbc", False, id="not two"),
        pytest.param("/a?c", "/a/c", True, id="a slash is a character"),
        pytest.param("Chrome", "Chrome/99", False, id="whole value"),
        pytest.param("*Chrome*", "x Chrome/99", True, id="star at both ends"),
        pytest.param("/a.c", "/abc", False, id="a dot is a dot"),
        pytest.param("/a+", "/aa", False, id="a plus is a plus"),
        pytest.param("/$", "/", False, id="a dollar is a dollar"),
        pytest.param("/a", "/a\n", False, id="no line end behind"),
        pytest.param("/a*", "/a\nb", True, id="a star takes line ends"),
        pytest.param("aa*aa", "aaa", False, id="ends do not overlap"),
        pytest.param("*aa*aa", "aaa", False, id="pieces do not overlap"),
        pytest.param("A", "a", False, id="case counts"),
    ],
)
def test_wildcards_match_whole_values(pattern: str, text: str, holds: bool) -> None:
    """`*` is any characters, `?` exactly one, and the whole value must match (docs/alb.md 3.1)."""
    assert compile_wildcards(pattern)(text) is holds


@given(st.text("ab.*?", max_size=8), st.text("ab./", max_size=12))
@example("*", "")
@example("**", "a")
@example("?*?", "ab")
@example("a*b*", "aab")
@example("*a?b*", "aaab")
def test_wildcards_agree_with_trying_everything(pattern: str, text: str) -> None:
    """Every pattern over every text gives what an exhaustive matcher gives."""
    assert compile_wildcards(pattern)(text) is matches(pattern, text)


@given(st.text("a*?", max_size=10), st.integers(0, 14))
def test_wildcards_agree_on_one_letter_texts(pattern: str, length: int) -> None:
    """Where nothing but lengths tells matches apart they agree too."""
    assert compile_wildcards(pattern)("a" * length) is matches(pattern, "a" * length)


@pytest.mark.parametrize(
    ("pattern", "unit"),
    [
        pytest.param("*xy*xy*xy*xy*xy*z", "xy", id="six stars"),
        pytest.param("*a*a*a*a*a*b", "a", id="single letters"),
        pytest.param("*a?a*a?a*a?a*a?a*a?a*b", "a", id="stars and question marks"),
        pytest.param("a*?*?*?*?*?b", "a", id="stars side by side"),
        pytest.param("**********b", "a", id="nothing but stars"),
    ],
)
def test_wildcards_hostile_subject_gets_the_right_answer(pattern: str, unit: str) -> None:
    """20,000 characters that nearly match at every place are answered; a matcher that tries all ways would never be."""
    text = unit * (20_000 // len(unit))
    matcher = compile_wildcards(pattern)
    assert matcher(text) is False
    assert matcher(text + pattern[-1]) is True
