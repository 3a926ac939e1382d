from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import albkit as alb
from albkit.model.attributes import ATTRIBUTES
from albkit.model.settings import Settings

_DOCS = Path(__file__).parent.parent / "docs"
_TOLD_NOT_GIVEN = {alb.AnomalyDetection, alb.Explanation, alb.HealthCheckResult, alb.Response, alb.TargetHealthDescription}
"""Public attrs classes that configure nothing: what is returned, and what a hook returns."""
_CONFIGURATION = sorted(
    (
        value
        for value in vars(alb).values()
        if isinstance(value, type) and (attrs.has(value) or value is alb.LoadBalancer) and value not in _TOLD_NOT_GIVEN
    ),
    key=lambda kind: kind.__name__,
)


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", _DOCS / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_reference = _generator()


def _fields(kind: type) -> list[attrs.Attribute[object]]:
    return make_reference.in_order(Settings if kind is alb.LoadBalancer else kind)


def _rows(kind: type) -> dict[str, list[str]]:
    """The cells of a class's table on the committed page, by name."""
    page = (_DOCS / "reference.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {kind.__name__}$(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{kind.__name__} is missing from the page"
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in found[1].splitlines() if line.startswith("| `")]
    return {row[0].strip().strip("`"): [cell.strip() for cell in row] for row in cells}


def test_reference_page_is_what_the_code_says() -> None:
    """The committed page is the generated one; `python docs/make_reference.py` writes it."""
    assert (_DOCS / "reference.md").read_text(encoding="utf-8") == make_reference.page()


def test_check_tells_whether_the_page_is_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` exits with 1 and says what to do while the page differs, with 0 once it was written, and never writes."""
    page = tmp_path / "reference.md"
    monkeypatch.setattr(make_reference, "PAGE", page)
    assert make_reference.main(["--check"]) == 1
    page.write_text("something else", encoding="utf-8")
    assert make_reference.main(["--check"]) == 1
    assert "docs/make_reference.py" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "something else"
    assert make_reference.main([]) == 0
    assert make_reference.main(["--check"]) == 0


@pytest.mark.parametrize("kind", _CONFIGURATION, ids=lambda kind: kind.__name__)
def test_configuration_class_is_on_the_page_with_all_its_settings(kind: type) -> None:
    """A row for each setting, and none for what is no setting; every cell says something."""
    rows = _rows(kind)
    assert list(rows) == [field.name for field in _fields(kind)]
    for name, cells in rows.items():
        assert len(cells) == 6, name
        assert all(cells), name
        assert cells[-1].endswith("."), name


def test_every_row_of_the_table_of_settings_is_on_the_page() -> None:
    """With its key, range and unit; a row that no class has would be a promise."""
    names = {kind.__name__: kind for kind in _CONFIGURATION}
    for (owner, name), attribute in ATTRIBUTES.items():
        _, key, values, _, unit, meaning = _rows(names[owner])[name]
        assert key == (f"`{attribute.key}`" if attribute.key else "-")
        assert values.replace("`", "") == attribute.range
        assert (unit, meaning) == (attribute.unit or "-", attribute.meaning)


@pytest.mark.parametrize("key", ATTRIBUTES, ids=".".join)
def test_default_in_the_table_is_that_of_the_class(key: tuple[str, str]) -> None:
    """The class takes what the table says; `None` in the table is a setting that is required, or may be left out."""
    owner, name = key
    (field,) = [field for field in _fields(getattr(alb, owner)) if field.name == name]
    assert (None if field.default is attrs.NOTHING else field.default) == ATTRIBUTES[key].default


def test_docstrings_leave_defaults_to_the_table() -> None:
    """The table of settings has each default once; signature and reference page get it from there. A docstring could only differ."""
    repeated = re.compile(r"\bby default\b|\((the )?default\b")
    found = [
        f"{kind.__name__}.{name}"
        for kind in _CONFIGURATION
        for name, meaning in make_reference.explained(kind)[1].items()
        if repeated.search(meaning)
    ]
    assert not found, f"{len(found)} docstrings name a default: {', '.join(found)}"


