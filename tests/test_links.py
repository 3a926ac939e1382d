"""Links between the Markdown pages lead to files and headings that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


def _prose(page: Path) -> str:
    """The page without its code, in which `#` begins a comment."""
    return re.sub(r"^```.*?^```$|^<!--.*?-->$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """What a link to this page may have behind its `#`: GitHub's slugs of the headings, and anchors that are written out."""
    prose = _prose(page)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "]", heading).lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', prose))


def _broken_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        there = page.parent / file if file else page
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            yield link


def test_pages_link_to_each_other() -> None:
    """Otherwise the test below proves nothing."""
    assert sum(len(re.findall(r"\]\([\w/]+\.md", _prose(page))) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """To a file of the repository, and to one of its headings if the link names one."""
    assert list(_broken_links(page)) == []


@pytest.mark.parametrize("link", ["missing.md", "there.md#missing", "#missing", "there.md#in-code"])
def test_link_that_leads_nowhere_is_found(link: str, tmp_path: Path) -> None:
    """A file that is missing, a heading that is missing, and a comment in code that only looks like a heading."""
    (tmp_path / "there.md").write_text("# Here and there\n\n```python\n# In code\n```\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n[good](there.md#here-and-there), [itself](#a-page), [bad]({link})\n", encoding="utf-8")
    assert list(_broken_links(page)) == [link]
