from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.conditions import host_header, path_pattern

_KINDS: list[Any] = [alb.HostHeader, alb.PathPattern]


@pytest.mark.parametrize("kind", _KINDS)
def test_condition_takes_one_value_several_or_a_list(kind: Any) -> None:
    """Values are OR: however they are given they are one tuple."""
    assert kind("*a").values == ("*a",)
    assert kind("*a", "*b").values == ("*a", "*b")
    assert kind(["*a", "*b"]).values == ("*a", "*b")
    assert kind("*a", ["*b", "*c"]) == kind("*a", "*b", "*c")


@pytest.mark.parametrize("kind", _KINDS)
def test_condition_is_a_value(kind: Any) -> None:
    """Frozen and hashable, and the two kinds are never equal."""
    condition = kind("*a")
    assert {condition, kind(["*a"])} == {condition}
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        condition.values = ("*b",)
    assert len({kind("*a") for kind in _KINDS}) == len(_KINDS)


@pytest.mark.parametrize(
    "value",
    ["example.com", "*.example.com", "*", "?", "EXAMPLE.com", "a-b_c.example.com", "10.0.0.1", "a" * 128],
)
def test_host_header_takes_albs_alphabet(value: str) -> None:
    """Letters, digits and - _ . * ? up to 128 characters (docs/alb.md 3.2)."""
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
    """Letters, digits and _ - . $ / ~ " ' @ : + & * ? up to 128 characters (docs/alb.md 3.2)."""
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


@pytest.mark.parametrize("value", ["api/*", "a", "api", "%2Fapi", ".well-known/*", "a?b*"])
def test_path_pattern_that_no_path_can_match_is_refused_with_what_to_write(value: str) -> None:
    """Paths begin with a slash, so a pattern begins with one, or with a wildcard that stands for it."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.PathPattern("/good", value, "*" + value, "?" + value)
    assert raised.value.faults == (f"values[1]: {value!r} matches no path, because paths begin with a slash; write '/{value}'",)
    assert alb.PathPattern("/" + value).values == ("/" + value,)


@pytest.mark.parametrize("kind", _KINDS)
def test_condition_with_every_fault_tells_them_all(kind: Any) -> None:
    """Each wrong value has a fault of its own."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind("", "*good", "*" * 129, "*b d", 7)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[0]", "values[2]", "values[3]", "values[4]"]
    assert raised.value.subject == kind.__name__


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("values", [(), ([],), (None,)], ids=["none", "empty list", "None"])
def test_condition_without_a_value_is_refused(kind: Any, values: tuple[Any, ...]) -> None:
    """Empty value lists are invalid (docs/alb.md 1.5)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        kind(*values)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values"]


def test_condition_words_name_the_alphabet_that_is_taken() -> None:
    """The documentation of each kind lists just the characters that its values may hold."""
    for kind, alphabet in ((alb.HostHeader, host_header._ALPHABET), (alb.PathPattern, path_pattern._ALPHABET)):
        listed = "".join(word for word in alphabet.words.split() if len(word) == 1)
        taken = {chr(code) for code in range(128) if not chr(code).isalnum() and alphabet.expression.fullmatch(chr(code))}
        assert set(listed) == taken
        documented = (kind.__doc__ or "").partition("characters of `")[2].partition("`")[0]
        assert {word for word in documented.split() if len(word) == 1} == taken


# Regular expressions.

_WITH_REGEX: list[Any] = [
    pytest.param(alb.HostHeader, id="HostHeader"),
    pytest.param(alb.PathPattern, id="PathPattern"),
    pytest.param(partial(alb.HttpHeader, "X"), id="HttpHeader"),
]


@pytest.mark.parametrize("make", _WITH_REGEX)
@pytest.mark.parametrize(
    "pattern",
    ["^/a/[0-9]+$", "(a|b)*", "a{2,5}", "(?i)a", "(?:a)", "(?P<n>a)", r"\\d\\w\\b", r"\\\\pL", "[[:alpha:]]", ".", "a*?", "x" * 128],
)
def test_regex_of_albs_dialect_is_taken(make: Any, pattern: str) -> None:
    """Up to 128 characters of an RE2-like dialect (docs/alb.md 2.6, 3.1)."""
    assert make(regex=pattern).regex == (pattern,)
    assert make(regex=[pattern, "b"]).regex == (pattern, "b")


@pytest.mark.parametrize("make", _WITH_REGEX)
@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param("(?=a)", id="lookahead"),
        pytest.param("(?!a)", id="negative lookahead"),
        pytest.param("(?<=a)b", id="lookbehind"),
        pytest.param("(?<!a)b", id="negative lookbehind"),
        pytest.param(r"(a)\1", id="backreference"),
        pytest.param("(?P<n>a)(?P=n)", id="named backreference"),
        pytest.param("(?>a)", id="atomic group"),
        pytest.param("a++", id="possessive +"),
        pytest.param("a*+", id="possessive *"),
        pytest.param("a?+", id="possessive ?"),
        pytest.param("(?1)(a)", id="subroutine"),
        pytest.param("(?R)", id="recursion"),
        pytest.param("(?(1)a|b)", id="conditional"),
        pytest.param(r"\p{L}", id="property"),
        pytest.param(r"\PL", id="negated property"),
        pytest.param(r"a\\\pL", id="property behind a backslash"),
        pytest.param(r"\C", id="single byte"),
        pytest.param("(", id="open group"),
        pytest.param("[a", id="open class"),
        pytest.param("*a", id="nothing to repeat"),
        pytest.param("a{2,1}", id="repetition upside down"),
        pytest.param("((a{100}){100}){100}", id="too large when compiled"),
        pytest.param("x" * 129, id="too long"),
        pytest.param("", id="empty"),
        pytest.param("\ud800", id="no text"),
        pytest.param(7, id="number"),
        pytest.param(b"a", id="bytes"),
    ],
)
def test_regex_outside_the_dialect_is_refused(make: Any, pattern: Any) -> None:
    """What docs/alb.md 2.6 excludes, and what is no expression: the fault names its place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        make(regex=["good", pattern])
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["regex[1]"]


