"""What the project points to exists and can be opened: sections of docs/alb.md, files, links between documents."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parents[1]
_ALB = "docs/alb.md"
_TEXT = (".py", ".md", ".cfg", ".toml", ".txt", ".js", ".json", ".html", ".yaml", ".yml", "")
_NOT_OURS = {".git", "node_modules", "__pycache__", "build", "dist", ".venv"}


def _files() -> list[Path]:
    """Every text file of the repository; of a copy that is no checkout, every one that looks like one."""
    asked = subprocess.run(["git", "-C", _ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        found = [_ROOT / name for name in asked.stdout.split("\0") if name]
    else:
        found = [path for path in _ROOT.rglob("*") if not _NOT_OURS & set(path.relative_to(_ROOT).parts)]
    return sorted(path for path in found if path.suffix in _TEXT and path.is_file())


_FILES = _files()
_PAGES = [path for path in _FILES if path.suffix == ".md"]


def _name(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


class Mention(NamedTuple):
    """One place that names sections of docs/alb.md."""

    file: str
    line: int
    sections: tuple[str, ...]


_SECTION = r"[0-9]+(?:\.[0-9]+)?"
_MENTION = re.compile(rf"docs/alb\.md\s+(?:#\s*)?({_SECTION}(?:(?:, ?| to | and ){_SECTION})*)")


def _mentions(name: str, text: str) -> Iterator[Mention]:
    for found in _MENTION.finditer(text):
        yield Mention(name, text.count("\n", 0, found.start()) + 1, tuple(re.findall(_SECTION, found[1])))


_HEADINGS = set(re.findall(rf"^##+ ({_SECTION}) \S", _text(_ROOT / _ALB), re.MULTILINE))


def test_mentions_are_found_however_they_are_written() -> None:
    """Lists, ranges, and lines that are broken within a comment."""
    text = 'x (docs/alb.md 2.3, 2.4; RFC 9112)."""\n# see docs/alb.md 2.3 to 2.7 and docs/alb.md\n# 4.2.\n'
    assert [mention.sections for mention in _mentions("x.py", text)] == [("2.3", "2.4"), ("2.3", "2.7"), ("4.2",)]


def test_each_section_of_the_page_on_alb_has_one_heading() -> None:
    """So that a number leads to one place; the sections of a chapter stand below it, in order."""
    numbers = re.findall(rf"^##+ ({_SECTION}) \S", _text(_ROOT / _ALB), re.MULTILINE)
    order = [tuple(map(int, number.split("."))) for number in numbers]
    assert len(numbers) > 40
    assert order == sorted(set(order))


def test_each_mention_of_a_section_of_the_page_on_alb_names_a_heading() -> None:
    """`docs/alb.md 4.2` in code, documents, examples, benchmarks and tests is a heading there."""
    folders = ("albkit/", "docs/", "examples/", "benchmarks/", "tests/")
    here = _name(Path(__file__))
    texts = [(name, _text(path)) for path in _FILES if (name := _name(path)).startswith(folders) and name != here]
    wrong = [mention for name, text in texts for mention in _mentions(name, text) if not _HEADINGS.issuperset(mention.sections)]
    assert not wrong


_PAPERS = re.compile(
    # In two pieces, so that this line is none of those that it finds.
    r"alb-"
    r"reference|\(design\b|\bdesign: |\bdesign(?: section)? [0-9]|\bdesign's\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    "wrong",
    ["(alb-" + "reference 4.2)", "(design 4)", "(design: identity)", "table of design section 2", "the design's table"],
)
def test_mention_of_a_private_paper_is_found(wrong: str) -> None:
    """In each form that was ever used."""
    assert _PAPERS.search(f"Whatever it is {wrong}.")


@pytest.mark.parametrize("good", ["It is strict by design.", "designed", "a design that works", "docs/alb.md 4.2"])
def test_plain_english_is_no_mention_of_a_private_paper(good: str) -> None:
    """The word alone names nothing."""
    assert not _PAPERS.search(good)


def test_no_file_names_a_paper_that_is_not_in_the_repository() -> None:
    """Readers can open what is named: docs/alb.md, an RFC section, a page of AWS's."""
    here = _name(Path(__file__))
    wrong = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in _FILES
        if _name(path) != here
        for number, line in enumerate(_text(path).splitlines(), 1)
        if _PAPERS.search(line)
    ]
    assert not wrong, f"{len(wrong)} lines:\n" + "\n".join(wrong)