_GROUP = alb.TargetGroup("a")
_BUILT: dict[tuple[str, str], Callable[[Any], object]] = {
    ("Forward", "stickiness"): lambda value: alb.Forward(_GROUP, value),
    ("Forward", "on_failure"): lambda value: alb.Forward(_GROUP, on_failure=value),
    ("Target", "port"): lambda value: alb.Target("a", value),
    ("Target", "weight"): lambda value: alb.Target("a", 80, weight=value),
    ("Target", "protocol"): lambda value: alb.Target("a", 80, protocol=value),
    ("TargetGroup", "protocol"): lambda value: alb.TargetGroup("a", protocol=value),
    ("TargetGroup", "deregistration_delay"): lambda value: alb.TargetGroup("a", deregistration_delay=value),
    ("Redirect", "protocol"): lambda value: alb.Redirect(protocol=value, host="b"),
    ("Redirect", "status_code"): lambda value: alb.Redirect(status_code=value, host="b"),
    ("LbCookie", "duration"): alb.LbCookie,
    ("Rule", "priority"): lambda value: alb.Rule(value, alb.PathPattern("*"), alb.FixedResponse(200)),
    ("Listener", "port"): lambda value: alb.Listener(value, alb.FixedResponse(200)),
}


@pytest.mark.parametrize("key", _BUILT, ids=".".join)
def test_class_takes_the_range_that_the_page_tells_and_no_more(key: tuple[str, str]) -> None:
    """Both ends of the range are taken and what lies beyond is refused; so are words that are not in the list."""
    attribute = ATTRIBUTES[key]
    good: list[object] = [*attribute.choices]
    bad: list[object] = ["nonsense"]
    for bound, step in ((attribute.minimum, -1), (attribute.maximum, 1)):
        if bound is not None:
            good.append(bound)
            bad.append(bound + step)
    assert good
    for value in good:
        _BUILT[key](value)
    for value in bad:
        with pytest.raises(alb.ConfigurationError, match=key[1]):
            _BUILT[key](value)


_REQUIRED: dict[str, tuple[object, ...]] = {
    "AccessLog": ("access.log",),
    "Certificate": ("cert.pem", "key.pem"),
    "ConnectionLog": ("connections.log",),
    "HealthCheckLog": ("checks.log",),
    "AppCookie": ("session",),
    "DnsName": ("api.internal", 80),
    "FixedResponse": (200,),
    "Forward": (_GROUP,),
    "Listener": (80, alb.FixedResponse(200)),
    "LoadBalancer": (alb.Listener(80, alb.FixedResponse(200)),),
    "MutualAuthentication": ("passthrough",),
    "RouteSuffix": ("JSESSIONID",),
    "Rule": (1, alb.PathPattern("*"), alb.FixedResponse(200)),
    "Target": ("a", 80),
    "TargetGroup": ("a",),
}
"""What cannot be left out, by class, in the order of its signature."""


@pytest.mark.parametrize("key", ATTRIBUTES, ids=".".join)
def test_every_setting_of_the_table_is_checked_by_its_class(key: tuple[str, str]) -> None:
    """A row that its class does not look at would promise a range that nobody keeps."""
    owner, name = key
    kind = getattr(alb, owner)
    signature = [parameter for parameter in inspect.signature(kind).parameters if parameter != "self"]
    required = dict(zip(signature, _REQUIRED.get(owner, ()), strict=False))
    with pytest.raises(alb.ConfigurationError, match=name):
        kind(**{**required, name: object()})


def test_range_of_large_numbers_is_readable() -> None:
    """A person reads 1048576, not 1.04858e+06; the same words stand in the fault."""
    assert ATTRIBUTES["Limits", "request_line"].range == "64 to 1048576"
    with pytest.raises(alb.ConfigurationError, match="64 to 1048576 bytes"):
        alb.Limits(request_line=1)