@pytest.mark.parametrize("make", _WITH_REGEX)
def test_condition_with_values_and_regex_is_refused(make: Any) -> None:
    """A condition uses values or regexes (docs/alb.md 3.1)."""
    with pytest.raises(alb.ConfigurationError) as raised:
        make("*a", regex="a")
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["regex"]


# http-header.


@pytest.mark.parametrize("name", ["X-Canary", "a", "x" * 40, "!#$%&'*+-.^_`|~9"])
def test_http_header_takes_field_names(name: str) -> None:
    """A token of at most 40 characters (docs/alb.md 3.2)."""
    assert alb.HttpHeader(name, "a").http_header_name == name


@pytest.mark.parametrize("name", ["", "x" * 41, "Host", "HOST", "a b", "a:", "X-?", "X(", "\u00e4", None, 7, b"X"], ids=repr)
def test_http_header_refuses_other_names(name: Any) -> None:
    """No token, too long, or Host, which has a condition of its own."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HttpHeader(name, "a")
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["http_header_name"]


@pytest.mark.parametrize("value", ["a", "*", " a b ", "!\"#$%&'()+,./:;<=>@[]^_`{|}~-*?", "a" * 128])
def test_http_header_takes_albs_alphabet(value: str) -> None:
    """Letters, digits, blanks and ALB's marks, up to 128 characters (docs/alb.md 3.2)."""
    assert alb.HttpHeader("X", value, [value]).values == (value, value)


@pytest.mark.parametrize("value", ["", "a" * 129, "a\r\nb", "\u00e4", "a\0", "\t", 7, None, b"a"], ids=repr)
def test_http_header_refuses_other_values(value: Any) -> None:
    """The fault names the value's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HttpHeader("X", ["good", value])
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[1]"]


def test_http_header_with_every_fault_tells_them_all() -> None:
    """Name and values at once."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HttpHeader("a b", "", "good", 7)  # type: ignore[arg-type]
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["http_header_name", "values[0]", "values[2]"]


