from __future__ import annotations

import pytest

import albkit as alb
from albkit.model.message import RequestHead
from albkit.policy.conditions import compile_condition


def _request(host: str, path: str) -> RequestHead:
    request = RequestHead()
    request.host, request.path = host, path
    return request


@pytest.mark.parametrize(
    ("values", "host", "holds"),
    [
        pytest.param(["example.com"], "example.com", True, id="exact"),
        pytest.param(["EXAMPLE.com"], "example.com", True, id="alb 3.2 case is ignored"),
        pytest.param(["*.EXAMPLE.com"], "a.example.com", True, id="alb 3.2 case is ignored in wildcards"),
        pytest.param(["example.com"], "a.example.com", False, id="whole value"),
        pytest.param(["a.com", "b.com"], "b.com", True, id="alb 3.1 values are OR"),
        pytest.param(["a.com", "*.b.com"], "c.com", False, id="none of several"),
        pytest.param(["?.com"], "ab.com", False, id="one character"),
    ],
)
def test_host_header_holds_for_matching_hosts(values: list[str], host: str, holds: bool) -> None:
    """Whole host, without case, any of the values."""
    assert compile_condition(alb.HostHeader(values))(_request(host, "/")) is holds


@pytest.mark.parametrize(
    ("values", "path", "holds"),
    [
        pytest.param(["/a"], "/a", True, id="exact"),
        pytest.param(["/a"], "/A", False, id="alb 3.2 case counts"),
        pytest.param(["/a/*"], "/a/b/c", True, id="star crosses slashes"),
        pytest.param(["/a", "/b"], "/b", True, id="alb 3.1 values are OR"),
        pytest.param(["/a", "/b"], "/c", False, id="none of several"),
        pytest.param(["/admin/*"], "/public/../admin/x", True, id="dot segments do not hide a path"),
        pytest.param(["/public/*"], "/public/../admin/x", False, id="dot segments do not pretend one"),
        pytest.param(["/a"], "/%61", False, id="nothing is decoded"),
        pytest.param(["/a%2Fb"], "/a%2Fb", True, id="escapes compare raw"),
        pytest.param(["*"], "*", True, id="asterisk form"),
    ],
)
def test_path_pattern_holds_for_matching_paths(values: list[str], path: str, holds: bool) -> None:
    """Whole path, with case, any of the values, raw but for dot segments."""
    assert compile_condition(alb.PathPattern(values))(_request("", path)) is holds
