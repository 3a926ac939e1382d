from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from albkit.policy.paths import path_to_match
from tests.policy.naive import without_dot_segments


@pytest.mark.parametrize(
    ("path", "matched"),
    [
        pytest.param("/a/b/c/./../../g", "/a/g", id="RFC 3986 5.2.4 sample"),
        pytest.param("/a/./b", "/a/b", id="single dot"),
        pytest.param("/a/../b", "/b", id="double dot"),
        pytest.param("/a/..", "/", id="double dot at the end"),
        pytest.param("/a/b/.", "/a/b/", id="single dot at the end"),
        pytest.param("/..", "/", id="above the root"),
        pytest.param("/../../a", "/a", id="far above the root"),
        pytest.param("/.well-known/x", "/.well-known/x", id="a dot begins a name"),
        pytest.param("/..a/...", "/..a/...", id="dots in names"),
        pytest.param("/a//b", "/a//b", id="doubled slashes stay"),
        pytest.param("//", "//", id="nothing but slashes"),
        pytest.param("/%2e%2e/a", "/%2e%2e/a", id="nothing is decoded"),
        pytest.param("/a%2F..%2Fb", "/a%2F..%2Fb", id="an escaped slash is no slash"),
        pytest.param("/A", "/A", id="case stays"),
        pytest.param("/a;x=../b", "/a;x=../b", id="a parameter is no segment"),
        pytest.param("*", "*", id="asterisk"),
    ],
)
def test_path_to_match_resolves_dot_segments_only(path: str, matched: str) -> None:
    """Dot segments are resolved at most, and nothing is decoded (docs/alb.md 2.5, 11.1)."""
    assert path_to_match(path) == matched


@given(st.lists(st.sampled_from([".", "..", "", "a", "b.", ".c", "..."]), max_size=8).map(lambda segments: "/" + "/".join(segments)))
@example("/a//..//b/.")
def test_path_to_match_agrees_with_the_rfcs_algorithm(path: str) -> None:
    """The result is RFC 3986 section 5.2.4's for every path."""
    assert path_to_match(path) == without_dot_segments(path)
