"""Every example runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    """Else the test below would say nothing."""
    assert "quickstart.py" in [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_by_itself_without_a_complaint(path: Path, tmp_path: Path) -> None:
    """Exit code 0, something shown, nothing on stderr, whatever directory it is run in."""
    answer = subprocess.run([sys.executable, "-W", "error", path], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout
    assert list(tmp_path.iterdir()) == []


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
