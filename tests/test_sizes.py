"""No file and no function grows beyond what a reader takes in at once. ruff checks complexity (C901)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent
FILE_LINES = 450
FUNCTION_LINES = 59
LONGER_FILES = {
    "benchmarks/tunnel_soak.py": "one program with its load, targets and report; not part of the package",
}
"""Files that may be longer, with the reason."""


def _too_long(folders: tuple[str, ...], root: Path = _ROOT) -> list[str]:
    """Files and functions over the limit. The lines of a function include neither its docstring nor its decorators."""
    found = []
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*.py")):
        name = str(path.relative_to(root))
        source = path.read_text(encoding="utf-8")
        lines = len(source.splitlines())
        if lines > FILE_LINES and name not in LONGER_FILES:
            found.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    docstring = node.body[0]
                    lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
                if lines > FUNCTION_LINES:
                    found.append(f"{name}: {node.name}: {lines} lines")
    return found


def test_files_and_functions_are_short() -> None:
    """Split a file that is too long; move a step of a function that is too long into a function with a name."""
    found = _too_long(("albkit", "benchmarks", "docs"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", LONGER_FILES)
def test_exception_names_a_file(name: str) -> None:
    """An exception for a file that no longer exists would also cover a later file of the same name."""
    assert (_ROOT / name).is_file()


def test_long_file_and_long_function_are_found(tmp_path: Path) -> None:
    """Otherwise the first test could not fail."""
    body = '    """Does not count."""\n' + "    pass\n" * (FUNCTION_LINES - 1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "function.py").write_text(
        f"def fits():\n{body}class A:\n  @staticmethod\n  async def is_long():\n{body}    pass\n", encoding="utf-8"
    )
    (tmp_path / "a" / "file.py").write_text("pass\n" * (FILE_LINES + 1), encoding="utf-8")
    assert _too_long(("a",), tmp_path) == [
        f"a/file.py: {FILE_LINES + 1} lines",
        f"a/function.py: is_long: {FUNCTION_LINES + 1} lines",
    ]