# http-request-method.


@pytest.mark.parametrize("value", ["GET", "PURGE", "M-SEARCH", "A_B", "X" * 40])
def test_http_request_method_takes_albs_alphabet(value: str) -> None:
    """Capital letters, - and _ up to 40 characters (docs/alb.md 3.2)."""
    assert alb.HttpRequestMethod(value, ["GET"]).values == (value, "GET")


@pytest.mark.parametrize("value", ["", "get", "G*", "G?T", "X" * 41, "A1", "A B", 7, None], ids=repr)
def test_http_request_method_refuses_other_values(value: Any) -> None:
    """No wildcards and no small letters: the fault names the value's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.HttpRequestMethod(["GET", value] if value is not None else "")
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[0]" if value is None else "values[1]"]


# query-string.


def test_query_string_takes_pairs_values_and_lists() -> None:
    """A pair is a 2-tuple, text alone is a value of any key, and a list holds several."""
    pair, value = ("k", "v"), (None, "x")
    assert alb.QueryString(("k", "v")).values == (pair,)
    assert alb.QueryString("x").values == (value,)
    assert alb.QueryString(("k", "v"), "x").values == (pair, value)
    assert alb.QueryString([("k", "v"), "x"]) == alb.QueryString(("k", "v"), "x")
    assert len({alb.QueryString("x"), alb.QueryString(["x"])}) == 1


@pytest.mark.parametrize("text", ["a", "*", "?", r"\\*", "_-.$/~\"'@:+&()!,;=*?", "a" * 128])
def test_query_string_takes_albs_alphabet(text: str) -> None:
    """Up to 128 characters in key and value (docs/alb.md 3.2)."""
    assert alb.QueryString((text, text)).values == ((text, text),)


@pytest.mark.parametrize(
    ("values", "paths"),
    [
        ((), ["values"]),
        (([],), ["values"]),
        (("",), ["values[0]"]),
        (("a", "a b"), ["values[1]"]),
        (("a" * 129,), ["values[0]"]),
        ((("", "v"),), ["values[0]"]),
        ((("k", ""),), ["values[0]"]),
        ((("k",),), ["values[0]"]),
        ((("k", "v", "w"),), ["values[0]"]),
        ((("k", 7),), ["values[0]"]),
        ((("\u00e4", "a\n"),), ["values[0]", "values[0]"]),
        ((7,), ["values[0]"]),
        ((None,), ["values[0]"]),
        ((["k", "v", ("a b", "c")],), ["values[2]"]),
    ],
    ids=repr,
)
def test_query_string_refuses_other_values(values: tuple[Any, ...], paths: list[str]) -> None:
    """The fault names the value's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.QueryString(*values)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == paths


# source-ip.


@pytest.mark.parametrize(
    "value", ["10.0.0.0/8", "192.0.2.1/32", "192.0.2.1", "0.0.0.0/0", "2001:db8::/32", "::1/128", "::1", "255.255.255.254/32"]
)
def test_source_ip_takes_networks_of_both_versions(value: str) -> None:
    """CIDR notation, IPv4 and IPv6 (docs/alb.md 3.2)."""
    assert alb.SourceIp(value).values == (value,)
    assert alb.SourceIp([value] * 5).values == (value,) * 5


@pytest.mark.parametrize(
    "value",
    ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "::/129", "255.255.255.255/32", "255.255.255.255", "localhost", "10.0.0.0/", 7, b"::"],
    ids=repr,
)
def test_source_ip_refuses_other_values(value: Any) -> None:
    """No network, host bits set, or nobody's address: the fault names the value's place."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.SourceIp("10.0.0.0/8", value)
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values[1]"]


@pytest.mark.parametrize("count", [0, 6])
def test_source_ip_takes_one_to_five_networks(count: int) -> None:
    """At most five (docs/alb.md 3.2), and at least one."""
    with pytest.raises(alb.ConfigurationError) as raised:
        alb.SourceIp([f"10.{number}.0.0/16" for number in range(count)])
    assert [fault.partition(":")[0] for fault in raised.value.faults] == ["values"]
