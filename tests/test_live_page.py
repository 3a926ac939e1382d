"""The live page is one file, built from albkit/admin/source."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

_DOCS = Path(__file__).parents[1] / "docs"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_admin_page", _DOCS / "make_admin_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_admin_page = _generator()


def test_page_is_built_from_its_sources() -> None:
    """The committed page is the built one; `python docs/make_admin_page.py` writes it."""
    assert make_admin_page.main(["--check"]) == 0


def test_page_that_is_old_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do."""
    monkeypatch.setattr(make_admin_page, "PAGE", tmp_path / "page.html")
    assert make_admin_page.main(["--check"]) == 1
    assert "docs/make_admin_page.py" in capsys.readouterr().err
    assert make_admin_page.main([]) == 0
    assert make_admin_page.main(["--check"]) == 0


def test_page_is_one_small_file_that_a_strict_policy_allows() -> None:
    """One script and one style element, no handler and no style in an attribute, and no markup made of text."""
    text = make_admin_page.PAGE.read_text(encoding="utf-8")
    assert len(text.encode()) < 100 * 1024
    assert (text.count("<script"), text.count("<style")) == (1, 1)
    for never in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert never not in text
    tags = [part.partition(">")[0] for part in text.partition("<script>")[0].partition("</style>")[2].split("<")]
    assert not [tag for tag in tags if " style=" in tag or " on" in tag]


@pytest.mark.parametrize(
    ("source", "squeezed"),
    [
        ("const a = 1; // one\nlet b = a + +a - -a;\n", "let a=1;let b=a+ +a- -a;"),
        ("/* x\n */ f( \"a // b\", 'c  d' )\ng()", "f(\"a // b\",'c  d')\ng()"),
        ("x = `a  ${ b + `c  ${ d }` }  // e`", "x=`a  ${b+`c  ${d}`}  // e`"),
        ('s.replace(/ a [/"] /g, b) / 2 / c', 's.replace(/ a [/"] /g,b)/2/c'),
        ("if (a) return / b/.test(c)\nelse d", "if(a)return/ b/.test(c)\nelse d"),
        ("a = b\n  (c)\nfor (const x of y) z\n", "a=b\n(c)\nfor(let x of y)z"),
        ("`${ { a: 1 }.a }\\` `", "`${{a:1}.a}\\` `"),
    ],
)
def test_script_loses_only_what_means_nothing(source: str, squeezed: str) -> None:
    """Strings, templates and regular expressions stay as they are, and so do the line ends that may end a statement."""
    assert make_admin_page.squeeze_script(source) == squeezed


def test_style_loses_spaces_and_comments() -> None:
    """Selectors keep the spaces that mean something."""
    style = "/* note */\n.a .b, a:hover { color: red; margin: 0 1px; }\n@media (width > 1px) { .c { top: 0; } }\n"
    assert make_admin_page.squeeze_style(style) == ".a .b,a:hover{color:red;margin:0 1px}\n@media (width > 1px){.c{top:0}}"