def test_each_document_that_code_names_exists() -> None:
    """`docs/tls.md` or `README.md` in a docstring or a message is a file that readers find."""
    known = {name for page in _PAGES for name in (_name(page), page.name)}
    here = _name(Path(__file__))
    texts = {_name(path): _text(path) for path in _FILES if path.suffix == ".py"}
    named = {(name, page) for name, text in texts.items() if name != here for page in re.findall(r"\b[\w/-]+\.md\b", text)}
    assert "docs/desync.md" in {page for _, page in named}
    assert not [f"{name}: {page}" for name, page in sorted(named) if page not in known]


_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1`*\s*$", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:(?: {4}|\t).*\n)+")
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_INLINE = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_DEFINITION = re.compile(r"^ {0,3}\[([^\]]+)\]:\s*<?([^\s>]+)>?", re.MULTILINE)
_REFERENCE = re.compile(r"\[[^\[\]]+\]\[([^\[\]]+)\]")
_HTML = re.compile(r"<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def _prose(text: str) -> str:
    """A page without its code, in which brackets mean something else."""
    return _CODE.sub("", _INDENTED.sub("\n", _FENCE.sub("", text)))


def _links(text: str) -> list[str]:
    prose = _prose(text)
    return [*_INLINE.findall(prose), *(target for _, target in _DEFINITION.findall(prose)), *_HTML.findall(prose)]


def _anchors(text: str) -> set[str]:
    """What GitHub makes of the headings: lower case, no punctuation, a hyphen for each blank, numbers behind repeated ones."""
    prose = _FENCE.sub("", text)
    seen: Counter[str] = Counter()
    anchors = set(re.findall(r"<a\s+(?:id|name)=\"([^\"]+)\"", prose))
    for heading in re.findall(r"^#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$", prose, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return anchors


def _fault_of_link(page: Path, link: str) -> str | None:
    if _SCHEME.match(link):
        return None
    file, _, anchor = link.partition("#")
    path = (page.parent / file).resolve() if file else page
    if not path.is_relative_to(_ROOT) or not path.exists():
        return f"{link}: there is no such file"
    if anchor and (path.suffix != ".md" or anchor not in _anchors(_text(path))):
        return f"{link}: there is no such heading"
    return None


def test_anchors_are_those_of_github() -> None:
    """As it makes them of the headings of a page."""
    page = (
        "# One: `two` and (three)\n\n## 4.2 Redirect actions\n\n## Same\n\n## Same\n\n"
        "```text\n# no heading\n```\n## [A page](b.md)'s_name\n"
    )
    assert _anchors(page) == {"one-two-and-three", "42-redirect-actions", "same", "same-1", "a-pages_name"}


def test_links_are_found_outside_of_code_only() -> None:
    """Inline, by reference, in HTML; what stands in a sample is none."""
    page = '[a](b.md#c) `[no](no.md)` <img src="d.png">\n\n    x[0](no)\n\n```python\ny[1](no)\n```\n\n[e]: f.md\n'
    assert _links(page) == ["b.md#c", "f.md", "d.png"]


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("alb.md", None),
        ("alb.md#42-redirect-actions", None),
        ("../README.md", None),
        ("https://example.com/no.md#no", None),
        ("no.md", "no.md: there is no such file"),
        ("alb.md#no-such-heading", "alb.md#no-such-heading: there is no such heading"),
        ("../../outside.md", "../../outside.md: there is no such file"),
    ],
)
def test_link_is_judged_from_its_page(link: str, fault: str | None) -> None:
    """Files and headings; what is elsewhere is not looked up."""
    assert _fault_of_link(_ROOT / _ALB, link) == fault


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    """To a file of the repository, and a heading in it if the link names one."""
    assert not [fault for link in _links(_text(page)) if (fault := _fault_of_link(page, link))]


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_each_reference_of_a_page_has_its_definition_and_each_definition_a_reference(page: Path) -> None:
    """`[text][name]` needs `[name]: address`, or GitHub shows the brackets."""
    prose = _prose(_text(page))
    defined = {name.lower() for name, _ in _DEFINITION.findall(prose)}
    used = {name.lower() for name in _REFERENCE.findall(prose)}
    assert used == defined
