"""Every example runs as it stands, and so does every sample in the documents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((_ROOT / "examples").glob("*.py"))


class Sample(NamedTuple):
    """A program in a document, and what the document says that it prints."""

    name: str
    program: str
    output: str | None


def _samples(page: Path) -> list[Sample]:
    found = re.findall(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Sample(f"{page.stem}-{number}", program, output or None) for number, (program, output) in enumerate(found, 1)]


SAMPLES = [sample for page in sorted((_ROOT / "docs").glob("*.md")) for sample in _samples(page)]


def test_there_are_examples() -> None:
    """Else the test below would say nothing."""
    assert "quickstart.py" in [path.name for path in EXAMPLES]


def test_there_are_samples_with_their_output() -> None:
    """Each document on a task shows programs, and what each prints."""
    pages = {sample.name.rpartition("-")[0] for sample in SAMPLES}
    assert pages >= {"balancing", "changing", "extending", "health", "listening", "sessions", "tls", "tunnels"}
    assert all(sample.output for sample in SAMPLES)


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
