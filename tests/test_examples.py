"""Every example runs as it stands, and so does the code in the documents: whole programs alone, the snippets of a page together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import pages

_ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((_ROOT / "examples").glob("*.py"))


class Sample(NamedTuple):
    """A program in a document, and what the document says that it prints."""

    name: str
    program: str
    output: str | None


def _samples(page: Path) -> list[Sample]:
    programs = [block for block in pages.blocks(page.read_text(encoding="utf-8")) if block.is_program]
    return [Sample(f"{page.stem}-{number}", block.code, block.output or None) for number, block in enumerate(programs, 1)]


SAMPLES = [sample for page in sorted((_ROOT / "docs").glob("*.md")) for sample in _samples(page)]
PAGES_WITH_SNIPPETS = [
    page
    for page in sorted((_ROOT / "docs").glob("*.md"))
    if any(not block.is_program for block in pages.blocks(page.read_text(encoding="utf-8")))
]


def _run_snippets(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    for name in ("cert.pem", "key.pem"):
        shutil.copy(_ROOT / "tests/support/certificates" / name, folder)
    command = [sys.executable, "-P", "-W", "error", pages.__file__, page]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


def test_there_are_examples() -> None:
    """Else the test below would say nothing."""
    assert "quickstart.py" in [path.name for path in EXAMPLES]


def test_there_are_samples_with_their_output() -> None:
    """Each document on a task shows programs, and what each prints."""
    pages = {sample.name.rpartition("-")[0] for sample in SAMPLES}
    assert pages >= {"balancing", "changing", "extending", "health", "http2", "listening", "sessions", "tls", "tunnels"}
    assert all(sample.output for sample in SAMPLES)
    assert {page.stem for page in PAGES_WITH_SNIPPETS} >= {"features", "health", "sessions"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_by_itself_without_a_complaint(path: Path, tmp_path: Path) -> None:
    """Exit code 0, something shown, nothing on stderr, whatever directory it is run in."""
    answer = subprocess.run([sys.executable, "-W", "error", path], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_sample_of_a_document_prints_what_stands_below_it(sample: Sample, tmp_path: Path) -> None:
    """Copied into a file it runs as it stands, without a complaint."""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", sample.program], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout == sample.output


@pytest.mark.parametrize("page", PAGES_WITH_SNIPPETS, ids=lambda page: page.stem)
def test_snippets_of_a_document_run_in_their_order(page: Path, tmp_path: Path) -> None:
    """Together they are one program, which ends without a complaint and prints what the page says."""
    answer = _run_snippets(page, tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    ("code", "complaint", "line"),
    [
        ("```python\nweb = alb.TargetGroup('web', '10.0.0.5:99999')\n```\n", "10.0.0.5:99999", 4),
        ("```python\nweb = 1\n```\n\n<!-- python\nassert web == 2\n-->\n", "AssertionError", 8),
        ("```python\nprint('one')\n```\n\n```text\ntwo\n```\n", "prints\none\nand the page says\ntwo\n", 4),
        ("```python\nasync with asyncio.timeout(0):\n    await asyncio.sleep(1)\n```\n", "TimeoutError", 5),
    ],
    ids=["wrong setting", "wrong claim", "wrong output", "awaited"],
)
def test_snippet_that_is_wrong_is_named_with_its_line(code: str, complaint: str, line: int, tmp_path: Path) -> None:
    """Else the test above would say nothing."""
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{code}", encoding="utf-8")
    answer = _run_snippets(page, tmp_path)
    assert answer.returncode == 1
    assert complaint in answer.stderr
    assert re.search(rf"{re.escape(str(page))}(:|\", line ){line}\b", answer.stderr)


def test_snippets_share_names_and_a_running_load_balancer(tmp_path: Path) -> None:
    """A later one sees what an earlier or a hidden one has made; a whole program between them is left out."""
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- python\nhere = await target('a')\n-->\n"
        "```python\nlistener = alb.Listener(80, alb.Forward(alb.TargetGroup('web', here)))\n```\n"
        "```python\nimport albkit as alb\nraise SystemExit('not run here')\n```\n"
        "```python\nlb = await start(listener)\nprint(lb.describe_target_health('web')[0].state)\n```\n\n```text\nunavailable\n```\n",
        encoding="utf-8",
    )
    answer = _run_snippets(page, tmp_path)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_readme_is_short() -> None:
    """A newcomer reads all of it; what is longer stands in docs."""
    assert len((_ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


def test_sample_of_the_readme_runs(tmp_path: Path) -> None:
    """The lines to embed work as they are printed, but for the port and the time that they take."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    quick = sample.replace("Listener(8080, ", "Listener(0, host='127.0.0.1', default_actions=").replace("sleep(60)", "sleep(0)")
    assert quick.count("127.0.0.1'") == quick.count("sleep(0)") == 1
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", quick], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n0\n", answer.stdout)
