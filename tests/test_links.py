"""Links between the documents lead somewhere: to a file of the repository, and to a title in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
PAGES = sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").glob("*.md"), *(_ROOT / "benchmarks").glob("*.md"), *(_ROOT / "tests").glob("*.md")])
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_REFERENCE = re.compile(r"\[[^]\[]+\]\[([^]\[]+)\]")
_DEFINITION = re.compile(r"^\[([^]]+)\]: +(\S+)$", re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_TITLE = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def _prose(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """What GitHub makes of the titles: lower case, hyphens for blanks, other punctuation left out; a number from the second time on."""
    anchors: set[str] = set()
    for title in _TITLE.findall(_prose(page)):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        anchor = plain = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        number = 0
        while anchor in anchors:
            number += 1
            anchor = f"{plain}-{number}"
        anchors.add(anchor)
    return anchors


def _broken(page: Path) -> list[str]:
    broken = []
    prose = _prose(page)
    for link in [*_LINK.findall(prose), *(target for _, target in _DEFINITION.findall(prose))]:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_links_of_a_document_lead_somewhere(page: Path) -> None:
    """No link names a file or a title that is not there."""
    assert _broken(page) == []


def _references(page: Path) -> tuple[set[str], set[str]]:
    """The names in `[text][name]`, and those that `[name]: address` defines."""
    prose = _CODE.sub("", _prose(page))
    return set(_REFERENCE.findall(prose)), {name for name, _ in _DEFINITION.findall(prose)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(_ROOT)))
def test_references_of_a_document_are_defined_and_definitions_are_used(page: Path) -> None:
    """`[text][name]` without `[name]: address` shows its brackets to readers."""
    used, defined = _references(page)
    assert used == defined


def test_index_names_every_document() -> None:
    """Each page in docs can be found from docs/README.md."""
    linked = set(_LINK.findall(_prose(_ROOT / "docs" / "README.md")))
    assert {page.name for page in (_ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


def test_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    """Else the test above would say nothing."""
    (tmp_path / "other.md").write_text("# Load balancer cookie (`LbCookie`)\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](other.md#load-balancer-cookie-lbcookie) [b](other.md#gone) [c](gone.md) [d](#here)\n\n## Here\n\n[e]: other.md#e\n",
        encoding="utf-8",
    )
    assert _broken(page) == ["other.md#gone", "gone.md", "other.md#e"]


def test_reference_without_a_definition_is_found(tmp_path: Path) -> None:
    """In prose; brackets in code mean something else."""
    page = tmp_path / "page.md"
    page.write_text("[a][one] [b][two] `x[0][1]`\n\n[one]: https://example.com/\n[three]: https://example.com/\n", encoding="utf-8")
    assert _references(page) == ({"one", "two"}, {"one", "three"})
