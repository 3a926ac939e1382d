"""What the project names as a source exists and can be opened: sections of docs/alb.md, and documents of the repository."""

from __future__ import annotations

import re
import subprocess
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


_ELSEWHERE = re.compile(r"alb[-]reference|\(design\b|\bdesign: |\bdesign(?: section)? [0-9]|\bdesign's\b", re.IGNORECASE)
"""Pointers to documents that are not in the repository."""


@pytest.mark.parametrize(
    "pointer", ["(design 4)", "(RFC 9112, design 4)", "(design: identity)", "as design section 2 says", "the design's table"]
)
def test_pointer_to_a_document_elsewhere_is_found(pointer: str) -> None:
    """In each of its forms."""
    assert _ELSEWHERE.search(f"It is so {pointer}.")


@pytest.mark.parametrize("good", ["It is strict by design.", "designed", "a design that works", "docs/alb.md 4.2"])
def test_plain_english_is_no_pointer(good: str) -> None:
    """The word alone names nothing."""
    assert not _ELSEWHERE.search(good)


def test_no_file_points_to_a_document_elsewhere() -> None:
    """Readers can open what is named: a document of the repository, an RFC section, a page of AWS."""
    here = _name(Path(__file__))
    wrong = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in _FILES
        if _name(path) != here
        for number, line in enumerate(_text(path).splitlines(), 1)
        if _ELSEWHERE.search(line)
    ]
    assert not wrong, f"{len(wrong)} lines:\n" + "\n".join(wrong)


def test_each_document_that_code_names_exists() -> None:
    """`docs/tls.md` or `README.md` in a docstring, a comment or a message is a file that readers find."""
    known = {name for page in _PAGES for name in (_name(page), page.name)}
    # Tests write pages of their own, with names of their own.
    texts = {name: _text(path) for path in _FILES if path.suffix == ".py" and not (name := _name(path)).startswith("tests/")}
    named = {(name, page) for name, text in texts.items() for page in re.findall(r"\b[\w/-]+\.md\b", text)}
    assert "docs/desync.md" in {page for _, page in named}
    assert not [f"{name}: {page}" for name, page in sorted(named) if page not in known]
